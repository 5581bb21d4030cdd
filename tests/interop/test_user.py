"""What a caller gets of a user, and how fresh it is."""

import pytest

from client import GetUser, Grpcio
from pool import Pool
from service import Service


def test_a_token_gets_what_its_app_client_may_read_and_no_more(get_user: GetUser, service: Service, pool: Pool) -> None:
    answer = get_user(service.address, pool.sign_in(pool.ada).access)
    assert answer.code == "OK", answer
    assert answer.reply["user"] == {
        "sub": pool.ada.sub,
        "userPoolId": pool.id,
        "attributes": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "status": "USER_STATUS_CONFIRMED",
        "enabled": True,
    }


def test_named_attributes_are_all_that_is_sent(get_user: GetUser, service: Service, pool: Pool) -> None:
    answer = get_user(service.address, pool.sign_in(pool.ada).access, attributes=["email"])
    assert answer.reply["user"]["attributes"] == {"email": "ada@example.com"}


def test_a_neighbour_without_credential_asks_by_sub(get_user: GetUser, service: Service, pool: Pool) -> None:
    answer = get_user(service.address, sub=pool.ada.sub)
    assert answer.code == "OK", answer
    assert answer.reply["user"]["sub"] == pool.ada.sub
    assert answer.reply["user"]["attributes"] == {"name": "Ada Lovelace"}


def test_the_second_read_comes_from_the_cache(get_user: GetUser, service: Service, pool: Pool) -> None:
    user = pool.user(name="Grace Hopper")
    first, second = (get_user(service.address, sub=user.sub) for _ in range(2))
    assert first.reply["freshness"]["source"] == "SOURCE_COGNITO"
    assert second.reply["freshness"]["source"] == "SOURCE_CACHE"
    assert second.reply["freshness"]["fetchedAt"] == first.reply["freshness"]["fetchedAt"]
    assert second.reply["user"] == first.reply["user"]


def test_a_change_is_seen_at_once_with_max_age_zero(get_user: GetUser, service: Service, pool: Pool) -> None:
    user = pool.user(name="Before")
    assert get_user(service.address, sub=user.sub).reply["user"]["attributes"] == {"name": "Before"}
    pool.update(user, name="After")
    assert get_user(service.address, sub=user.sub).reply["user"]["attributes"] == {"name": "Before"}
    answer = get_user(service.address, sub=user.sub, maxAge="0s")
    assert answer.reply["user"]["attributes"] == {"name": "After"}
    assert answer.reply["freshness"]["source"] == "SOURCE_COGNITO"


def test_an_unknown_sub_is_not_found(get_user: GetUser, service: Service) -> None:
    answer = get_user(service.address, sub="00000000-0000-4000-8000-000000000000")
    assert answer.refusal() == ("NOT_FOUND", "USER_NOT_FOUND")


def test_a_username_in_place_of_a_sub_finds_nobody(get_user: GetUser, service: Service, pool: Pool) -> None:
    """Cognito answers about the user of that name, who is not the one with that sub."""
    user = pool.user(name="Somebody Else")
    answer = get_user(service.address, sub=user.username)
    assert answer.refusal() == ("INTERNAL", "INTERNAL")


@pytest.mark.parametrize("sub", ["", "00000000-0000-4000-8000-000000000000"])
def test_every_answer_carries_a_request_id(service: Service, pool: Pool, sub: str) -> None:
    answer = Grpcio().get_user(service.address, sub=sub or pool.ada.sub)
    assert answer.metadata["x-request-id"]
    if answer.code != "OK":
        assert answer.detail("RequestInfo")["requestId"] == answer.metadata["x-request-id"]

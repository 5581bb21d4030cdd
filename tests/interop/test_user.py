"""The attributes that a caller receives, and their freshness."""

from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from client import GetUser, Grpcio
from pool import Pool
from service import Service


def test_a_token_returns_the_attributes_of_its_access_rule(get_user: GetUser, service: Service, pool: Pool) -> None:
    result = get_user(service.address, pool.sign_in(pool.ada).access)
    assert result.code == "OK", result
    assert result.reply["user"] == {
        "sub": pool.ada.sub,
        "userPoolId": pool.id,
        "attributes": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "status": "USER_STATUS_CONFIRMED",
        "enabled": True,
    }


def test_only_the_requested_attributes_are_returned(get_user: GetUser, service: Service, pool: Pool) -> None:
    result = get_user(service.address, pool.sign_in(pool.ada).access, attributes=["email"])
    assert result.reply["user"]["attributes"] == {"email": "ada@example.com"}


def test_a_caller_identified_by_network_reads_by_sub(get_user: GetUser, service: Service, pool: Pool) -> None:
    result = get_user(service.address, sub=pool.ada.sub)
    assert result.code == "OK", result
    assert result.reply["user"]["sub"] == pool.ada.sub
    assert result.reply["user"]["attributes"] == {"name": "Ada Lovelace"}


def test_the_second_read_is_a_cache_hit(get_user: GetUser, service: Service, pool: Pool) -> None:
    user = pool.user(name="Grace Hopper")
    first, second = (get_user(service.address, sub=user.sub) for _ in range(2))
    assert first.reply["freshness"]["source"] == "SOURCE_COGNITO"
    assert second.reply["freshness"]["source"] == "SOURCE_CACHE"
    assert second.reply["freshness"]["fetchedAt"] == first.reply["freshness"]["fetchedAt"]
    assert second.reply["user"] == first.reply["user"]


def test_max_age_zero_bypasses_the_cache(get_user: GetUser, service: Service, pool: Pool) -> None:
    user = pool.user(name="Before")
    assert get_user(service.address, sub=user.sub).reply["user"]["attributes"] == {"name": "Before"}
    pool.update(user, name="After")
    assert get_user(service.address, sub=user.sub).reply["user"]["attributes"] == {"name": "Before"}
    result = get_user(service.address, sub=user.sub, maxAge="0s")
    assert result.reply["user"]["attributes"] == {"name": "After"}
    assert result.reply["freshness"]["source"] == "SOURCE_COGNITO"


def test_an_unknown_sub_is_not_found(get_user: GetUser, service: Service) -> None:
    result = get_user(service.address, sub="00000000-0000-4000-8000-000000000000")
    assert result.error() == ("NOT_FOUND", "USER_NOT_FOUND")


def test_a_username_in_place_of_a_sub_is_not_found(get_user: GetUser, service: Service, pool: Pool) -> None:
    """Cognito returns the user with that username, whose sub differs from the requested one."""
    user = pool.user(name="Somebody Else")
    result = get_user(service.address, sub=user.username)
    assert result.error() == ("NOT_FOUND", "USER_NOT_FOUND")


def test_a_user_that_was_deleted_and_made_anew_is_another(get_user: GetUser, service: Service, pool: Pool) -> None:
    """The old token names a username that now belongs to another sub."""
    former = pool.user(name="Former")
    token = pool.sign_in(former).access
    pool.delete(former)
    present = pool.user(former.username, name="Present")
    assert present.sub != former.sub
    assert get_user(service.address, token).error() == ("NOT_FOUND", "USER_NOT_FOUND")
    assert get_user(service.address, sub=former.sub).error() == ("NOT_FOUND", "USER_NOT_FOUND")
    result = get_user(service.address, pool.sign_in(present).access)
    assert result.reply["user"]["sub"] == present.sub


def test_odd_attributes_are_read(get_user: GetUser, service: Service, pool: Pool) -> None:
    """cognito-local returns them as they were given: one twice, and one without a value."""
    odd = [{"Name": "name", "Value": "First Name"}, {"Name": "name", "Value": ""}, {"Name": "email"}]
    try:
        user = pool.user_with(f"odd-{uuid4().hex}", odd)
    except ClientError:
        pytest.skip("moto does not create such a user")
    for result in [get_user(service.address, pool.sign_in(user).access), get_user(service.address, sub=user.sub)]:
        assert result.code == "OK", result
        assert result.reply["user"]["attributes"] == {"name": "First Name"}


@pytest.mark.parametrize("sub", ["", "00000000-0000-4000-8000-000000000000"])
def test_every_response_has_a_request_id(service: Service, pool: Pool, sub: str) -> None:
    result = Grpcio().get_user(service.address, sub=sub or pool.ada.sub)
    assert result.metadata["x-request-id"]
    if result.code != "OK":
        assert result.detail("RequestInfo")["requestId"] == result.metadata["x-request-id"]

"""Calls that the service rejects, and the code and reason of each error."""

import time
from collections.abc import Iterator

import pytest

import health
from client import GetUser
from emulator import Emulator
from pool import Pool
from service import Service, serving, settings, web


@pytest.fixture(scope="module")
def tokens(emulator: Emulator, pool: Pool) -> dict[str, str]:
    """One token for each reason to reject it."""
    other = emulator.pool()
    good = pool.sign_in(pool.ada)
    return {
        "ID token": good.id,
        "malformed": "not-a-token",
        "signature of another token": f"{good.access.rpartition('.')[0]}.{good.id.rpartition('.')[2]}",
        "app client not accepted": pool.sign_in(pool.ada, pool.stranger).access,
        "app client without an access rule": pool.sign_in(pool.ada, pool.unruled).access,
        "another pool": other.sign_in(other.ada).access,
        "expired": emulator.sign_with_claims(good.access, exp=int(time.time()) - 60),
    }


ERRORS = {
    "ID token": ("UNAUTHENTICATED", "ID_TOKEN_REFUSED"),
    "malformed": ("UNAUTHENTICATED", "TOKEN_MALFORMED"),
    "signature of another token": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "app client not accepted": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "app client without an access rule": ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"),
    "another pool": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "expired": ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_token_is_rejected(get_user: GetUser, service: Service, tokens: dict[str, str], kind: str) -> None:
    assert get_user(service.address, tokens[kind]).error() == ERRORS[kind]


def test_an_unexpired_copy_is_accepted(get_user: GetUser, service: Service, pool: Pool, emulator: Emulator) -> None:
    """Shows that the expired token is rejected for its age, not for its signature."""
    token = emulator.sign_with_claims(pool.sign_in(pool.ada).access, exp=int(time.time()) + 60)
    assert get_user(service.address, token).code == "OK"


def test_the_error_names_attributes_outside_the_access_rule(get_user: GetUser, service: Service, pool: Pool) -> None:
    requested = ["name", "custom:plan", "birthdate"]
    result = get_user(service.address, pool.sign_in(pool.ada).access, attributes=requested)
    assert result.error() == ("PERMISSION_DENIED", "ATTRIBUTE_NOT_ALLOWED")
    named = result.detail("ErrorInfo")["metadata"]["attributes"]
    assert sorted(named.replace(",", " ").split()) == ["birthdate", "custom:plan"]


def test_a_token_together_with_another_sub_is_ambiguous(get_user: GetUser, service: Service, pool: Pool) -> None:
    other = pool.user(name="Somebody Else")
    result = get_user(service.address, pool.sign_in(pool.ada).access, sub=other.sub)
    assert result.error() == ("INVALID_ARGUMENT", "SUBJECT_AMBIGUOUS")


def test_the_token_of_a_disabled_user_is_rejected(get_user: GetUser, service: Service, pool: Pool) -> None:
    user = pool.user(name="Barred")
    token = pool.sign_in(user).access
    pool.disable(user)
    assert get_user(service.address, token).error() == ("PERMISSION_DENIED", "USER_DISABLED")


@pytest.fixture(scope="module")
def token_only_service(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server without an access rule for the network."""
    with serving(tmp_path_factory.mktemp("token-only-service"), settings(pool, callers=[web(pool)])) as running:
        health.await_serving(running.address)
        yield running


def test_a_token_is_required_without_a_rule_for_the_network(
    get_user: GetUser, token_only_service: Service, pool: Pool
) -> None:
    assert get_user(token_only_service.address, sub=pool.ada.sub).error() == ("UNAUTHENTICATED", "TOKEN_MISSING")

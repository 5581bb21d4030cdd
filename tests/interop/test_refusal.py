"""Who gets nothing, and what it is told."""

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
    """One token for each way to be refused."""
    other = emulator.pool()
    good = pool.sign_in(pool.ada)
    return {
        "of an ID": good.id,
        "of no shape": "not-a-token",
        "signed as another": f"{good.access.rpartition('.')[0]}.{good.id.rpartition('.')[2]}",
        "of another app client": pool.sign_in(pool.ada, pool.stranger).access,
        "of an app client without a rule": pool.sign_in(pool.ada, pool.unruled).access,
        "of another pool": other.sign_in(other.ada).access,
        "expired": emulator.sign_again(good.access, exp=int(time.time()) - 60),
    }


REFUSALS = {
    "of an ID": ("UNAUTHENTICATED", "ID_TOKEN_REFUSED"),
    "of no shape": ("UNAUTHENTICATED", "TOKEN_MALFORMED"),
    "signed as another": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "of another app client": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "of an app client without a rule": ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"),
    "of another pool": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "expired": ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_token_is_refused(get_user: GetUser, service: Service, tokens: dict[str, str], kind: str) -> None:
    assert get_user(service.address, tokens[kind]).refusal() == REFUSALS[kind]


def test_a_token_signed_again_is_accepted(get_user: GetUser, service: Service, pool: Pool, emulator: Emulator) -> None:
    """So what refuses the expired one is its age, not its signature."""
    token = emulator.sign_again(pool.sign_in(pool.ada).access, exp=int(time.time()) + 60)
    assert get_user(service.address, token).code == "OK"


def test_attributes_beyond_the_rule_are_refused_by_name(get_user: GetUser, service: Service, pool: Pool) -> None:
    wanted = ["name", "custom:plan", "birthdate"]
    answer = get_user(service.address, pool.sign_in(pool.ada).access, attributes=wanted)
    assert answer.refusal() == ("PERMISSION_DENIED", "ATTRIBUTE_NOT_ALLOWED")
    named = answer.detail("ErrorInfo")["metadata"]["attributes"]
    assert sorted(named.replace(",", " ").split()) == ["birthdate", "custom:plan"]


def test_a_token_reads_nobody_else(get_user: GetUser, service: Service, pool: Pool) -> None:
    other = pool.user(name="Somebody Else")
    answer = get_user(service.address, pool.sign_in(pool.ada).access, sub=other.sub)
    assert answer.refusal() == ("INVALID_ARGUMENT", "SUBJECT_AMBIGUOUS")


def test_the_token_of_a_disabled_user_is_refused(get_user: GetUser, service: Service, pool: Pool) -> None:
    user = pool.user(name="Barred")
    token = pool.sign_in(user).access
    pool.disable(user)
    assert get_user(service.address, token).refusal() == ("PERMISSION_DENIED", "USER_DISABLED")


@pytest.fixture(scope="module")
def strict(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server without a rule for the network."""
    with serving(tmp_path_factory.mktemp("strict"), settings(pool, callers=[web(pool)])) as running:
        health.await_serving(running.address)
        yield running


def test_without_a_rule_for_the_network_a_token_is_needed(get_user: GetUser, strict: Service, pool: Pool) -> None:
    assert get_user(strict.address, sub=pool.ada.sub).refusal() == ("UNAUTHENTICATED", "TOKEN_MISSING")

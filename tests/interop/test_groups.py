"""Groups from a token and from Cognito, and batch lookups."""

import json
from pathlib import Path

import pytest

import health
from client import GetUser
from pool import Pool
from service import Service, command, serving, settings, sidecar, web


@pytest.fixture
def groups_service(pool: Pool, tmp_path: Path):
    """A server whose callers may also read groups."""
    callers = [caller | {"groups": True} for caller in [web(pool), sidecar()]]
    with serving(tmp_path, settings(pool, callers=callers)) as running:
        health.await_serving(running.address)
        yield running


def test_groups_of_a_sub_come_from_cognito(get_user: GetUser, groups_service: Service, pool: Pool) -> None:
    user = pool.user(name="Grace Hopper")
    names = {f"group-{n}-{user.username}" for n in range(3)}
    for name in names:
        pool.join(user, name)
    result = get_user(groups_service.address, sub=user.sub, includeGroups=True)
    assert result.code == "OK", result
    assert set(result.reply["user"]["groups"]) == names
    assert "groups" not in get_user(groups_service.address, sub=user.sub).reply["user"]


def test_groups_of_a_token_come_from_its_claims(get_user: GetUser, groups_service: Service, pool: Pool) -> None:
    user = pool.user(name="Alan Turing")
    pool.join(user, f"staff-{user.username}")
    token = pool.sign_in(user).access
    result = get_user(groups_service.address, token, includeGroups=True)
    assert result.reply["user"].get("groups", []) == pool.groups_of(token)


def test_groups_are_denied_to_callers_without_the_permission(get_user: GetUser, service: Service, pool: Pool) -> None:
    result = get_user(service.address, sub=pool.ada.sub, includeGroups=True)
    assert result.error() == ("PERMISSION_DENIED", "ATTRIBUTE_NOT_ALLOWED")


def test_batch_returns_users_in_request_order(service: Service, pool: Pool, tmp_path: Path) -> None:
    users = [pool.user(name=f"User {n}") for n in range(5)]
    subs = [users[0].sub, "nobody", *(user.sub for user in users), users[0].sub]
    done = command(tmp_path, "batch", "--json", "--address", service.url, *subs)
    assert done.returncode == 6, done.stderr
    items = [json.loads(line) for line in done.stdout.splitlines()]
    found = [item["found"]["user"]["sub"] if "found" in item else "nobody" for item in items]
    assert found == subs
    assert items[1]["error"]["details"][0]["reason"] == "USER_NOT_FOUND"

"""Responses while Cognito or its signing keys are unreachable."""

from pathlib import Path
from urllib.request import urlopen

import pytest

import health
from client import Grpcio, Result
from emulator import EMULATORS
from pool import Pool
from port import closed_port
from service import command, pool_table, serving, settings


@pytest.mark.parametrize("name", EMULATORS)
def test_cached_users_are_served_while_cognito_is_down(name: str, tmp_path: Path) -> None:
    (tmp_path / "emulator").mkdir()
    (tmp_path / "service").mkdir()
    with EMULATORS[name](tmp_path / "emulator") as emulator:
        pool = emulator.pool()
        known, unknown = pool.sign_in(pool.ada), pool.sign_in(pool.user(name="Unread"))
        with serving(tmp_path / "service", settings(pool)) as service:
            health.await_serving(service.address)
            assert Grpcio().get_user(service.address, known.access).code == "OK"
            emulator.child.kill()
            assert_unavailable(Grpcio().get_user(service.address, unknown.access))
            cached = Grpcio().get_user(service.address, known.access)
            assert cached.reply["freshness"]["source"] == "SOURCE_CACHE"
            # The service rejects this token without a call to Cognito, which would fail.
            rejected = Grpcio().get_user(service.address, unknown.id)
            assert rejected.error() == ("UNAUTHENTICATED", "ID_TOKEN_REFUSED")


def assert_unavailable(result: Result) -> None:
    assert result.error() == ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE")
    assert result.detail("RetryInfo")["retryDelay"].endswith("s")
    assert int(result.metadata["grpc-retry-pushback-ms"]) > 0


def test_the_server_becomes_ready_once_the_keys_are_reachable(pool: Pool, tmp_path: Path) -> None:
    with closed_port() as port:
        token = pool.sign_in(pool.ada).access
        table = pool_table(pool, jwks_url=f"http://{port.address}/jwks.json")
        with serving(tmp_path, settings(pool, pools=[table])) as service, health.watch(service.address) as states:
            assert next(states) == "NOT_SERVING"
            assert healthcheck(tmp_path, service.url) == 4
            assert command(tmp_path, "healthcheck", COGNITO_LOOKUP_ADMIN_LISTEN=service.admin).returncode == 4
            result = Grpcio().get_user(service.address, token)
            assert result.error() == ("UNAVAILABLE", "KEYS_UNAVAILABLE")
            with urlopen(pool.jwks_url, timeout=10) as keys, port.serving(keys.read()):
                assert next(states) == "SERVING"
                assert healthcheck(tmp_path, service.url) == 0
                assert Grpcio().get_user(service.address, token).code == "OK"


def test_healthcheck_exits_with_3_without_a_server(tmp_path: Path) -> None:
    with closed_port() as port:
        assert healthcheck(tmp_path, f"http://{port.address}") == 3
        assert command(tmp_path, "healthcheck", COGNITO_LOOKUP_ADMIN_LISTEN=port.address).returncode == 3


def healthcheck(directory: Path, url: str) -> int:
    """Returns the exit status of the `healthcheck` command."""
    return command(directory, "healthcheck", "--address", url).returncode

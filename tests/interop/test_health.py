"""Health, reflection and probes, without credentials."""

from pathlib import Path
from urllib.request import urlopen

import pytest

import health
from client import BufCurl, Grpcurl
from pool import Pool
from service import Service, command

SERVICES = ["userlookup.v1.UserService", "userlookup.v1.AdminService", "grpc.health.v1.Health"]


@pytest.mark.parametrize("name", ["", *SERVICES[:2]])
def test_a_ready_server_reports_serving(service: Service, name: str) -> None:
    assert health.check(service.address, name) == "SERVING"
    with health.watch(service.address, name) as states:
        assert next(states) == "SERVING"


def test_each_pool_has_a_state_of_its_own(service: Service, pool: Pool) -> None:
    name = f"userlookup.v1.UserService/{pool.id}"
    assert health.check(service.address, name) == "SERVING"
    with health.watch(service.address, name) as states:
        assert next(states) == "SERVING"


@pytest.mark.parametrize("client", [Grpcurl, BufCurl])
def test_reflection_lists_every_service(
    service: Service, client: type[Grpcurl] | type[BufCurl], tmp_path: Path
) -> None:
    assert client(tmp_path).services(service.address) >= set(SERVICES)


def test_the_healthcheck_command_succeeds(service: Service, tmp_path: Path) -> None:
    assert command(tmp_path, "healthcheck", "--address", service.url).returncode == 0
    from_settings = command(tmp_path, "healthcheck", COGNITO_LOOKUP_ADMIN_LISTEN=service.admin)
    assert (from_settings.returncode, from_settings.stdout) == (0, "SERVING\n")


@pytest.mark.parametrize("path", ["livez", "readyz", "startupz"])
def test_probe_endpoints_return_200(service: Service, path: str) -> None:
    with urlopen(f"http://{service.admin}/{path}", timeout=10) as response:
        assert response.status == 200

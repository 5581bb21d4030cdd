"""The three clients over TLS, with client certificates."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import stubs
from authority import Authority
from child import poll, run
from client import BUF, GRPCURL, METHOD
from pool import Pool
from service import Service, command, serving, settings

NAME = "Ada Lovelace"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def service(pool: Pool, authority: Authority, tmp_path: Path) -> Iterator[Service]:
    """A server that requires client certificates."""
    certificate, key = authority.issue("server")
    files = {"certificate": certificate, "key": key, "client_ca": authority.pem}
    tls = {name: str(path) for name, path in files.items()} | {"client_certificate": "required"}
    caller = {"name": "billing", "certificate": "localhost", "reads": "any", "attributes": ["name"]}
    with serving(tmp_path, settings(pool, tls=tls, callers=[caller])) as running:
        admin = {"COGNITO_LOOKUP_ADMIN_LISTEN": running.admin}
        # The command uses the admin port, which needs no client certificate.
        poll(lambda: command(tmp_path, "healthcheck", **admin).returncode == 0, "SERVING")
        yield running


def test_grpcurl_needs_a_client_certificate(service: Service, pool: Pool, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("client")
    flags = ["-cacert", authority.pem, "-cert", certificate, "-key", key, "-max-time", "20"]
    request_json = json.dumps({"sub": pool.ada.sub})
    done = run([GRPCURL, *flags, "-d", request_json, localhost(service), METHOD], tmp_path)
    assert json.loads(done.stdout)["user"]["attributes"]["name"] == NAME, done.stderr
    done = run([GRPCURL, "-cacert", authority.pem, "-max-time", "5", localhost(service), "list"], tmp_path)
    assert done.returncode != 0


def test_buf_curl_sends_its_certificate(service: Service, pool: Pool, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("client")
    flags = ["--protocol", "grpc", "--cacert", authority.pem, "--cert", certificate, "--key", key]
    request_json = json.dumps({"sub": pool.ada.sub})
    done = run([BUF, "curl", *flags, "--data", request_json, f"https://{localhost(service)}/{METHOD}"], tmp_path)
    assert json.loads(done.stdout)["user"]["attributes"]["name"] == NAME, done.stderr


def test_grpcio_needs_a_client_certificate(service: Service, pool: Pool, authority: Authority) -> None:
    certificate, key = (path.read_bytes() for path in authority.issue("client"))
    trusted = authority.pem.read_bytes()
    messages, services = stubs.user_service()
    request = messages.GetUserRequest(sub=pool.ada.sub)
    with grpc.secure_channel(localhost(service), grpc.ssl_channel_credentials(trusted, key, certificate)) as channel:
        reply = services.UserServiceStub(channel).GetUser(request, timeout=20)
        assert reply.user.attributes["name"] == NAME
    with grpc.secure_channel(localhost(service), grpc.ssl_channel_credentials(trusted)) as channel:
        with pytest.raises(grpc.RpcError) as error:
            services.UserServiceStub(channel).GetUser(request, timeout=20)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def localhost(service: Service) -> str:
    """Returns the address with the host name of the certificates."""
    return f"localhost:{service.address.rsplit(':', 1)[1]}"

"""Calls GetUser with each client over each kind of listener, and prints what ran."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import matrix
import toolchain
from authority import Authority
from child import poll
from emulator import EMULATORS
from matrix import Call, Client
from pool import Pool
from service import Service, command, serving, settings

NAME = "OK Ada Lovelace"


@dataclass(frozen=True)
class Listener:
    """A running service, and the call that reaches it."""

    service: Service
    call: Call


@pytest.fixture(scope="module")
def matrix_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with EMULATORS["moto"](tmp_path_factory.mktemp("moto")) as emulator:
        yield emulator.pool()


@pytest.fixture(scope="module")
def listeners(matrix_pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Listener]]:
    """One service for each kind of listener."""
    directory = tmp_path_factory.mktemp("matrix")
    authority = Authority(directory, "authority")
    certificate, key = map(str, authority.issue("client"))
    own = dict(zip(["certificate", "key"], map(str, authority.issue("server")), strict=True))
    ca = str(authority.pem)
    required = own | {"client_ca": ca, "client_certificate": "required"}
    # The path of a Unix socket is at most 107 bytes.
    socket = Path("/tmp") / f"cognito-lookup-{directory.parent.name}-{id(directory):x}.sock"
    network = {"reads": "any", "attributes": ["name"], "name": "backend"}
    changes = {
        "tcp": {"callers": [network | {"network": ["127.0.0.1/32"]}]},
        "tls": {"callers": [network | {"network": ["127.0.0.1/32"]}], "tls": own},
        "mtls": {"callers": [network | {"certificate": "localhost"}], "tls": required},
        "unix": {"callers": [network | {"network": ["unix"]}], "listen": f"unix:{socket}"},
    }
    with ExitStack() as stack:
        running = {}
        for name, change in changes.items():
            home = directory / name
            home.mkdir()
            service = stack.enter_context(serving(home, settings(matrix_pool, **change)))
            admin = {"COGNITO_LOOKUP_ADMIN_LISTEN": service.admin}
            poll(lambda: command(home, "healthcheck", **admin).returncode == 0, "SERVING")
            port = service.address.rsplit(":", 1)[1]
            address = {"tcp": service.address, "unix": str(socket)}.get(name, f"localhost:{port}")
            call = Call(address, matrix_pool.ada.sub, ca=ca if "tls" in change else "")
            if name == "mtls":
                call = replace(call, certificate=certificate, key=key)
            running[name] = Listener(service, call)
        yield running


@pytest.fixture(scope="module", params=matrix.CLIENTS)
def named_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Client]:
    name = request.param
    if name in {"grpc-go", "grpc-java"} and not toolchain.is_installed():
        pytest.skip("needs the libraries of Debian 12 and a JDK")
    return name, matrix.CLIENTS[name](tmp_path_factory.mktemp(name))


@pytest.mark.parametrize("kind", matrix.LISTENERS)
@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_a_client_gets_the_user(
    named_client: tuple[str, Client], listeners: Mapping[str, Listener], kind: str, gzip: bool
) -> None:
    name, client = named_client
    if kind not in client.listeners:
        pytest.skip("its library is not built for this")
    if gzip and not client.compresses:
        pytest.skip("it cannot compress requests")
    needs_authority = kind == "unix" and client.needs_authority
    call = replace(listeners[kind].call, gzip=gzip, authority="localhost" if needs_authority else "")
    assert client.call(call) == NAME
    matrix.RESULTS[name][f"{kind} gzip" if gzip else kind] = "ok with authority" if needs_authority else "ok"


def test_an_authority_that_is_a_path_is_refused_and_the_log_says_what_to_set(
    named_client: tuple[str, Client], listeners: Mapping[str, Listener]
) -> None:
    """A client that needs no authority any more fails this test, so that the documentation is updated."""
    _, client = named_client
    if not client.needs_authority:
        pytest.skip("its default is accepted")
    listener = listeners["unix"]
    before = listener.service.child.output().count(HINT)
    assert client.call(listener.call) != NAME
    poll(lambda: listener.service.child.output().count(HINT) > before, "the hint in the log")


HINT = "set the client's authority to localhost"

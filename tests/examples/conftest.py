"""Shared fixtures: a sandbox, and each example, built once."""

import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import health
import pool
import stubs
from authority import Authority
from child import poll, running
from language import LANGUAGES, Example
from service import serving

EPHEMERAL_PORTS = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]

# All connections are local, so a proxy of this machine must not be used.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


@dataclass(frozen=True)
class Sandbox:
    address: str
    token: str
    # The URL of its Cognito, which also serves the keys.
    cognito: str
    # What it has printed at its start.
    banner: str


@pytest.fixture(scope="session", autouse=True)
def _stubs(tmp_path_factory: pytest.TempPathFactory) -> None:
    stubs.generate(tmp_path_factory.mktemp("stubs"))


@contextmanager
def started_sandbox(directory: Path, *options: str) -> Iterator[Sandbox]:
    with running([os.environ["INTEROP_BINARY"], "sandbox", *options, *EPHEMERAL_PORTS], directory) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r'("message":\s*"serving")')
        (token,) = re.findall(r"(?m)^export ADA_TOKEN=(\S+)$", child.output())
        cognito = child.find(r"Cognito emulator (http://\S+)")
        yield Sandbox(line["address"], token, cognito, child.output())


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with started_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


def sandbox_settings(sandbox: Sandbox) -> dict[str, Any]:
    """The settings of a server that knows the sandbox's keys and users."""
    claims = pool.claims(sandbox.token)
    pool_id = claims["iss"].rsplit("/", 1)[1]
    table = {
        "id": pool_id,
        "issuer": claims["iss"],
        "jwks_url": f"{sandbox.cognito}/{pool_id}/.well-known/jwks.json",
        "endpoint_url": sandbox.cognito,
        "app_clients": [claims["client_id"]],
    }
    caller = {"name": "web", "app_client": claims["client_id"], "reads": "token", "attributes": ["name", "email"]}
    ports = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    return {**ports, "pools": [table], "callers": [caller]}


@pytest.fixture(scope="session")
def silent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server that knows the sandbox's keys and users, whose Cognito accepts connections and answers nothing."""
    settings = sandbox_settings(sandbox)
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as cognito:
        settings["pools"][0]["endpoint_url"] = f"http://127.0.0.1:{cognito.getsockname()[1]}"
        with serving(tmp_path_factory.mktemp("silent"), settings) as service:
            health.await_serving(service.address)
            yield replace(sandbox, address=service.address)


@dataclass(frozen=True)
class Secured:
    """Servers with TLS, one of which requires a client certificate."""

    # The addresses by kind: tls and mtls.
    services: dict[str, str]
    ca: str
    certificate: dict[str, str]
    token: str


@pytest.fixture(scope="session")
def secured(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory, "authority")
    certificate, key = map(str, authority.issue("client"))
    own = dict(zip(["certificate", "key"], map(str, authority.issue("server")), strict=True))
    required = own | {"client_ca": str(authority.pem), "client_certificate": "required"}
    by_certificate = {"name": "backend", "certificate": "localhost", "reads": "token", "attributes": ["name", "email"]}
    changes: dict[str, dict[str, Any]] = {"tls": {"tls": own}, "mtls": {"tls": required, "callers": [by_certificate]}}
    services = {}
    with ExitStack() as stack:
        for kind, change in changes.items():
            home = directory / kind
            home.mkdir()
            service = stack.enter_context(serving(home, sandbox_settings(sandbox) | change))
            url = f"http://{service.admin}/readyz"
            poll(lambda url=url: status(url) == 200, f"{kind} is ready")
            services[kind] = service.address.replace("127.0.0.1", "localhost")
        files = {"CERTIFICATE_FILE": certificate, "KEY_FILE": key}
        yield Secured(services, str(authority.pem), files, sandbox.token)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="session", params=LANGUAGES)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    return LANGUAGES[request.param](tmp_path_factory.mktemp(request.param))


RunExample = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_example(example: Example, tmp_path: Path) -> RunExample:
    """Runs the example to completion with an authorization header, for at most 30 s."""

    def run_example(
        address: str, authorization: str | None = "Bearer a.b.c", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        extra = {**example.extra, **variables} | ({"AUTHORIZATION": authorization} if authorization else {})
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **extra}
        command = [*example.command, f"{example.scheme}{address}"]
        return subprocess.run(command, cwd=example.home, env=environment, capture_output=True, text=True, timeout=30, check=False)

    return run_example

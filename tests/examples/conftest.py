"""Shared fixtures: a sandbox, and each example, built once."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import health
import pool
import stubs
from child import running
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
def started_sandbox(directory: Path) -> Iterator[Sandbox]:
    with running([os.environ["INTEROP_BINARY"], "sandbox", *EPHEMERAL_PORTS], directory) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r'("message":\s*"serving")')
        (token,) = re.findall(r"(?m)^export ADA_TOKEN=(\S+)$", child.output())
        cognito = child.find(r"Cognito emulator (http://\S+)")
        yield Sandbox(line["address"], token, cognito, child.output())


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with started_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def silent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server that knows the sandbox's keys and users, whose Cognito accepts connections and answers nothing."""
    claims = pool.claims(sandbox.token)
    pool_id = claims["iss"].rsplit("/", 1)[1]
    table = {
        "id": pool_id,
        "issuer": claims["iss"],
        "jwks_url": f"{sandbox.cognito}/{pool_id}/.well-known/jwks.json",
        "app_clients": [claims["client_id"]],
    }
    caller = {"name": "web", "app_client": claims["client_id"], "reads": "token", "attributes": ["name", "email"]}
    ports = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as cognito:
        table["endpoint_url"] = f"http://127.0.0.1:{cognito.getsockname()[1]}"
        settings = {**ports, "pools": [table], "callers": [caller]}
        with serving(tmp_path_factory.mktemp("silent"), settings) as service:
            health.await_serving(service.address)
            yield replace(sandbox, address=service.address)


@pytest.fixture(scope="session", params=LANGUAGES)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    return LANGUAGES[request.param](tmp_path_factory.mktemp(request.param))


RunExample = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_example(example: Example, tmp_path: Path) -> RunExample:
    """Runs the example to completion with an authorization header, for at most 30 s."""

    def run_example(address: str, authorization: str = "Bearer a.b.c") -> subprocess.CompletedProcess[str]:
        extra = {**example.extra, "AUTHORIZATION": authorization}
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **extra}
        command = [*example.command, f"{example.scheme}{address}"]
        return subprocess.run(command, cwd=example.home, env=environment, capture_output=True, text=True, timeout=30, check=False)

    return run_example

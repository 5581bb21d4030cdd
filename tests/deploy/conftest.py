"""Shared fixtures: the emulator with the data of the compose file, and free ports."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from child import running
from tool import DEPLOY

# All connections are local, so a proxy of this machine must not be used.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


@pytest.fixture(scope="session")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="session")
def cognito(compose: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of cognito-local, seeded as in the compose file."""
    directory = tmp_path_factory.mktemp("cognito")
    for mount in compose["services"]["cognito"]["configs"]:
        file = directory / ".cognito" / Path(mount["target"]).relative_to("/seed")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(compose["configs"][mount["source"]]["content"])
    start = Path(os.environ["INTEROP_NODE_MODULES"]) / "cognito-local/lib/bin/start.js"
    with running(["node", start], directory, HOST="127.0.0.1", PORT="0") as child:
        yield child.find(r"running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture
def ports() -> list[int]:
    """Four free ports, for settings that need a port number.

    Another process could take them before the service binds them.
    """
    sockets = [socket.socket() for _ in range(4)]
    for listener in sockets:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports

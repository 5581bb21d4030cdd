"""What the tests share: the emulator as the compose file fills it, and the ports that a deployed service listens on."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from child import running
from tool import DEPLOY

# Nothing here leaves this machine, whatever proxy it is set up with.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


@pytest.fixture(scope="session")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="session")
def cognito(compose: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of cognito-local, which holds what the compose file gives it."""
    directory = tmp_path_factory.mktemp("cognito")
    for mount in compose["services"]["cognito"]["configs"]:
        file = directory / ".cognito" / Path(mount["target"]).relative_to("/seed")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(compose["configs"][mount["source"]]["content"])
    start = Path(os.environ["INTEROP_NODE_MODULES"]) / "cognito-local/lib/bin/start.js"
    with running(["node", start], directory, HOST="127.0.0.1", PORT="0") as child:
        yield child.find(r"running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture
def ports() -> dict[str, int]:
    """Two that were free a moment ago, for a service whose settings say 0.0.0.0 and a port."""
    held = {name: socket.socket() for name in ["grpc", "admin"]}
    for each in held.values():
        each.bind(("127.0.0.1", 0))
    found = {name: each.getsockname()[1] for name, each in held.items()}
    for each in held.values():
        each.close()
    return found

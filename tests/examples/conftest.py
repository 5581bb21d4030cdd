"""Shared fixtures: a sandbox, and each example, built once."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import stubs
from child import running
from language import LANGUAGES, Example

EPHEMERAL_PORTS = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]

# All connections are local, so a proxy of this machine must not be used.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


@dataclass(frozen=True)
class Sandbox:
    address: str
    token: str


@pytest.fixture(scope="session", autouse=True)
def _stubs(tmp_path_factory: pytest.TempPathFactory) -> None:
    stubs.generate(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory = tmp_path_factory.mktemp("sandbox")
    with running([os.environ["INTEROP_BINARY"], "sandbox", *EPHEMERAL_PORTS], directory) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r'("message":\s*"serving")')
        (token,) = re.findall(r"(?m)^export ADA_TOKEN=(\S+)$", child.output())
        yield Sandbox(line["address"], token)


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
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    return run_example

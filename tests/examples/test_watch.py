"""Runs the example of each language that keeps a copy of a user: it prints the user again after a change."""

import json
import os
import re
import shutil
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import language
import toolchain
from child import running
from conftest import EPHEMERAL_PORTS
from toolchain import ROOT


@dataclass(frozen=True)
class Watcher:
    """A built example: its command, and the prefix of the address."""

    command: list[str | Path]
    scheme: str = "dns:///"


def build_python(directory: Path) -> Watcher:
    copy = language.build_python(directory).home
    shutil.copy(ROOT / "examples/python/watch.py", copy)
    return Watcher([sys.executable, copy / "watch.py"])


def build_node(directory: Path) -> Watcher:
    copy = language.build_node(directory).home
    shutil.copy(ROOT / "examples/node/watch.mjs", copy)
    return Watcher(["node", copy / "watch.mjs"])


def build_rust(directory: Path) -> Watcher:
    return Watcher([Path(os.environ["EXAMPLES_RUST"]).with_name("watch")], scheme="")


def build_go(directory: Path) -> Watcher:
    overlay = Path(__file__).parent / "overlay/insecure.go"
    replace = {"credentials/insecure/insecure.go": overlay}
    return Watcher([toolchain.build_go(ROOT / "examples/go/watch/main.go", directory, replace)])


def build_java(directory: Path) -> Watcher:
    return Watcher(toolchain.build_java(ROOT / "examples/java/Watch.java", directory / "build"))


WATCHERS: dict[str, Callable[[Path], Watcher]] = {"python": build_python, "node": build_node, "rust": build_rust}
if toolchain.is_installed():
    WATCHERS |= {"go": build_go, "java": build_java}


@pytest.fixture(scope="module", params=WATCHERS)
def watcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watcher:
    return WATCHERS[request.param](tmp_path_factory.mktemp(f"watch-{request.param}"))


def test_a_copy_is_read_again_after_a_change(watcher: Watcher, tmp_path: Path) -> None:
    """Without the change, a copy would be used for a minute at least."""
    home, own = tmp_path / "sandbox", tmp_path / "watcher"
    home.mkdir()
    own.mkdir()
    with running([os.environ["INTEROP_BINARY"], "sandbox", "--loopback-caller", *EPHEMERAL_PORTS], home) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r'("message":\s*"serving")')
        sub = child.find(r"(?m)^# ada, .*, sub (\S+)$")
        pool, cognito = child.find(r"user pool (\S+)\)"), child.find(r"Cognito emulator (http://\S+)")
        command = [*watcher.command, f"{watcher.scheme}{line['address']}", sub]
        with running(command, own) as printed:
            printed.find(r"(Ada Lovelace <ada@example\.com>)")
            for name in ["First Change", "Second Change"]:
                rename(cognito, pool, name)
                printed.find(rf"({name} <ada@example\.com>)")
            lines = re.findall(r"(?m)^.* <.*>$", printed.output())
            assert [line.split(" <")[0] for line in lines] == ["Ada Lovelace", "First Change", "Second Change"]


def rename(cognito: str, pool: str, name: str) -> None:
    """Changes the user's name as the AWS CLI does."""
    change = {"UserPoolId": pool, "Username": "ada", "UserAttributes": [{"Name": "name", "Value": name}]}
    operation = "AWSCognitoIdentityProviderService.AdminUpdateUserAttributes"
    headers = {"X-Amz-Target": operation, "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(cognito, json.dumps(change).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200

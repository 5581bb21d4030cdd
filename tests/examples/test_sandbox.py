"""Runs the commands of docs/events.md against a sandbox, with the AWS CLI: a change is seen, and a token ends."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from child import poll
from client import GRPCURL
from conftest import Sandbox, started_sandbox
from toolchain import ROOT

PAGE = (ROOT / "docs/events.md").read_text()
BLOCKS = re.findall(r"(?ms)^```sh\n(AWS_ACCESS.*?)\n(grpcurl .*?)\n```$", PAGE)
GRPC, COGNITO = "127.0.0.1:50051", "http://127.0.0.1:9229"
# Less than half of cache.fresh_for, after which a hit would fetch the user without an event.
SECONDS = 20


@dataclass(frozen=True)
class Terminal:
    """A shell of a reader of the page, with the sandbox on other ports."""

    sandbox: Sandbox

    def here(self, text: str) -> str:
        """Returns a documented command with the ports of this sandbox."""
        return text.replace(GRPC, self.sandbox.address).replace(COGNITO, self.sandbox.cognito)

    def run(self, line: str) -> "subprocess.CompletedProcess[str]":
        tools = {"aws": Path(sys.executable).parent / "aws", "grpcurl": GRPCURL}
        for name, path in tools.items():
            line = re.sub(rf"(^|=x ){name} ", rf"\g<1>{path} ", line)
        environment = os.environ | {"ADA_TOKEN": self.sandbox.token, "AWS_EC2_METADATA_DISABLED": "true"}
        return subprocess.run(
            self.here(line), shell=True, env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def name(self, call: str) -> str:
        done = self.run(call)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["user"]["attributes"]["name"]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with started_sandbox(tmp_path_factory.mktemp("events")) as sandbox:
        yield Terminal(sandbox)


def test_the_banner_has_the_commands_of_the_page(terminal: Terminal) -> None:
    assert len(BLOCKS) == 2
    for command, call in BLOCKS:
        assert f"{terminal.here(command)}\n{terminal.here(call)}\n" in terminal.sandbox.banner


def test_a_change_by_the_aws_cli_is_seen_and_a_global_sign_out_ends_the_token(terminal: Terminal) -> None:
    (update, call), (sign_out, last) = BLOCKS
    assert f"    {call}\n" in PAGE and last == call
    assert terminal.name(call) == "Ada Lovelace"
    assert terminal.name(call) == "Ada Lovelace", "cached"
    changed = terminal.run(update)
    assert changed.returncode == 0, changed.stderr
    poll(lambda: terminal.name(call) == "Changed", "the change is seen", SECONDS)
    ended = terminal.run(sign_out)
    assert ended.returncode == 0, ended.stderr
    poll(lambda: "TOKEN_REVOKED" in terminal.run(last).stderr, "the token is refused", SECONDS)

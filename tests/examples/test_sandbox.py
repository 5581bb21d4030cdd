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

from child import poll, running
from client import GRPCURL
from conftest import EPHEMERAL_PORTS
from toolchain import ROOT

PAGE = (ROOT / "docs/events.md").read_text()
BLOCKS = re.findall(r"(?ms)^```sh\n(AWS_ACCESS.*?)\n(grpcurl .*?)\n```$", PAGE)
GRPC, COGNITO = "127.0.0.1:50051", "http://127.0.0.1:9229"
# Less than half of cache.fresh_for, after which a hit would fetch the user without an event.
SECONDS = 20


@dataclass(frozen=True)
class Terminal:
    """A shell of a reader of the page, with the sandbox on other ports."""

    address: str
    cognito: str
    banner: str
    token: str

    def here(self, text: str) -> str:
        """Returns a documented command with the ports of this sandbox."""
        return text.replace(GRPC, self.address).replace(COGNITO, self.cognito)

    def run(self, line: str) -> "subprocess.CompletedProcess[str]":
        tools = {"aws": Path(sys.executable).parent / "aws", "grpcurl": GRPCURL}
        for name, path in tools.items():
            line = re.sub(rf"(^|=x ){name} ", rf"\g<1>{path} ", line)
        environment = os.environ | {"ADA_TOKEN": self.token, "AWS_EC2_METADATA_DISABLED": "true"}
        return subprocess.run(
            self.here(line), shell=True, env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def name(self, call: str) -> str:
        done = self.run(call)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["user"]["attributes"]["name"]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("events")
    with running([os.environ["INTEROP_BINARY"], "sandbox", *EPHEMERAL_PORTS], directory) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r'("message":\s*"serving")')
        token, cognito = child.find(r"(?m)^export ADA_TOKEN=(\S+)$"), child.find(r"Cognito emulator (http://\S+)")
        yield Terminal(line["address"], cognito, child.output(), token)


def test_the_banner_has_the_commands_of_the_page(terminal: Terminal) -> None:
    assert len(BLOCKS) == 2
    for command, call in BLOCKS:
        assert f"{terminal.here(command)}\n{terminal.here(call)}\n" in terminal.banner


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

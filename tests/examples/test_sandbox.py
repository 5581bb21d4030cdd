"""Runs the commands of docs/events.md against a sandbox, with the AWS CLI: a change is seen, and a token ends."""

import re
from collections.abc import Iterator

import pytest

from child import poll
from conftest import started_sandbox
from terminal import Terminal
from toolchain import ROOT

PAGE = (ROOT / "docs/events.md").read_text()
BLOCKS = re.findall(r"(?ms)^```sh\n(AWS_ACCESS.*?)\n(grpcurl .*?)\n```$", PAGE)
# Less than half of cache.fresh_for, after which a hit would fetch the user without an event.
SECONDS = 20


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

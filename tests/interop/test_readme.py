"""The README's examples, as a newcomer runs them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from child import run, running
from client import GRPCURL
from service import binary, command

README = (Path(__file__).parents[2] / "README.md").read_text()
DEFAULT = "127.0.0.1:50051"
ANYWHERE = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a sandbox, and what its banner says to export."""
    directory = tmp_path_factory.mktemp("sandbox")
    with running([binary(), "sandbox", *ANYWHERE], directory) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r"(admin-update-user-attributes)")
        exports = dict(re.findall(r"(?m)^export (\w+)=(\S+)$", child.output()))
        yield line["address"], exports


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", README)


def calls() -> list[tuple[str, str]]:
    """Each command of the README that shows its answer, with that answer."""
    return re.findall(r"(?ms)^```sh\n(grpcurl .*?)^```\n```json\n(.*?)^```$", README)


def test_a_call_is_answered_as_shown(sandbox: tuple[str, dict[str, str]]) -> None:
    """In order: the second call's answer comes from the cache that the first one filled."""
    address, exports = sandbox
    assert len(calls()) == 2
    for line, expected in calls():
        shell = line.replace("grpcurl", str(GRPCURL), 1).replace(DEFAULT, address)
        answer = subprocess.run(shell, shell=True, env=os.environ | exports, capture_output=True, text=True)
        assert steady(json.loads(answer.stdout)) == steady(json.loads(expected)), answer.stderr


def test_the_client_of_the_binary_gets_the_same(sandbox: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, exports = sandbox
    assert "COGNITO_LOOKUP_TOKEN=$ADA_TOKEN target/debug/cognito-lookup get" in README
    token = {"COGNITO_LOOKUP_TOKEN": exports["ADA_TOKEN"]}
    answer = run([binary(), "get", "--json", "--address", f"http://{address}"], tmp_path, **token)
    expected = json.loads(calls()[0][1])
    assert json.loads(answer.stdout)["user"] == expected["user"]


def test_the_users_file_is_taken(tmp_path: Path) -> None:
    (people,) = [block for block in blocks("json") if '"users"' in block]
    file = tmp_path / "people.json"
    file.write_text(people)
    with running([binary(), "sandbox", *ANYWHERE, "--users", file], tmp_path) as child:
        assert child.find(r"(export EVE_TOKEN=\S+)")


def test_the_settings_are_good(tmp_path: Path) -> None:
    (settings,) = blocks("toml")
    file = tmp_path / "settings.toml"
    file.write_text(settings)
    assert command(tmp_path, "config", "check", "--config", file).returncode == 0


def test_one_pool_needs_no_file(tmp_path: Path) -> None:
    (line,) = [block for block in blocks("sh") if "cognito-lookup serve" in block]
    variables = dict(re.findall(r"(COGNITO_LOOKUP_\w+)=(\S+)", line))
    assert len(variables) == 3
    assert command(tmp_path, "config", "check", **variables).returncode == 0


def test_it_is_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 200


def steady(answer: dict) -> dict:
    """An answer without what differs each time."""
    return answer | {"freshness": {"source": answer["freshness"]["source"]}}

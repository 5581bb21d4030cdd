"""Runs the examples of the README."""

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
DEFAULT_ADDRESS = "127.0.0.1:50051"
EPHEMERAL_PORTS = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a sandbox, and the environment variables that its banner exports."""
    directory = tmp_path_factory.mktemp("sandbox")
    with running([binary(), "sandbox", *EPHEMERAL_PORTS], directory) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r"(admin-update-user-attributes)")
        exports = dict(re.findall(r"(?m)^export (\w+)=(\S+)$", child.output()))
        yield line["address"], exports


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", README)


def grpcurl_examples() -> list[tuple[str, str]]:
    """Returns each grpcurl command of the README with the response shown for it."""
    return re.findall(r"(?ms)^```sh\n(grpcurl .*?)^```\n```json\n(.*?)^```$", README)


def test_grpcurl_commands_return_the_responses_shown(sandbox: tuple[str, dict[str, str]]) -> None:
    """The order matters: the second call is a cache hit because of the first one."""
    address, exports = sandbox
    assert len(grpcurl_examples()) == 2
    for line, expected in grpcurl_examples():
        shell = line.replace("grpcurl", str(GRPCURL), 1).replace(DEFAULT_ADDRESS, address)
        done = subprocess.run(shell, shell=True, env=os.environ | exports, capture_output=True, text=True)
        assert without_times(json.loads(done.stdout)) == without_times(json.loads(expected)), done.stderr


def test_the_get_command_returns_the_same_user(sandbox: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, exports = sandbox
    assert "COGNITO_LOOKUP_TOKEN=$ADA_TOKEN target/debug/cognito-lookup get" in README
    token = {"COGNITO_LOOKUP_TOKEN": exports["ADA_TOKEN"]}
    done = run([binary(), "get", "--json", "--address", f"http://{address}"], tmp_path, **token)
    expected = json.loads(grpcurl_examples()[0][1])
    assert json.loads(done.stdout)["user"] == expected["user"]


def test_the_users_file_is_accepted(tmp_path: Path) -> None:
    (users,) = [block for block in blocks("json") if '"users"' in block]
    file = tmp_path / "users.json"
    file.write_text(users)
    with running([binary(), "sandbox", *EPHEMERAL_PORTS, "--users", file], tmp_path) as child:
        assert child.find(r"(export EVE_TOKEN=\S+)")


def test_the_settings_file_is_valid(tmp_path: Path) -> None:
    (settings,) = blocks("toml")
    file = tmp_path / "settings.toml"
    file.write_text(settings)
    assert command(tmp_path, "config", "check", "--config", file).returncode == 0


def test_environment_variables_suffice_for_one_pool(tmp_path: Path) -> None:
    (line,) = [block for block in blocks("sh") if "cognito-lookup serve" in block]
    variables = dict(re.findall(r"(COGNITO_LOOKUP_\w+)=(\S+)", line))
    assert len(variables) == 3
    assert command(tmp_path, "config", "check", **variables).returncode == 0


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= 200


def without_times(response: dict) -> dict:
    """Removes the timestamps, which differ in each run."""
    return response | {"freshness": {"source": response["freshness"]["source"]}}

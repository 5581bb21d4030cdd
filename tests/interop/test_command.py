"""The command line: `config check`, `get` and `serve`."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

import health
from child import environment
from client import success
from pool import Pool
from service import CREDENTIALS, Service, binary, command, serving, settings, sidecar, write


def test_config_check_accepts_valid_settings(pool: Pool, tmp_path: Path) -> None:
    done = command(tmp_path, "config", "check", "--config", write(tmp_path, settings(pool)))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", [["config", "check"], ["serve"]])
def test_invalid_settings_are_reported_with_their_lines(pool: Pool, tmp_path: Path, verb: list[str]) -> None:
    callers = [sidecar() | {"reads": "everyone", "colour": "blue"}]
    file = write(tmp_path, settings(pool, callers=callers))
    done = command(tmp_path, *verb, "--config", file)
    assert done.returncode == 2, done
    text = file.read_text().splitlines()
    for key in ["reads", "colour"]:
        line = next(number for number, line in enumerate(text, 1) if line.startswith(f"{key} ="))
        messages = [message for message in done.stderr.splitlines() if key in message]
        assert any(str(line) in message for message in messages), f"{key} of line {line} in: {done.stderr}"


def test_get_prints_the_user_of_a_token(service: Service, pool: Pool, tmp_path: Path) -> None:
    token = pool.sign_in(pool.ada).access
    (tmp_path / "token").write_text(token)
    from_file = command(tmp_path, "get", "--json", "--address", service.url, "--token-file", tmp_path / "token")
    from_environment = command(tmp_path, "get", "--json", "--address", service.url, COGNITO_LOOKUP_TOKEN=token)
    for done in [from_file, from_environment]:
        assert done.returncode == 0, done.stderr
        user = success(done.stdout).reply["user"]
        assert (user["sub"], user["userPoolId"]) == (pool.ada.sub, pool.id)
        assert user["attributes"] == {"name": "Ada Lovelace", "email": "ada@example.com"}


def test_get_prints_the_user_with_a_sub(service: Service, pool: Pool, tmp_path: Path) -> None:
    done = command(tmp_path, "get", "--json", "--address", service.url, "--sub", pool.ada.sub)
    assert done.returncode == 0, done.stderr
    assert success(done.stdout).reply["user"]["attributes"] == {"name": "Ada Lovelace"}


def test_get_exits_with_6_if_the_user_is_not_found(service: Service, tmp_path: Path) -> None:
    done = command(tmp_path, "get", "--json", "--address", service.url, "--sub", "nobody")
    assert done.returncode == 6
    assert "USER_NOT_FOUND" in done.stderr


def test_shutdown_does_not_wait_for_an_open_health_watch(pool: Pool, tmp_path: Path) -> None:
    shutdown = {"delay": "0s", "grace": "1s"}
    with serving(tmp_path, settings(pool, shutdown=shutdown)) as service, health.watch(service.address) as states:
        assert next(states) in {"SERVING", "NOT_SERVING"}
        assert service.child.stop() == 0


def test_the_log_is_text_on_a_terminal_and_json_otherwise(pool: Pool, tmp_path: Path) -> None:
    file = write(tmp_path, settings(pool))
    terminal, standard_error = pty.openpty()
    arguments = [binary(), "serve", "--config", file]
    process = subprocess.Popen(arguments, stderr=standard_error, env=environment(tmp_path, CREDENTIALS))
    try:
        output = b""
        while b"listening" not in output:
            output += os.read(terminal, 4096)
    finally:
        process.terminate()
        process.wait(15)
    assert b"INFO" in output and b"{" not in output
    with serving(tmp_path, settings(pool)) as service:
        lines = service.child.output().splitlines()
    assert lines and all(json.loads(line)["level"] for line in lines)

"""The compose file: valid, and its two replicas share what the emulator returns about the user of docs/deploy.md."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from child import poll, run, running
from deployed import POOL, emulator_pool, serving, sign_in, status
from service import binary
from tool import DEPLOY, check

REPLICAS = ["cognito-lookup", "cognito-lookup-2"]


def test_it_matches_the_compose_schema() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_the_replicas_have_the_same_settings_and_different_ports(compose: dict) -> None:
    first, second = (compose["services"][name] for name in REPLICAS)
    assert {**first, "ports": None} == {**second, "ports": None}
    published = [port.rpartition(":")[0] for port in first["ports"] + second["ports"]]
    assert len(set(published)) == 4


@pytest.fixture
def keys(compose: dict, tmp_path: Path) -> Path:
    """The keys as the compose file makes them, twice, because the second start must keep them."""
    folder = tmp_path / "keys"
    folder.mkdir()
    # Only root may give files away.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "chown").symlink_to("/bin/true")
    (script,) = compose["services"]["keys"]["command"]
    script = script.replace("$$", "$").replace("/keys/", f"{folder}/")
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    made = []
    for _ in range(2):
        done = run([*compose["services"]["keys"]["entrypoint"], script], tmp_path, **path)
        assert done.returncode == 0, done.stderr
        made.append([(folder / name).read_text() for name in ["index", "value"]])
    assert made[0] == made[1] and len({*made[0]}) == 2
    return folder


@pytest.fixture
def store(compose: dict, tmp_path: Path) -> Iterator[str]:
    """The URL of the store, with the options of the compose file."""
    (program, *options) = compose["services"]["valkey"]["command"]
    assert program == "valkey-server"
    socket = tmp_path / "valkey.sock"
    local = ["--port", "0", "--unixsocket", socket, "--dir", tmp_path]
    folder = tmp_path / "store"
    folder.mkdir()
    with running([os.environ["DEPLOY_STORE"], *options, *local], folder) as child:
        child.find("(Ready to accept connections)")
        yield f"unix:{socket}"


def test_the_seeded_user_is_found_and_shared(
    compose: dict, cognito: str, keys: Path, store: str, ports: list[int], tmp_path: Path
) -> None:
    environment = compose["services"]["cognito-lookup"]["environment"]
    # The compose file uses the network names of the emulator and of the store.
    pool = {name: value for name, value in environment.items() if name in emulator_pool("")}
    assert pool == emulator_pool("http://cognito:9229")
    shared = {
        "COGNITO_LOOKUP_SHARED_CACHE__URL": store,
        "COGNITO_LOOKUP_SHARED_CACHE__INDEX_KEY_FILE": str(keys / "index"),
        "COGNITO_LOOKUP_SHARED_CACHE__VALUE_KEY_FILES": str(keys / "value"),
    }
    assert shared.keys() <= environment.keys()
    token = {"COGNITO_LOOKUP_TOKEN": sign_in(cognito)}
    with ExitStack() as stack:
        for name, (grpc, admin) in zip(REPLICAS, [ports[:2], ports[2:]], strict=True):
            folder = tmp_path / name
            folder.mkdir()
            addresses = {"LISTEN": grpc, "ADMIN_LISTEN": admin}
            listen = {f"COGNITO_LOOKUP_{key}": f"127.0.0.1:{port}" for key, port in addresses.items()}
            child = stack.enter_context(serving(folder, environment | listen | shared | emulator_pool(cognito)))
            poll(lambda admin=admin: status(f"http://127.0.0.1:{admin}/readyz") == 200, "ready")
            child.find("(the shared cache is used)")
        answers = [look_up(port, token, tmp_path) for port in [ports[0], ports[2]]]
    assert [answer["freshness"]["source"] for answer in answers] == ["SOURCE_COGNITO", "SOURCE_SHARED_CACHE"]
    for answer in answers:
        user = answer["user"]
        assert (user["userPoolId"], user["attributes"]["name"]) == (POOL, "Ada Lovelace"), user


def look_up(port: int, token: dict[str, str], directory: Path) -> Any:
    done = run([binary(), "get", "--json", "--address", f"http://127.0.0.1:{port}"], directory, **token)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

"""The compose file: valid, and its service and emulator return the user of docs/deploy.md."""

import json
from pathlib import Path

from child import poll, run
from deployed import POOL, emulator_pool, serving, sign_in, status
from service import binary
from tool import DEPLOY, check


def test_it_matches_the_compose_schema() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_the_seeded_user_is_found(compose: dict, cognito: str, ports: dict[str, int], tmp_path: Path) -> None:
    environment = compose["services"]["cognito-lookup"]["environment"]
    # The compose file uses the network name of the emulator.
    pool = {name: value for name, value in environment.items() if name in emulator_pool("")}
    assert pool == emulator_pool("http://cognito:9229")
    addresses = {
        f"COGNITO_LOOKUP_{name}": f"127.0.0.1:{port}" for name, port in zip(["LISTEN", "ADMIN_LISTEN"], ports.values())
    }
    with serving(tmp_path, environment | addresses | emulator_pool(cognito)):
        poll(lambda: status(f"http://127.0.0.1:{ports['admin']}/readyz") == 200, "ready")
        token = {"COGNITO_LOOKUP_TOKEN": sign_in(cognito)}
        done = run([binary(), "get", "--json", "--address", f"http://127.0.0.1:{ports['grpc']}"], tmp_path, **token)
    user = json.loads(done.stdout)["user"]
    assert (user["userPoolId"], user["attributes"]["name"]) == (POOL, "Ada Lovelace"), done.stderr

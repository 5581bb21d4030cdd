"""The compose file: valid, and the service and emulator it describes answer the call that docs/deploy.md shows."""

import json
from pathlib import Path

from child import poll, run
from deployed import POOL, elsewhere, serving, sign_in, status
from service import binary
from tool import DEPLOY, check


def test_it_is_valid() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_the_one_person_is_found(compose: dict, cognito: str, ports: dict[str, int], tmp_path: Path) -> None:
    given = compose["services"]["cognito-lookup"]["environment"]
    # The name that the emulator has there.
    there = {name: value for name, value in given.items() if name in elsewhere("")}
    assert there == elsewhere("http://cognito:9229")
    at = {
        f"COGNITO_LOOKUP_{name}": f"127.0.0.1:{port}" for name, port in zip(["LISTEN", "ADMIN_LISTEN"], ports.values())
    }
    with serving(tmp_path, given | at | elsewhere(cognito)):
        poll(lambda: status(f"http://127.0.0.1:{ports['admin']}/readyz") == 200, "ready")
        token = {"COGNITO_LOOKUP_TOKEN": sign_in(cognito)}
        answer = run([binary(), "get", "--json", "--address", f"http://127.0.0.1:{ports['grpc']}"], tmp_path, **token)
    user = json.loads(answer.stdout)["user"]
    assert (user["userPoolId"], user["attributes"]["name"]) == (POOL, "Ada Lovelace"), answer.stderr

"""The target `sandbox` of the Dockerfile, and the CI files of docs/testing.md that use it."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from child import poll, run, running
from deployed import status
from test_image import Image, build_image
from tool import DEPLOY, INSTALLED, check

PAGE = (DEPLOY.parent / "docs/testing.md").read_text()
WORKFLOW, COMPOSE = re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image with the binary of the tests, which needs a C library and so does not run in it."""
    files = [(os.environ["INTEROP_BINARY"], INSTALLED.removeprefix("/"), 0o755)]
    return build_image(tmp_path_factory.mktemp("sandbox"), "build-sandbox", files, "--target", "sandbox")


def test_the_image_contains_one_file(sandbox: Image) -> None:
    files = {str(file.relative_to(sandbox.root)) for file in sandbox.root.rglob("*") if not file.is_dir()}
    assert files == {INSTALLED.removeprefix("/")}


def test_its_command_serves_a_user_and_its_health_check_passes(sandbox: Image, tmp_path: Path) -> None:
    program, *arguments = sandbox.config["Entrypoint"]
    # buildah writes no arguments as an empty list, or not at all.
    assert (program, sandbox.config.get("Cmd") or []) == (INSTALLED, [])
    published = {port.split("/")[0] for port in sandbox.config["ExposedPorts"]}
    assert published == {port for argument in arguments for port in re.findall(r"^0\.0\.0\.0:(\d+)$", argument)}
    # Any port of this machine, instead of those of the container.
    arguments = [re.sub(r"^0\.0\.0\.0:\d+$", "0.0.0.0:0", argument) for argument in arguments]
    binary = sandbox.root / INSTALLED.removeprefix("/")
    with running([binary, *arguments, "--output", "json"], tmp_path) as child:
        document = json.loads(child.find(r'(?m)^(\{"replicas".*\})$'))
        (replica,) = document["replicas"]
        grpc, admin = (replica[name].replace("0.0.0.0", "127.0.0.1") for name in ["grpc", "admin_url"])
        poll(lambda: status(f"{admin}/readyz") == 200, "ready")
        ada = {"COGNITO_LOOKUP_TOKEN": document["users"]["ada"]["access_token"]}
        found = run([binary, "get", "--address", f"http://{grpc}"], tmp_path, **ada)
        assert "Ada Lovelace" in found.stdout, found.stderr
        kind, program, *command = sandbox.config["Healthcheck"]["Test"]
        assert (kind, program) == ("CMD", INSTALLED)
        checked = {"COGNITO_LOOKUP_ADMIN_LISTEN": admin.removeprefix("http://")}
        assert run([binary, *command], tmp_path, **checked).stdout == "SERVING\n"


def test_the_workflow_and_the_compose_file_match_their_schemas(tmp_path: Path) -> None:
    for schema, text in [("vendor.github-workflows", WORKFLOW), ("vendor.compose-spec", COMPOSE)]:
        file = tmp_path / f"{schema}.yaml"
        file.write_text(text)
        check("check-jsonschema", "--builtin-schema", schema, file)


def test_the_ci_files_use_the_ports_and_options_of_the_image(sandbox: Image, tmp_path: Path) -> None:
    service = yaml.safe_load(WORKFLOW)["jobs"]["test"]["services"]["sandbox"]
    exposed = {port.split("/")[0] for port in sandbox.config["ExposedPorts"]}
    assert {port.split(":")[1] for port in service["ports"]} <= exposed
    command = yaml.safe_load(COMPOSE)["services"]["sandbox"]["command"]
    _, *arguments = sandbox.config["Entrypoint"]
    arguments = [re.sub(r"^0\.0\.0\.0:\d+$", "0.0.0.0:0", argument) for argument in arguments]
    binary = sandbox.root / INSTALLED.removeprefix("/")
    with running([binary, *arguments, *command, "--output", "json"], tmp_path) as child:
        document = json.loads(child.find(r'(?m)^(\{"replicas".*\})$'))
    assert document["cognito"]["issuer"] == "http://sandbox:9229/eu-west-1_Sandbox01"

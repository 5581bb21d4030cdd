"""Holds docs/testing.md against the backends that it shows and a running sandbox."""

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from child import poll, run
from conftest import Sandbox, started_sandbox
from toolchain import ROOT

PAGE = (ROOT / "docs/testing.md").read_text()
FILES = {
    "python": "fastapi/test_app.py",
    "js": "express/server.test.mjs",
    "go": "nethttp/main_test.go",
    "java": "spring/UserControllerTest.java",
}
ADA, OTHER = "ada00000-5a4d-4b0c-8000-000000000001", "900913e0-5a4d-4b0c-8000-000000000002"
MACHINE = "sandboxmachine000000000001"


class Control:
    """The control port of a sandbox, and calls of the service."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self._sandbox, self._directory = sandbox, directory

    def send(self, method: str, path: str = "", body: Any = None) -> Any:
        data = json.dumps(body).encode() if body else b""
        request = urllib.request.Request(f"{self._sandbox.cognito}/sandbox{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def token(self, user: str, **flaws: Any) -> str:
        return self.send("POST", "/token", {"user": user, **flaws})["access_token"]

    def get(self, token: str, *arguments: str) -> str:
        """Looks the user up, and returns what is printed."""
        command = [os.environ["INTEROP_BINARY"], "get", "--address", f"http://{self._sandbox.address}", *arguments]
        done = run(command, self._directory, **({"COGNITO_LOOKUP_TOKEN": token} if token else {}))
        return done.stdout + done.stderr

    def fault(self, name: str) -> None:
        self.send("PUT", f"/fault/{name}")
        self.send("DELETE", "/cache")

    def sign_out(self) -> None:
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": "AWSCognitoIdentityProviderService.AdminUserGlobalSignOut",
        }
        body = json.dumps({"UserPoolId": "eu-west-1_Sandbox01", "Username": "ada"}).encode()
        urllib.request.urlopen(urllib.request.Request(self._sandbox.cognito, body, headers), timeout=10).close()


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    directory = tmp_path_factory.mktemp("page")
    with started_sandbox(directory) as sandbox:
        yield Control(sandbox, directory)


def revoked(control: Control) -> str:
    token = control.token("ada")
    assert "Ada Lovelace" in control.get(token)
    control.sign_out()
    return poll(lambda: (said := control.get(token)) and "TOKEN_REVOKED" in said and said, "the token is refused")


def failing(control: Control, fault: str) -> str:
    token = control.token("ada")
    control.fault(fault)
    return control.get(token)


WAYS: dict[str, Callable[[Control], str]] = {
    "TOKEN_MISSING": lambda control: control.get(""),
    "TOKEN_MALFORMED": lambda control: control.get("nonsense"),
    "TOKEN_INVALID": lambda control: control.get(control.token("ada", forged=True)),
    "ID_TOKEN_REFUSED": lambda control: control.get(control.token("ada", id=True)),
    "TOKEN_EXPIRED": lambda control: control.get(control.token("ada", expired=True)),
    "SUB_MALFORMED": lambda control: control.get(control.token(MACHINE)),
    "USER_DISABLED": lambda control: control.get(control.token("bob")),
    "USER_NOT_FOUND": lambda control: control.get(control.token(MACHINE), "--sub", "nobody"),
    "SUBJECT_AMBIGUOUS": lambda control: control.get(control.token("ada"), "--sub", OTHER),
    "ATTRIBUTE_NOT_ALLOWED": lambda control: control.get(control.token("ada"), "--attributes", "phone_number"),
    "SCOPE_MISSING": lambda control: control.get(control.token(MACHINE, scope="other/read"), "--sub", ADA),
    "UPSTREAM_THROTTLED": lambda control: failing(control, "throttle"),
    "UPSTREAM_UNAVAILABLE": lambda control: failing(control, "denied"),
    # The last one, because a token that was issued in the same second is refused too.
    "TOKEN_REVOKED": revoked,
}
# The first needs a fault from the start (the integration tests have it), the other a deadline, which `get` has not.
ELSEWHERE = {"KEYS_UNAVAILABLE", "DEADLINE"}


@pytest.mark.parametrize("reason", WAYS)
def test_each_reason_can_be_provoked(control: Control, reason: str) -> None:
    control.send("POST", "/reset")
    assert reason in WAYS[reason](control)


def test_the_page_has_these_reasons() -> None:
    (section,) = re.findall(r"(?ms)^## Provoke each reason\n(.*?)^## ", PAGE)
    listed = {reason for row in re.findall(r"(?m)^\| ([A-Z_, ]+) \|", section) for reason in row.split(", ")}
    assert listed == set(WAYS) | ELSEWHERE


def test_the_page_has_every_fault(control: Control) -> None:
    (section,) = re.findall(r"(?ms)^## Let Cognito fail\n(.*?)^## ", PAGE)
    faults = re.findall(r"(?m)^\| `([a-z-]+)` \|", section)
    for fault in faults:
        assert control.send("PUT", f"/fault/{fault}") == {"fault": fault}
    done = run([os.environ["INTEROP_BINARY"], "sandbox", "fault", "nonsense"], Path("/"))
    known = re.findall(r"[a-z-]+", done.stderr.split("expected ")[1].split(" or none")[0])
    assert sorted(known) == sorted(faults)
    control.send("DELETE", "/fault")


def test_the_document_has_the_members_of_the_page(control: Control) -> None:
    (shown,) = (json.loads(block) for block in re.findall(r"(?ms)^```json\n(.*?)^```$", PAGE))
    served = control.send("GET")
    assert list(shown) == list(served)
    for name in ["cognito", "fault"]:
        assert type(shown[name]) is type(served[name])
    assert list(shown["cognito"]) == list(served["cognito"])
    assert list(shown["users"]["ada"]) == list(served["users"]["ada"])
    assert list(shown["machine_clients"][0]) == list(served["machine_clients"][0])
    assert list(shown["replicas"][0]) == list(served["replicas"][0])


def test_the_code_on_the_page_is_that_of_the_backends() -> None:
    for language, file in FILES.items():
        blocks = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE)
        assert blocks, language
        for block in blocks:
            assert block in (ROOT / "examples/backends" / file).read_text(), block

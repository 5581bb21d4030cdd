"""Calls the function of examples/lambda as Amazon Cognito does, with a queue of moto."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import boto3
import moto
import pytest

from toolchain import ROOT

FILE = ROOT / "examples/lambda/post_authentication.py"
SUB = "900913e0-5a4d-4b0c-8000-000000000002"
POOL = "eu-west-1_Sandbox01"
# As in the developer guide, "Post authentication Lambda trigger".
EVENT = {
    "version": "1",
    "triggerSource": "PostAuthentication_Authentication",
    "region": "eu-west-1",
    "userPoolId": POOL,
    "userName": "Google_1034567890",
    "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "3n4b5urk1ft4fl3mg5e62d9ado"},
    "request": {
        "userAttributes": {
            "sub": SUB,
            "cognito:user_status": "EXTERNAL_PROVIDER",
            "identities": '[{"userId":"1034567890","providerName":"Google","providerType":"Google"}]',
            "email": "grace@example.com",
        },
        "newDeviceUsed": False,
    },
    "response": {},
}
Receive = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receive]:
    """Takes the messages out of a queue of moto, whose URL is in the environment."""
    for name, value in [("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")]:
        monkeypatch.setenv(name, value)
    with moto.mock_aws():
        sqs = boto3.client("sqs")
        url = sqs.create_queue(QueueName="cognito-lookup-events")["QueueUrl"]
        monkeypatch.setenv("QUEUE_URL", url)

        def receive() -> list[dict[str, Any]]:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            return [json.loads(message["Body"]) for message in messages]

        yield receive


@pytest.fixture
def function(receive: Receive) -> ModuleType:
    spec = spec_from_file_location("post_authentication", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without(path: list[str]) -> dict[str, Any]:
    """Returns the event without one field."""
    event = json.loads(json.dumps(EVENT))
    parent = event
    for name in path[:-1]:
        parent = parent[name]
    del parent[path[-1]]
    return event


def test_a_sign_in_through_a_provider_is_reported(function: ModuleType, receive: Receive) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert function.handler(EVENT, None) == EVENT
    (message,) = receive()
    time = datetime.fromisoformat(message["detail"].pop("time"))
    assert before <= time <= datetime.now(UTC)
    assert message == {
        "detail-type": "User Change",
        "detail": {"userPoolId": POOL, "sub": SUB, "change": "ATTRIBUTES"},
    }


def test_the_readme_shows_the_fields_of_the_message(function: ModuleType, receive: Receive) -> None:
    function.handler(EVENT, None)
    (message,) = receive()
    readme = (ROOT / "examples/README.md").read_text()
    (shown,) = [json.loads(block) for block in re.findall(r"(?ms)^```json\n(.*?)^```$", readme)]
    assert message.keys() == shown.keys() and message["detail"].keys() == shown["detail"].keys()


def test_other_sign_ins_are_not_reported(function: ModuleType, receive: Receive) -> None:
    local = without(["request", "userAttributes", "identities"])
    assert function.handler(local, None) == local
    assert receive() == []


@pytest.mark.parametrize("path", [["request"], ["userPoolId"], ["request", "userAttributes", "sub"]])
def test_an_unexpected_event_does_not_fail_the_sign_in(
    function: ModuleType, receive: Receive, path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    event = without(path)
    assert function.handler(event, None) == event
    assert receive() == [] and capsys.readouterr().out == "sign-in not reported: KeyError\n"


def test_a_missing_queue_does_not_fail_the_sign_in(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/missing")
    assert function.handler(EVENT, None) == EVENT
    out = capsys.readouterr().out
    assert out.startswith("sign-in not reported: ") and SUB not in out


def test_the_function_ends_before_cognito_gives_up(function: ModuleType) -> None:
    config = function.CONFIG
    attempts = config.retries["total_max_attempts"]
    # Between two attempts the SDK waits for up to 1 s.
    assert attempts * (config.connect_timeout + config.read_timeout) + (attempts - 1) <= 5


def test_the_function_has_about_20_lines() -> None:
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith(("#", '"""'))]
    assert len(lines) <= 20, len(lines)

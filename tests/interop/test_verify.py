"""Runs deploy/events/verify in moto, with and without the events that moto does not send."""

import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import moto
import pytest

DIRECTORY = Path(__file__).parents[2] / "deploy/events"
SUB = "6ad2c1e4-5a4d-4b0c-8000-000000000009"


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module. It finds no network."""
    monkeypatch.syspath_prepend(DIRECTORY)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("verify", str(DIRECTORY / "verify"))
    module = module_from_spec(spec_from_loader("verify", loader))
    loader.exec_module(module)

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    original = module.Script.call

    def call(self: Any, *arguments: Any, **parameters: Any) -> dict:
        """moto has not all of the operations. Those that it lacks succeed here."""
        try:
            return original(self, *arguments, **parameters)
        except NotImplementedError:
            self.calls[-1].request_id = f"missing-{len(self.calls)}"
            return {}

    monkeypatch.setattr(module.Script, "call", call)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]:
        monkeypatch.setenv(name, "test")
    return module


def create_trail() -> None:
    s3, cloudtrail = boto3.client("s3", "us-east-1"), boto3.client("cloudtrail", "us-east-1")
    s3.create_bucket(Bucket="trail")
    cloudtrail.create_trail(Name="trail", S3BucketName="trail")
    cloudtrail.start_logging(Name="trail")
    management = {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}
    cloudtrail.put_event_selectors(TrailName="trail", EventSelectors=[management])


def run(verify: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    arguments = ["--region", "us-east-1", "--pause", "0", "--wait", "2", "--output", str(folder)]
    monkeypatch.setattr(sys, "argv", ["verify", *arguments])
    return verify.main()


def leftovers() -> list[Any]:
    client = {name: boto3.client(name, "us-east-1") for name in ["cognito-idp", "sqs", "events"]}
    pools = client["cognito-idp"].list_user_pools(MaxResults=10)["UserPools"]
    return pools + client["sqs"].list_queues().get("QueueUrls", []) + client["events"].list_rules()["Rules"]


@moto.mock_aws
def test_without_a_trail_it_creates_nothing(
    verify: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(verify, tmp_path, monkeypatch) == 2
    assert "no trail logs write management events" in capsys.readouterr().err
    assert leftovers() == []


@moto.mock_aws
def test_missing_events_are_reported_and_everything_is_deleted(
    verify: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_trail()
    assert run(verify, tmp_path, monkeypatch) == 1
    out = capsys.readouterr().out
    assert "AdminUpdateUserAttributes    no event\n" in out
    assert verify.rule_names() <= {line.split(" ")[0] for line in out.splitlines()}, "called, or not and said why"
    assert leftovers() == [] and list(tmp_path.iterdir()) == []


@moto.mock_aws
def test_events_are_matched_with_their_calls_and_saved(
    verify: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event of AdminDisableUser lacks its sub."""
    create_trail()
    script = verify.Script
    original = script.call

    def call(self: Any, operation: str, method: str, **parameters: Any) -> dict:
        output = original(self, operation, method, **parameters)
        data = None if operation == "AdminDisableUser" else {"sub": SUB}
        send(operation, self.calls[-1].request_id, data)
        return output

    monkeypatch.setattr(script, "call", call)
    status = run(verify, tmp_path, monkeypatch)
    out = capsys.readouterr().out
    assert status == 1, out
    lines = {line.split(" ")[0]: line for line in out.splitlines()}
    assert lines["AdminUpdateUserAttributes"].endswith("sub yes, pool yes")
    assert lines["AdminDisableUser"].endswith("sub NO, pool yes")
    assert "no event" not in out and "delay: median" in out
    (saved,) = tmp_path.glob("AdminDisableUser-*.json")
    assert json.loads(saved.read_text())["detail"]["eventName"] == "AdminDisableUser"


def send(operation: str, request_id: str, data: dict[str, str] | None) -> None:
    detail = {
        "eventName": operation,
        "requestID": request_id,
        "requestParameters": {"userPoolId": "us-east-1_AbCdEfGhI"},
        "additionalEventData": data,
    }
    entry = {"Source": "aws.cognito-idp", "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(detail)}
    boto3.client("events", "us-east-1").put_events(Entries=[entry])

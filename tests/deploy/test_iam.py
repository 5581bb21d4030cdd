"""The IAM policy of the process, and the policies that docs/iam.md shows."""

import json
import re

import pytest

from policy import allowed, lint
from tool import DEPLOY

GUIDE = (DEPLOY.parent / "docs/iam.md").read_text()
SHOWN = [json.loads(block) for block in re.findall(r"(?ms)^```json\n(.*?)^```$", GUIDE)]


def test_the_policy_allows_only_admin_get_user() -> None:
    document = json.loads((DEPLOY / "iam/policy.json").read_text())
    lint(document)
    assert allowed(document) == {"cognito-idp:AdminGetUser"}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    combined = document | {"Statement": [*document["Statement"], everything]}
    assert allowed(combined) == {"cognito-idp:AdminGetUser"}, "denied even if the role allows it"


@pytest.mark.parametrize(
    ("file", "more"), [("policy-events", set()), ("policy-catch-up", {"cloudtrail:LookupEvents"})]
)
def test_the_policy_with_events_adds_only_the_queue_and_with_catch_up_the_trail(file: str, more: set[str]) -> None:
    document = json.loads((DEPLOY / f"iam/{file}.json").read_text())
    lint(document)
    queue = {f"sqs:{action}" for action in ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"]}
    expected = queue | {"cognito-idp:AdminGetUser"} | more
    assert allowed(document) == expected
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    combined = document | {"Statement": [*document["Statement"], everything]}
    assert allowed(combined) == expected, "the rest is denied even if the role allows it"
    added = [statement for statement in document["Statement"] if "Event" in statement["Sid"]]
    assert all(statement in SHOWN for statement in added)


@pytest.mark.parametrize("document", SHOWN, ids=range(len(SHOWN)))
def test_a_policy_in_the_guide_is_valid(document: dict) -> None:
    if "Version" not in document:
        document = {"Version": "2012-10-17", "Statement": [document]}
    if any("Principal" in statement for statement in document["Statement"]):
        assert all(statement["Action"] in TRUST for statement in document["Statement"])
    else:
        lint(document)


def test_the_guide_names_every_statement() -> None:
    document = json.loads((DEPLOY / "iam/policy.json").read_text())
    for statement in document["Statement"]:
        assert f"`{statement['Sid']}`" in GUIDE


TRUST = ["sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", ["sts:AssumeRole", "sts:TagSession"]]

"""The queue of changes: CloudFormation and Terraform say the same, and only the rules may send.

tests/interop/test_event_rules.py sends events through the template.
"""

import json
import re
from pathlib import Path
from typing import Any

import cfnlint.decode.cfn_yaml
import hcl2
import pytest

from policy import allowed, lint
from tool import DEPLOY, EVENTS, check

PATTERNS = {"changes": "rule.json", "first-password": "first-password-rule.json"}
RULES = {"ChangesRule": "changes", "FirstPasswordRule": "first-password"}
# The properties of queues and alarms, by their names in Terraform.
SETTINGS = {
    "message_retention_seconds": "MessageRetentionPeriod",
    "visibility_timeout_seconds": "VisibilityTimeout",
    "receive_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
    "sqs_managed_sse_enabled": "SqsManagedSseEnabled",
    "namespace": "Namespace",
    "metric_name": "MetricName",
    "statistic": "Statistic",
    "period": "Period",
    "evaluation_periods": "EvaluationPeriods",
    "comparison_operator": "ComparisonOperator",
    "treat_missing_data": "TreatMissingData",
}
SAME = {
    ("aws_sqs_queue", "events"): "Queue",
    ("aws_sqs_queue", "dead"): "DeadLetterQueue",
    ("aws_cloudwatch_metric_alarm", "queue_is_not_read"): "QueueIsNotRead",
    ("aws_cloudwatch_metric_alarm", "events_are_lost"): "EventsAreLost",
}


def properties(name: str) -> dict[str, Any]:
    return cfnlint.decode.cfn_yaml.load(str(EVENTS))["Resources"][name]["Properties"]


def module(kind: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns the resources or data sources of the Terraform module by type and name."""
    with (EVENTS.parent / "terraform/main.tf").open() as file:
        parsed = hcl2.load(file)
    return {
        (address, name): body
        for block in parsed[kind]
        for address, named in block.items()
        for name, body in named.items()
    }


def value(body: dict[str, Any], name: str) -> Any:
    """Returns a value, which the parser wraps in a list."""
    (wrapped,) = body[name]
    return wrapped


def pattern(name: str) -> dict[str, Any]:
    return json.loads((EVENTS.parent / PATTERNS[name]).read_text())


def test_cfn_lint_passes() -> None:
    check("cfn-lint", EVENTS)


@pytest.mark.parametrize(("rule", "name"), RULES.items())
def test_the_template_has_the_patterns_of_the_files(rule: str, name: str) -> None:
    assert properties(rule)["EventPattern"] == pattern(name)
    assert properties(rule)["State"] == "ENABLED"
    assert "userPoolId" not in json.dumps(pattern(name)), "calls of users themselves name no pool"


def test_the_module_reads_the_patterns_of_the_files() -> None:
    text = (EVENTS.parent / "terraform/main.tf").read_text()
    for name, file in PATTERNS.items():
        assert f'file("${{path.module}}/../{file}")' in text and f"{name} " in text


@pytest.mark.parametrize(("address", "name"), SAME.items())
def test_the_module_has_the_settings_of_the_template(address: tuple[str, str], name: str) -> None:
    theirs, ours = module("resource")[address], properties(name)
    shared = {key: value(theirs, key) for key in SETTINGS if key in theirs}
    assert shared == {key: ours[SETTINGS[key]] for key in shared}
    assert {SETTINGS[key] for key in shared} == set(SETTINGS.values()) & set(ours)


@pytest.mark.parametrize("name", ["QueuePolicy", "DeadLetterQueuePolicy"])
def test_only_the_rules_may_send_and_only_by_tls(name: str) -> None:
    (allow, deny) = properties(name)["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "sqs:SendMessage")
    assert allow["Principal"] == {"Service": "events.amazonaws.com"}
    sources = allow["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert [source["Fn::GetAtt"] for source in sources] == [[rule, "Arn"] for rule in RULES]
    assert (deny["Effect"], deny["Action"], deny["Principal"]) == ("Deny", "sqs:*", "*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_every_event_that_cannot_be_delivered_goes_to_the_dead_letter_queue() -> None:
    for rule in RULES:
        (target,) = properties(rule)["Targets"]
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
    redrive = properties("Queue")["RedrivePolicy"]
    assert (redrive["maxReceiveCount"], redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]) == (5, "DeadLetterQueue")


@pytest.mark.parametrize("catches_up", [False, True])
def test_the_role_may_read_the_queue_and_with_catch_up_the_trail(catches_up: bool) -> None:
    document = json.loads(json.dumps(properties("ReadQueue")["PolicyDocument"]))
    condition, with_trail, without = document["Statement"]["Fn::If"]
    assert condition == "CatchesUp" and without == with_trail[:1]
    document["Statement"] = with_trail if catches_up else without
    document["Statement"][0]["Resource"] = "arn:aws:sqs:eu-west-1:123456789012:cognito-lookup-events"
    lint(document)
    expected = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    assert allowed(document) == expected | ({"cloudtrail:LookupEvents"} if catches_up else set())


def test_both_give_the_trail_by_the_same_parameter_and_not_by_default() -> None:
    template = cfnlint.decode.cfn_yaml.load(str(EVENTS))
    parameter = template["Parameters"]["CatchUp"]
    assert (parameter["Default"], parameter["AllowedValues"]) == ("off", ["off", "cloudtrail"])
    assert template["Conditions"]["CatchesUp"] == {"Fn::Equals": [{"Ref": "CatchUp"}, "cloudtrail"]}
    (block,) = [body for (_, name), body in module("data").items() if name == "read"]
    assert actions(block["statement"]) == {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    (dynamic,) = [each["statement"] for each in block["dynamic"]]
    assert "var.catch_up == \"cloudtrail\" ? [1] : []" in str(value(dynamic, "for_each"))
    assert actions(dynamic["content"]) == {"cloudtrail:LookupEvents"}
    with (EVENTS.parent / "terraform/variables.tf").open() as file:
        (variable,) = [each["catch_up"] for each in hcl2.load(file)["variable"] if "catch_up" in each]
    assert value(variable, "default") == "off"


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in value(statement, "actions")}


@pytest.mark.parametrize("page", [EVENTS.parent / "README.md", DEPLOY.parent / "docs/events.md"], ids=["deploy", "docs"])
def test_the_causes_of_silence_are_checked_from_the_trail_to_the_role(page: Path) -> None:
    (causes,) = re.findall(r"(?ms)^(?:Check|.*, check) in this order:\n\n(.*?)(?:\n\n|\Z)", page.read_text())
    order = ["Trail", "Rule", "Region", "Queue policy", "Dead-letter queue", "IAM"]
    assert re.findall(r"(?m)^\d\. \*\*(.*?)\*\*", causes) == order


def test_the_readme_names_every_operation_of_the_rule() -> None:
    readme = Path(EVENTS.parent / "README.md").read_text()
    for operation in pattern("changes")["detail"]["eventName"]:
        assert f"`{operation}`" in readme

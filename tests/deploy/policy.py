"""Lints IAM policies and evaluates which actions they allow."""

import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import parliament

# The linter's list predates this action (Amazon Cognito API reference, GetProvisionedLimit).
UNLISTED = "cognito-idp:GetProvisionedLimit"


def lint(document: dict[str, Any]) -> None:
    policy = parliament.analyze_policy_string(json.dumps(document))
    findings = [finding for finding in policy.findings if UNLISTED not in str(finding.detail)]
    assert not findings, findings


def allowed(document: dict[str, Any]) -> set[str]:
    """Returns the actions that the policy allows on any resource."""
    return {
        action
        for action in actions()
        if has_statement(document, "Allow", action) and not has_statement(document, "Deny", action)
    }


def has_statement(document: dict[str, Any], effect: str, action: str) -> bool:
    return any(matches(statement, action) for statement in document["Statement"] if statement["Effect"] == effect)


def matches(statement: dict[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(fnmatchcase(action, pattern) for pattern in as_list(statement["NotAction"]))
    return any(fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@cache
def actions() -> frozenset[str]:
    """Returns all IAM actions that the linter lists, and UNLISTED."""
    definition = json.loads((Path(parliament.__file__).parent / "iam_definition.json").read_text())
    known = {f"{service['prefix']}:{action['privilege']}" for service in definition for action in service["privileges"]}
    assert len(known) > 10_000
    return frozenset(known | {UNLISTED})

"""What an IAM policy lets its holder do."""

import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import parliament

# Newer than the linter's list: API reference, GetProvisionedLimit.
NEWER = "cognito-idp:GetProvisionedLimit"


def lint(document: dict[str, Any]) -> None:
    policy = parliament.analyze_policy_string(json.dumps(document))
    findings = [finding for finding in policy.findings if NEWER not in str(finding.detail)]
    assert not findings, findings


def allowed(document: dict[str, Any]) -> set[str]:
    """Of all that AWS knows and of what it came to know since, what the policy allows on some resource."""
    return {action for action in actions() if said(document, "Allow", action) and not said(document, "Deny", action)}


def said(document: dict[str, Any], effect: str, action: str) -> bool:
    return any(names(it, action) for it in document["Statement"] if it["Effect"] == effect)


def names(statement: dict[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(fnmatchcase(action, pattern) for pattern in listed(statement["NotAction"]))
    return any(fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@cache
def actions() -> frozenset[str]:
    definition = json.loads((Path(parliament.__file__).parent / "iam_definition.json").read_text())
    known = {f"{service['prefix']}:{it['privilege']}" for service in definition for it in service["privileges"]}
    assert len(known) > 10_000
    return frozenset(known | {NEWER})

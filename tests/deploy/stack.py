"""The CloudFormation template with its parameters and conditions worked out, as far as the tests need it."""

from typing import Any

import cfnlint.decode.cfn_yaml

from tool import TEMPLATE

GIVEN = {
    "Image": "registry.example.com/cognito-lookup",
    "UserPoolId": "eu-west-1_AbCdEfGhI",
    "AppClients": ["3n4b5urk1ft4fl3mg5e62d9ado"],
    "Attributes": ["name", "email"],
    "Cluster": "main",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "lookup",
}


def template() -> dict[str, Any]:
    return cfnlint.decode.cfn_yaml.load(str(TEMPLATE))


def task(**given: str) -> dict[str, Any]:
    """The properties of the task definition with these parameters."""
    return Stack(**given).resource("TaskDefinition")


class Stack:
    """The template with these parameters, and the defaults of the others."""

    def __init__(self, **given: Any) -> None:
        self._template = template()
        defaults = {name: it["Default"] for name, it in self._template["Parameters"].items() if "Default" in it}
        self._known = defaults | GIVEN | given

    def resource(self, name: str) -> dict[str, Any]:
        return self._value(self._template["Resources"][name]["Properties"])

    def default(self, name: str) -> Any:
        return self._known[name]

    def _value(self, node: Any) -> Any:
        match node:
            case {"Ref": "AWS::NoValue"}:
                return None
            case {"Ref": name}:
                return self._known.get(name, f"<{name}>")
            case {"Fn::GetAtt": path}:
                return f"<{'.'.join(path)}>"
            case {"Fn::If": [condition, yes, no]}:
                return self._value(yes if self._value(self._template["Conditions"][condition]) else no)
            case {"Fn::Equals": [left, right]}:
                return self._value(left) == self._value(right)
            case {"Fn::Not": [inner]}:
                return not self._value(inner)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self._value(parts))
            case {"Fn::Split": [separator, text]}:
                return self._value(text).split(separator)
            case {"Fn::Select": [index, parts]}:
                return self._value(parts)[int(index)]
            case {"Fn::Sub": [text, names]}:
                return self._filled(text, self._value(names))
            case {"Fn::Sub": text}:
                return self._filled(text, {})
            case dict():
                assert not any(key.startswith("Fn::") for key in node), node
                return {key: value for key, inner in node.items() if (value := self._value(inner)) is not None}
            case list():
                return [value for inner in node if (value := self._value(inner)) is not None]
            case _:
                return node

    def _filled(self, text: str, names: dict[str, Any]) -> str:
        for name, value in (self._known | names).items():
            text = text.replace("${" + name + "}", str(value))
        return text

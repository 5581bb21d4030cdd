"""Evaluates the CloudFormation template: parameters, conditions and the functions that it uses."""

from typing import Any

import cfnlint.decode.cfn_yaml

from tool import TEMPLATE

# The parameters without a default, and the pseudo parameters.
REQUIRED = {
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


def task(**parameters: str) -> dict[str, Any]:
    """Returns the properties of the task definition with these parameters."""
    return Stack(**parameters).resource("TaskDefinition")


def container(name: str, **parameters: str) -> dict[str, Any]:
    """Returns the container of the task with this name."""
    (found,) = [each for each in task(**parameters)["ContainerDefinitions"] if each["Name"] == name]
    return found


class Stack:
    """The template with these parameters and defaults for all others."""

    def __init__(self, **parameters: Any) -> None:
        self._template = template()
        defaults = {
            name: parameter["Default"].split(",")
            if parameter["Type"] == "CommaDelimitedList"
            else parameter["Default"]
            for name, parameter in self._template["Parameters"].items()
            if "Default" in parameter
        }
        self._parameters = defaults | REQUIRED | parameters

    def resource(self, name: str) -> dict[str, Any]:
        return self._evaluate(self._template["Resources"][name]["Properties"])

    def parameter(self, name: str) -> Any:
        return self._parameters[name]

    def _evaluate(self, node: Any) -> Any:
        match node:
            case {"Ref": "AWS::NoValue"}:
                return None
            case {"Ref": name}:
                return self._parameters.get(name, f"<{name}>")
            case {"Fn::GetAtt": path}:
                return f"<{'.'.join(path)}>"
            case {"Fn::If": [condition, yes, no]}:
                return self._evaluate(yes if self._evaluate(self._template["Conditions"][condition]) else no)
            case {"Fn::Equals": [left, right]}:
                return self._evaluate(left) == self._evaluate(right)
            case {"Fn::Not": [inner]}:
                return not self._evaluate(inner)
            case {"Fn::And": parts}:
                return all(self._evaluate(part) for part in parts)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self._evaluate(parts))
            case {"Fn::Split": [separator, text]}:
                return self._evaluate(text).split(separator)
            case {"Fn::Select": [index, parts]}:
                return self._evaluate(parts)[int(index)]
            case {"Fn::FindInMap": [name, *keys]}:
                found = self._template["Mappings"][name]
                for key in keys:
                    found = found[self._evaluate(key)]
                return found
            case {"Fn::Sub": [text, names]}:
                return self._substitute(text, self._evaluate(names))
            case {"Fn::Sub": text}:
                return self._substitute(text, {})
            case dict():
                assert not any(key.startswith("Fn::") for key in node), node
                return {key: value for key, inner in node.items() if (value := self._evaluate(inner)) is not None}
            case list():
                return [value for inner in node if (value := self._evaluate(inner)) is not None]
            case _:
                return node

    def _substitute(self, text: str, names: dict[str, Any]) -> str:
        for name, value in (self._parameters | names).items():
            text = text.replace("${" + name + "}", str(value))
        return text

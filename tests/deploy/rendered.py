"""What Helm makes of the chart."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tool import CHART, check

Thing = dict[str, Any]


@dataclass(frozen=True)
class Rendering:
    """The objects of one release called `lookup`."""

    objects: list[Thing]
    given: Thing

    def objects_of(self, kind: str) -> list[Thing]:
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind: str, name: str) -> Thing:
        (thing,) = [thing for thing in self.objects_of(kind) if thing["metadata"]["name"] == f"{name}-cognito-lookup"]
        return thing

    def pods(self) -> Iterator[Thing]:
        yield self.one("Deployment", "lookup")["spec"]["template"]["spec"]
        yield from (pod["spec"] for pod in self.objects_of("Pod"))

    def container(self) -> Thing:
        (container,) = next(self.pods())["containers"]
        return container

    def environment(self) -> dict[str, str]:
        return {variable["name"]: variable["value"] for variable in self.container()["env"]}

    def settings(self) -> Thing:
        return tables(self.one("ConfigMap", "lookup")["data"]["settings.toml"])

    def tls(self) -> bool:
        return "certificate" in self.settings().get("tls", {})

    def values(self, path: str) -> Any:
        """A value as it was given, or else the chart's own."""
        for values in [self.given, yaml.safe_load((CHART / "values.yaml").read_text())]:
            for key in path.split("."):
                values = values.get(key, {})
            if values != {}:
                return values
        raise KeyError(path)


def render(values: Path, *arguments: str | Path) -> Rendering:
    said = check("helm", "template", "lookup", CHART, "--namespace", "identity", "--values", values, *arguments)
    return Rendering([thing for thing in yaml.safe_load_all(said) if thing], yaml.safe_load(values.read_text()))


def tables(text: str) -> Thing:
    return tomllib.loads(text)

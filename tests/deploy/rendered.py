"""Renders the chart with Helm."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tool import CHART, check

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendering:
    """The Kubernetes objects of a release named `lookup`, and the values it was rendered with."""

    objects: list[Manifest]
    overrides: Manifest

    def objects_of(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.objects if manifest["kind"] == kind]

    def object(self, kind: str, name: str) -> Manifest:
        (found,) = [
            manifest for manifest in self.objects_of(kind) if manifest["metadata"]["name"] == f"{name}-cognito-lookup"
        ]
        return found

    def pods(self) -> Iterator[Manifest]:
        yield self.object("Deployment", "lookup")["spec"]["template"]["spec"]
        yield from (pod["spec"] for pod in self.objects_of("Pod"))

    def container(self) -> Manifest:
        """Returns the container of the service, which is the first one."""
        return next(self.pods())["containers"][0]

    def environment(self) -> dict[str, str]:
        """Returns the variables that have a value."""
        return {variable["name"]: variable["value"] for variable in self.container()["env"]}

    def settings(self) -> Manifest:
        return parse_toml(self.object("ConfigMap", "lookup")["data"]["settings.toml"])

    def has_tls(self) -> bool:
        return "certificate" in self.settings().get("tls", {})

    def shares_cache(self) -> bool:
        return "index_key_file" in self.settings().get("shared_cache", {})

    def values(self, path: str) -> Any:
        """Returns a value: the override if there is one, otherwise the default of the chart."""
        for values in [self.overrides, yaml.safe_load((CHART / "values.yaml").read_text())]:
            for key in path.split("."):
                values = values.get(key, {})
            if values != {}:
                return values
        raise KeyError(path)


def render(values: Path, *arguments: str | Path) -> Rendering:
    output = check("helm", "template", "lookup", CHART, "--namespace", "identity", "--values", values, *arguments)
    manifests = [manifest for manifest in yaml.safe_load_all(output) if manifest]
    return Rendering(manifests, yaml.safe_load(values.read_text()))


def parse_toml(text: str) -> Manifest:
    return tomllib.loads(text)

"""Runs checkov on everything that is deployed."""

import re
from pathlib import Path

import yaml

from rendered import render
from test_chart import VALUES
from tool import DEPLOY, EVENTS, TEMPLATE, check


def test_checkov_passes(tmp_path: Path) -> None:
    """Checks all files in one run, because checkov spends most of its time starting."""
    files = [DEPLOY / "Dockerfile", TEMPLATE, EVENTS, *EVENTS.parent.glob("terraform/*.tf")]
    for values in VALUES:
        file = tmp_path / f"{values.stem}.yaml"
        # The pod of `helm test` runs to completion, so it has no probes and is not checked.
        checked = [manifest for manifest in render(values).objects if manifest["kind"] != "Pod"]
        file.write_text(yaml.safe_dump_all(checked))
        files.append(file)
    frameworks = ["dockerfile", "cloudformation", "kubernetes", "terraform"]
    arguments = ["--framework", *frameworks, *(argument for file in files for argument in ["--file", file])]
    output = check("checkov", "--config-file", Path(__file__).with_name("checkov.yaml"), *arguments)
    for framework in frameworks:
        results = output[output.index(f"{framework} scan results:") :]
        passed = re.search(r"Passed checks: (\d+), Failed checks: 0", results)
        assert passed and int(passed[1]) > 20, output

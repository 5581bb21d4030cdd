"""What checkov asks of everything that is deployed."""

import re
from pathlib import Path

import yaml

from rendered import render
from test_chart import VALUES
from tool import DEPLOY, TEMPLATE, check


def test_checkov_finds_no_fault(tmp_path: Path) -> None:
    """In one run, for most of its time goes by before it looks at anything."""
    files = [DEPLOY / "Dockerfile", TEMPLATE]
    for values in VALUES:
        file = tmp_path / f"{values.stem}.yaml"
        # The test's pod ends by itself, so probes would be lost on it.
        file.write_text(yaml.safe_dump_all(thing for thing in render(values).objects if thing["kind"] != "Pod"))
        files.append(file)
    frameworks = ["dockerfile", "cloudformation", "kubernetes"]
    arguments = ["--framework", *frameworks, *(it for file in files for it in ["--file", file])]
    said = check("checkov", "--config-file", Path(__file__).with_name("checkov.yaml"), *arguments)
    for framework in frameworks:
        results = said[said.index(f"{framework} scan results:") :]
        passed = re.search(r"Passed checks: (\d+), Failed checks: 0", results)
        assert passed and int(passed[1]) > 20, said

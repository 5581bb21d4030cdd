"""Follows docs/deploy.md, except for the steps that need an AWS account, a cluster or Docker."""

import os
import re
import subprocess
from pathlib import Path

from rendered import render
from stack import template
from tool import DEPLOY, INSTALLED

GUIDE = (DEPLOY.parent / "docs/deploy.md").read_text()


def test_the_sign_in_command_prints_a_token(cognito: str) -> None:
    (shown,) = [block for block in blocks("sh") if "InitiateAuth" in block]
    sign_in = shown[: shown.index("grpcurl")].replace("http://127.0.0.1:9229", cognito)
    done = subprocess.run(["bash", "-c", f"{sign_in}echo $TOKEN"], capture_output=True, text=True, timeout=30)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout), done


def test_the_helm_values_shown_are_sufficient(tmp_path: Path) -> None:
    (shown,) = re.findall(r"(?ms)^   ```yaml\n(.*?)^   ```$", GUIDE)
    file = tmp_path / "values.yaml"
    file.write_text(shown)
    rendering = render(file)
    names = {manifest["metadata"]["name"] for manifest in rendering.objects}
    for name in re.findall(r"lookup-cognito-lookup(?:-headless)?", GUIDE):
        assert name in names


def test_the_stack_parameters_shown_are_sufficient() -> None:
    shown = set(re.findall(r"(\w+)=\S", GUIDE[GUIDE.index("--parameter-overrides") : GUIDE.index("services-stable")]))
    parameters = template()["Parameters"]
    assert shown <= set(parameters)
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= shown


def test_the_commands_that_install_the_unit_work(tmp_path: Path) -> None:
    """Runs the commands before `systemctl` with another root directory. systemd does not run here."""
    (shown,) = [block for block in blocks("sh") if "systemctl" in block]
    lines = shown[: shown.index("systemctl")].replace("target/release/cognito-lookup", os.environ["INTEROP_BINARY"])
    for directory in ["etc/systemd/system", "usr/local/bin"]:
        (tmp_path / directory).mkdir(parents=True)
    script = re.sub(r" (/etc|/usr)", rf" {tmp_path}\1", lines)
    subprocess.run(["bash", "-ec", script], cwd=DEPLOY.parent, check=True, timeout=30)
    variables = dict(
        line.split("=", 1) for line in (tmp_path / "etc/cognito-lookup/environment").read_text().splitlines()
    )
    environment = {"PATH": os.environ["PATH"], **variables}
    program = f"{tmp_path}{INSTALLED}"
    assert (
        subprocess.run([program, "config", "check"], env=environment, capture_output=True, timeout=30).returncode == 0
    )


def test_every_file_named_in_the_guide_exists() -> None:
    named = re.findall(r"`?(deploy/[\w./-]+\w)`?", GUIDE) + re.findall(r"\]\((?:\.\./)?([\w./-]+)[#)]", GUIDE)
    assert len(named) > 8
    for path in named:
        assert any((root / path).exists() for root in [DEPLOY.parent, DEPLOY.parent / "docs"]), path


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", GUIDE)

"""docs/deploy.md, as far as it can be followed without an account, a cluster or Docker."""

import os
import re
import subprocess
from pathlib import Path

from rendered import render
from stack import template
from tool import DEPLOY, INSTALLED

GUIDE = (DEPLOY.parent / "docs/deploy.md").read_text()


def test_the_emulators_person_signs_in_as_shown(cognito: str) -> None:
    (shown,) = [block for block in blocks("sh") if "InitiateAuth" in block]
    sign_in = shown[: shown.index("grpcurl")].replace("http://127.0.0.1:9229", cognito)
    done = subprocess.run(["bash", "-c", f"{sign_in}echo $TOKEN"], capture_output=True, text=True, timeout=30)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout), done


def test_the_values_are_enough(tmp_path: Path) -> None:
    (shown,) = re.findall(r"(?ms)^   ```yaml\n(.*?)^   ```$", GUIDE)
    file = tmp_path / "values.yaml"
    file.write_text(shown)
    rendering = render(file)
    names = {thing["metadata"]["name"] for thing in rendering.objects}
    for name in re.findall(r"lookup-cognito-lookup(?:-headless)?", GUIDE):
        assert name in names


def test_the_stacks_parameters_are_enough() -> None:
    given = set(re.findall(r"(\w+)=\S", GUIDE[GUIDE.index("--parameter-overrides") : GUIDE.index("services-stable")]))
    parameters = template()["Parameters"]
    assert given <= set(parameters)
    assert {name for name, it in parameters.items() if "Default" not in it} <= given


def test_the_unit_is_installed_as_shown(tmp_path: Path) -> None:
    """The lines that install, with another root; `systemctl` has nobody to talk to here."""
    (shown,) = [block for block in blocks("sh") if "systemctl" in block]
    lines = shown[: shown.index("systemctl")].replace("target/release/cognito-lookup", os.environ["INTEROP_BINARY"])
    for directory in ["etc/systemd/system", "usr/local/bin"]:
        (tmp_path / directory).mkdir(parents=True)
    there = re.sub(r" (/etc|/usr)", rf" {tmp_path}\1", lines)
    subprocess.run(["bash", "-ec", there], cwd=DEPLOY.parent, check=True, timeout=30)
    variables = dict(
        line.split("=", 1) for line in (tmp_path / "etc/cognito-lookup/environment").read_text().splitlines()
    )
    environment = {"PATH": os.environ["PATH"], **variables}
    program = f"{tmp_path}{INSTALLED}"
    assert (
        subprocess.run([program, "config", "check"], env=environment, capture_output=True, timeout=30).returncode == 0
    )


def test_every_file_it_names_is_there() -> None:
    named = re.findall(r"`?(deploy/[\w./-]+\w)`?", GUIDE) + re.findall(r"\]\((?:\.\./)?([\w./-]+)[#)]", GUIDE)
    assert len(named) > 8
    for path in named:
        assert any((root / path).exists() for root in [DEPLOY.parent, DEPLOY.parent / "docs"]), path


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", GUIDE)

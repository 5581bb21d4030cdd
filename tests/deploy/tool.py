"""Runs the validators that the deploy stage installs, and defines the paths of the files."""

import os
import subprocess
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm/cognito-lookup"
TEMPLATE = DEPLOY / "ecs/cognito-lookup.yaml"
EVENTS = DEPLOY / "events/events.yaml"
# The path of the binary in every file of deploy/.
INSTALLED = "/usr/local/bin/cognito-lookup"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a tool to completion, for at most 5 min. BC_SKIP_MAPPING keeps checkov off the network."""
    tools = Path(os.environ["DEPLOY_TOOLS"])
    path = f"{tools}:{tools / 'python/bin'}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        env={**os.environ, "PATH": path, "BC_SKIP_MAPPING": "TRUE"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def check(*command: str | Path) -> str:
    """Runs a tool that must succeed, and returns its output."""
    done = run(*command)
    assert done.returncode == 0, f"{command[0]} exited with status {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr

"""The validators that the stage installed, and where the files are that they look at."""

import os
import subprocess
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm/cognito-lookup"
TEMPLATE = DEPLOY / "ecs/cognito-lookup.yaml"
# Where every file says that the binary is.
INSTALLED = "/usr/local/bin/cognito-lookup"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a tool to its end, which must come within 5 min; none of them asks anything of the network."""
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
    """What the tool says, which must not be that something is wrong."""
    done = run(*command)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr

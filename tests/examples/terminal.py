"""The shell of a reader of the docs."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from client import GRPCURL
from conftest import Sandbox

GRPC, COGNITO = "127.0.0.1:50051", "http://127.0.0.1:9229"


@dataclass(frozen=True)
class Terminal:
    """A shell of a reader of the page, with the sandbox on other ports."""

    sandbox: Sandbox

    def here(self, text: str) -> str:
        """Returns a documented command with the ports of this sandbox."""
        return text.replace(GRPC, self.sandbox.address).replace(COGNITO, self.sandbox.cognito)

    def run(self, line: str, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
        tools = {"aws": Path(sys.executable).parent / "aws", "grpcurl": GRPCURL}
        for name, path in tools.items():
            line = re.sub(rf"(^|=x ){name} ", rf"\g<1>{path} ", line)
        environment = os.environ | {"ADA_TOKEN": self.sandbox.token, "AWS_EC2_METADATA_DISABLED": "true"}
        return subprocess.run(
            self.here(line),
            shell=True,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def name(self, call: str) -> str:
        done = self.run(call)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["user"]["attributes"]["name"]

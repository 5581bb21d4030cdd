"""Child processes that log to a file, and polling for what they print or do."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Child:
    """A running process. `log` contains everything that it prints."""

    def __init__(self, command: Sequence[str | Path], directory: Path, **extra: str) -> None:
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment(directory, extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def find(self, pattern: str) -> str:
        """Waits until the process prints a match of `pattern`, and returns its first group."""
        return poll(lambda: self._match(pattern), f"/{pattern}/ in {self.log}")[1]

    def stop(self, seconds: float = 15) -> int:
        """Sends SIGTERM, then SIGKILL after `seconds`, and returns the exit status."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        self._process.kill()
        return self._process.wait()

    def _match(self, pattern: str) -> re.Match[str] | None:
        status = self._process.poll()
        match = re.search(pattern, self.output())
        assert match or status is None, f"the process exited with status {status}: {self.output()}"
        return match


@contextmanager
def running(command: Sequence[str | Path], directory: Path, **extra: str) -> Iterator[Child]:
    """Runs a process for the duration of the block."""
    child = Child(command, directory, **extra)
    try:
        yield child
    finally:
        child.stop()


def run(command: Sequence[str | Path], directory: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to completion, for at most 30 s."""
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(directory, extra),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def poll(probe: Callable[[], T | None], condition: str, seconds: float = 30) -> T:
    """Calls `probe` until it returns something truthy, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := probe():
            return result
        time.sleep(0.02)
    raise AssertionError(f"timed out after {seconds} s: {condition}")


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment with only PATH, so that no other setting of this machine applies."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **extra}

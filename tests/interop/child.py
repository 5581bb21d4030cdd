"""A child process that writes to a file, and the waiting for what it says or does."""

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
    """A running process; everything it prints is in `log`."""

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
        """The first group of the pattern, as soon as the process has printed it."""
        return poll(lambda: self._match(pattern), f"/{pattern}/ in {self.log}")[1]

    def stop(self, seconds: float = 15) -> int:
        """Asks it to end, makes it end after `seconds`, and returns its exit status."""
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
        assert match or status is None, f"it ended with status {status}: {self.output()}"
        return match


@contextmanager
def running(command: Sequence[str | Path], directory: Path, **extra: str) -> Iterator[Child]:
    child = Child(command, directory, **extra)
    try:
        yield child
    finally:
        child.stop()


def run(command: Sequence[str | Path], directory: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, which must come within 30 s."""
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(directory, extra),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def poll(probe: Callable[[], T | None], what: str, seconds: float = 30) -> T:
    """The first answer of `probe` that is not None or empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Nothing of ours but the search path, so that no setting of this machine reaches a child."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **extra}

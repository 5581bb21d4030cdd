"""Runs the commands of docs/watch.md in a new checkout: a copy of a user follows a change by the AWS CLI."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from child import running
from conftest import started_sandbox
from terminal import Terminal
from toolchain import ROOT

PAGE = (ROOT / "docs/watch.md").read_text()
BLOCKS = re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", PAGE)
INSTALL, PYTHON, CARGO = "pip install -r requirements.txt", "python ", "cargo run -- "


def test_the_commands_of_the_page_make_a_copy_that_follows_a_change(tmp_path: Path) -> None:
    mirror, watch, update = (re.sub(r"(?m)^ +(?! )", "", block).strip() for block in BLOCKS)
    checkout, place, home = tmp_path / "checkout", tmp_path / "place", tmp_path / "sandbox"
    ignored = shutil.ignore_patterns("__pycache__", "userlookup")
    shutil.copytree(ROOT / "examples/python", checkout / "examples/python", ignore=ignored)
    (checkout / "proto").symlink_to(ROOT / "proto")
    place.mkdir()
    home.mkdir()
    # As the page starts it.
    with started_sandbox(home, "--loopback-caller") as sandbox:
        terminal = Terminal(sandbox)
        directory, install, *stubs, example = mirror.splitlines()
        folder = checkout / directory.removeprefix("cd ")
        assert install == INSTALL, "what the tests have installed"
        for line in stubs:
            done = terminal.run(line.replace(PYTHON, f"{sys.executable} ", 1), folder)
            assert done.returncode == 0, done.stderr
        command = shlex.split(terminal.here(example).replace(PYTHON, f"{sys.executable} ", 1))
        binary, address = os.environ["INTEROP_BINARY"], f"http://{sandbox.address}"
        printing = [*shlex.split(watch.replace(CARGO, f"{binary} ", 1)), "--address", address]
        with running(command, folder) as copy, running(printing, place) as printed:
            copy.find(r"(Ada Lovelace <ada@example\.com>)")
            printed.find(r"(checkpoint \S+, source healthy)")
            changed = terminal.run(update)
            assert changed.returncode == 0, changed.stderr
            copy.find(r"(Changed <ada@example\.com>)")
            printed.find(rf"({example.split()[-1]} ATTRIBUTES changed \S+ seen \S+)")
        assert len((place / "place").read_text()) > 100
    for line in ["Ada Lovelace <ada@example.com>", "Changed <ada@example.com>"]:
        assert re.search(rf"(?m)^ *{re.escape(line)}$", PAGE), line

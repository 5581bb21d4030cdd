"""The pages of examples/: each finds a user, and tells why it did not."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from conftest import Ask, Sandbox
from language import LANGUAGES, ROOT, Example
from service import Failure, scripted

BUSY = Failure(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED", 150, "150")
FORBIDDING = Failure(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED", 150, "-1")
FAR = Failure(grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE", 20_000, "20000")
SPENT = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED", 150, "150")
EVE = "Eve <eve@example.com>, SOURCE_COGNITO\n"


def test_a_user_is_found_in_the_sandbox(ask: Ask, sandbox: Sandbox) -> None:
    done = ask(sandbox.address, f"Bearer {sandbox.token}")
    assert re.fullmatch(r"Ada Lovelace <ada@example\.com>, SOURCE_(COGNITO|CACHE)\n", done.stdout), done
    assert done.returncode == 0


def test_a_refusal_is_told_with_its_reason(ask: Ask, sandbox: Sandbox) -> None:
    other = "B" if sandbox.token[-9] == "A" else "A"
    forged = sandbox.token[:-9] + other + sandbox.token[-8:]
    done = ask(sandbox.address, f"Bearer {forged}")
    assert said(done.stderr) == "unauthenticated token_invalid", done
    assert (done.returncode, done.stdout) == (1, "")


def test_the_header_goes_on_as_it_came_with_a_deadline(ask: Ask, example: Example) -> None:
    with scripted(None) as service:
        assert ask(service.address, "Bearer x.y.z").stdout == EVE
    (metadata,) = service.calls
    assert metadata["authorization"] == "Bearer x.y.z"
    assert 0 < service.seconds_left[0] <= example.deadline


@pytest.mark.parametrize(
    ("script", "calls", "told"),
    [
        ([BUSY, BUSY, None], 3, EVE),
        ([BUSY], 3, "unavailable upstream_throttled, again in 150 ms"),
        ([FORBIDDING], 1, "unavailable upstream_throttled, again in 150 ms"),
        ([FAR], 1, "deadline_exceeded unknown"),
    ],
    ids=["passing", "lasting", "forbidden", "beyond-the-deadline"],
)
def test_unavailable_is_tried_again_as_the_service_says(
    ask: Ask, script: Sequence[Failure | None], calls: int, told: str
) -> None:
    with scripted(*script) as service:
        done = ask(service.address)
    assert (done.stdout or said(done.stderr)) == told, done
    assert len(service.calls) == calls


def test_what_a_retry_may_not_mend_soon_is_left_to_the_caller(ask: Ask, example: Example) -> None:
    with scripted(SPENT) as service:
        assert said(ask(service.address).stderr) == "resource_exhausted budget_exhausted, again in 150 ms"
    assert len(service.calls) == (3 if example.heeds_every_pushback else 1)


def test_an_address_that_is_not_serving_is_left_out_where_the_language_can(ask: Ask, example: Example) -> None:
    with scripted(None, serving=False) as service:
        done = ask(service.address)
    assert (len(service.calls), done.returncode) == ((0, 1) if example.asks_health else (1, 0)), done


def test_the_readme_tells_how_to_try_one(sandbox: Sandbox, tmp_path: Path) -> None:
    text = (ROOT / "examples/README.md").read_text()
    ((commands, expected),) = re.findall(r"(?ms)^```sh\n(.*?)^```\n```\n(.*?)^```$", text)
    enter, install, generate, call = commands.splitlines()
    assert (enter, install) == ("cd examples/python", "pip install -r requirements.txt")
    installed = (ROOT / "tests/interop/requirements.txt").read_text().splitlines()
    assert set((ROOT / "examples/python/requirements.txt").read_text().splitlines()) <= set(installed)
    here = tmp_path / "examples/python"
    shutil.copytree(ROOT / "examples/python", here)
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    script = re.sub(r"(?m)(^| )python ", r"\1$PYTHON ", f"{generate}\n{call} dns:///{sandbox.address}")
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "ADA_TOKEN": sandbox.token}
    done = subprocess.run(script, shell=True, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.replace("CACHE", "COGNITO") == expected, done.stderr


def test_every_page_is_run_or_known_to_be_left_out() -> None:
    pages = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert pages == {"python", "node", "rust", "go", "java"}
    assert set(LANGUAGES) in (pages, pages - {"go", "java"})


def said(told: str) -> str:
    """A code is `Unauthenticated` in one language and `UNAUTHENTICATED` in another."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", told.strip())
    return words.lower()

"""Runs each example: it prints the user, or the reason of the error."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from conftest import RunExample, Sandbox, Secured
from language import LANGUAGES, SERVICE_CONFIG, Example
from scripted_service import Failure, scripted
from toolchain import ROOT

THROTTLED = Failure(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED", 150, "150")
RETRY_FORBIDDEN = Failure(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED", 150, "-1")
RETRY_TOO_LATE = Failure(grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE", 20_000, "20000")
BUDGET_EXHAUSTED = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED", 150, "150")
# The second one is that of a call whose deadline is earlier than the answer of Cognito could be.
REASONS = ("unavailable upstream_unavailable", "deadline_exceeded deadline")
EVE = "Eve <eve@example.com>, SOURCE_COGNITO\n"


def test_a_user_is_found_in_the_sandbox(run_example: RunExample, sandbox: Sandbox) -> None:
    done = run_example(sandbox.address, f"Bearer {sandbox.token}")
    assert re.fullmatch(r"Ada Lovelace <ada@example\.com>, SOURCE_(COGNITO|CACHE)\n", done.stdout), done
    assert done.returncode == 0


def test_an_error_is_printed_with_its_reason(run_example: RunExample, sandbox: Sandbox) -> None:
    other = "B" if sandbox.token[-9] == "A" else "A"
    forged = sandbox.token[:-9] + other + sandbox.token[-8:]
    done = run_example(sandbox.address, f"Bearer {forged}", REQUEST_ID="test-1")
    assert normalized(done.stderr) == "unauthenticated token_invalid, request test-1", done
    assert (done.returncode, done.stdout) == (1, "")


def test_a_request_without_a_token_makes_no_call(run_example: RunExample) -> None:
    with scripted(None) as service:
        done = run_example(service.address, None)
    assert (normalized(done.stderr), done.returncode, service.calls) == ("unauthenticated token_missing", 1, []), done


@pytest.mark.parametrize("kind", ["tls", "mtls"])
def test_the_channel_may_use_tls_and_a_client_certificate(run_example: RunExample, secured: Secured, kind: str) -> None:
    service = secured.services[kind]
    own = secured.certificate if kind == "mtls" else {}
    done = run_example(service, f"Bearer {secured.token}", CA_FILE=secured.ca, **own)
    assert re.fullmatch(r"Ada Lovelace <ada@example\.com>, SOURCE_(COGNITO|CACHE)\n", done.stdout), done


def test_a_missing_client_certificate_is_an_error(run_example: RunExample, secured: Secured) -> None:
    done = run_example(secured.services["mtls"], f"Bearer {secured.token}", CA_FILE=secured.ca)
    assert (done.returncode, done.stdout) == (1, ""), done


def test_the_authorization_header_is_forwarded_with_a_deadline(run_example: RunExample, example: Example) -> None:
    with scripted(None) as service:
        assert run_example(service.address, "Bearer x.y.z").stdout == EVE
    (metadata,) = service.calls
    assert metadata["authorization"] == "Bearer x.y.z"
    assert 0 < service.seconds_left[0] <= example.deadline


@pytest.mark.parametrize(
    ("script", "calls", "output"),
    [
        ([THROTTLED, THROTTLED, None], 3, EVE),
        ([THROTTLED], 3, "unavailable upstream_throttled, again in 150 ms"),
        ([RETRY_FORBIDDEN], 1, "unavailable upstream_throttled, again in 150 ms"),
    ],
    ids=["transient", "persistent", "retry-forbidden"],
)
def test_unavailable_is_retried_according_to_the_pushback(
    run_example: RunExample, script: Sequence[Failure | None], calls: int, output: str
) -> None:
    with scripted(*script) as service:
        done = run_example(service.address)
    assert (done.stdout or normalized(done.stderr)) == output, done
    assert len(service.calls) == calls


def test_a_retry_after_the_deadline_is_not_made(run_example: RunExample, example: Example) -> None:
    """Most libraries wait for the deadline then, and lose the reason. The service sends no such delay."""
    with scripted(RETRY_TOO_LATE) as service:
        output = normalized(run_example(service.address).stderr)
    known = "unavailable keys_unavailable, again in 20000 ms"
    assert output == (known if example.skips_late_retries else "deadline_exceeded unknown")
    assert len(service.calls) == 1


def test_resource_exhausted_is_retried_only_where_the_library_retries_any_code(
    run_example: RunExample, example: Example
) -> None:
    with scripted(BUDGET_EXHAUSTED) as service:
        assert normalized(run_example(service.address).stderr) == "resource_exhausted budget_exhausted, again in 150 ms"
    assert len(service.calls) == (3 if example.retries_any_code else 1)


def test_the_reason_is_seen_while_cognito_swallows_packets(run_example: RunExample, silent: Sandbox) -> None:
    """From the second call on. A third one is made, because on a busy machine an answer can come too late."""
    outputs = [normalized(run_example(silent.address, f"Bearer {silent.token}").stderr) for _ in range(2)]
    if not outputs[-1].startswith(REASONS):
        outputs.append(normalized(run_example(silent.address, f"Bearer {silent.token}").stderr))
    assert outputs[-1].startswith(REASONS), outputs


def test_an_address_that_is_not_serving_is_skipped_where_health_is_checked(
    run_example: RunExample, example: Example
) -> None:
    with scripted(None, serving=False) as service:
        done = run_example(service.address)
    assert (len(service.calls), done.returncode) == ((0, 1) if example.checks_health else (1, 0)), done


def test_the_readme_commands_print_the_user(sandbox: Sandbox, tmp_path: Path) -> None:
    text = (ROOT / "examples/README.md").read_text()
    ((commands, expected),) = re.findall(r"(?ms)^```sh\n(.*?)^```\n```\n(.*?)^```$", text)
    enter, install, generate, call = commands.splitlines()
    assert (enter, install) == ("cd examples/python", "pip install -r requirements.txt")
    installed = (ROOT / "tests/interop/requirements.txt").read_text().splitlines()
    assert set((ROOT / "examples/python/requirements.txt").read_text().splitlines()) <= set(installed)
    copy = tmp_path / "examples/python"
    shutil.copytree(ROOT / "examples/python", copy)
    shutil.copy(SERVICE_CONFIG, copy.parent)
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    script = re.sub(r"(?m)(^| )python ", r"\1$PYTHON ", f"{generate}\n{call} dns:///{sandbox.address}")
    variables = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "ADA_TOKEN": sandbox.token}
    done = subprocess.run(script, shell=True, cwd=copy, env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.replace("CACHE", "COGNITO") == expected, done.stderr


def test_every_example_directory_is_covered() -> None:
    directories = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    # The Lambda function calls no service; test_lambda.py and test_backends.py run these.
    directories -= {"backends", "lambda"}
    assert directories == {"python", "node", "rust", "go", "java"}
    assert set(LANGUAGES) in (directories, directories - {"go", "java"})


def normalized(error: str) -> str:
    """Spells codes alike: some languages print `Unauthenticated`, others `UNAUTHENTICATED`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.strip())
    return words.lower()

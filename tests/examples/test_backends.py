"""Runs the tests of the backends of examples/backends against a sandbox, each as its page says."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from grpc_tools import protoc

import toolchain
from conftest import Sandbox, started_sandbox
from toolchain import FILES, PROTO, ROOT, WELL_KNOWN

BACKENDS = ROOT / "examples/backends"
OVERLAY = Path(__file__).parent / "overlay"


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose faults and users these tests may change."""
    with started_sandbox(tmp_path_factory.mktemp("testbed")) as sandbox:
        yield sandbox


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the backends beside the files that they read."""
    home = tmp_path / "examples/backends"
    shutil.copytree(BACKENDS, home)
    for name in ["http_status.json", "service_config.json"]:
        shutil.copy(ROOT / "examples" / name, home.parent)
    (tmp_path / "proto").symlink_to(PROTO)
    return home


def run(command: Sequence[str | Path], cwd: Path, sandbox: Sandbox, **extra: str) -> str:
    """Runs tests to completion, and returns what they print."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(cwd), "SANDBOX_URL": f"{sandbox.cognito}/sandbox", **extra}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fastapi(testbed: Sandbox, home: Path) -> None:
    copy = home / "fastapi"
    out = [f"--python_out={copy}", f"--grpc_python_out={copy}"]
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *FILES]) == 0
    assert "8 passed" in run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], copy, testbed)


def test_the_requirements_of_fastapi_are_those_that_are_tested() -> None:
    installed = (ROOT / "tests/interop/requirements.txt").read_text().splitlines()
    assert set((BACKENDS / "fastapi/requirements.txt").read_text().splitlines()) <= set(installed)


def test_express(testbed: Sandbox, home: Path) -> None:
    (home / "express/node_modules").symlink_to(os.environ["EXPRESS_NODE_MODULES"])
    assert "# pass 7" in run(["node", "--test", "--test-reporter=tap"], home / "express", testbed)


@pytest.mark.skipif(not toolchain.is_installed(), reason="needs the libraries of Debian 12")
def test_nethttp(testbed: Sandbox, home: Path, tmp_path: Path) -> None:
    replace = {"newclient.go": OVERLAY / "newclient.go", "credentials/insecure/insecure.go": OVERLAY / "insecure.go"}
    sources = [home / "nethttp" / name for name in ["main.go", "main_test.go"]]
    tests = toolchain.build_go_tests(sources, tmp_path / "build", replace)
    output = run([tests, "-test.v"], home / "nethttp", testbed, **toolchain.GO_ENVIRONMENT)
    assert output.count("--- PASS") == 3


@pytest.mark.skipif(not toolchain.is_installed(), reason="needs the libraries of Debian 12 and a JDK")
def test_spring(testbed: Sandbox, home: Path, tmp_path: Path) -> None:
    sources = [home / "spring" / name for name in ["UserController.java", "UserControllerTest.java"]]
    command = toolchain.compile_java(sources, tmp_path / "build")
    launcher = ["org.junit.platform.console.ConsoleLauncher", "--select-class", "UserControllerTest"]
    assert "3 tests successful" in run([*command, *launcher], home / "spring", testbed)


def test_every_backend_is_covered() -> None:
    assert {path.name for path in BACKENDS.iterdir()} == {"express", "fastapi", "nethttp", "spring"}

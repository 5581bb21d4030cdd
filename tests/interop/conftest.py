"""Shared fixtures: an emulator with a user pool, a running service, and the clients."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import health
import matrix
import stubs
from client import BufCurl, GetUser, Grpcio, Grpcurl
from emulator import EMULATORS, Emulator
from pool import Pool
from service import Service, serving, settings

# All connections are local, so a proxy of this machine must not be used.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


@pytest.fixture(scope="session", autouse=True)
def _stubs(tmp_path_factory: pytest.TempPathFactory) -> None:
    stubs.generate(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session", params=EMULATORS)
def emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with EMULATORS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(scope="session")
def pool(emulator: Emulator) -> Pool:
    return emulator.pool()


@pytest.fixture(scope="session")
def service(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A ready server with the default test settings."""
    with serving(tmp_path_factory.mktemp("service"), settings(pool)) as running:
        health.await_serving(running.address)
        yield running


@pytest.fixture(params=["grpcurl", "buf-curl", "grpcio"])
def get_user(request: pytest.FixtureRequest, tmp_path: Path) -> GetUser:
    """Calls GetUser with each of the three clients."""
    match request.param:
        case "grpcurl":
            return Grpcurl(tmp_path).get_user
        case "buf-curl":
            return BufCurl(tmp_path).get_user
        case _:
            return Grpcio().get_user


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints which client ran over which listener."""
    if matrix.RESULTS:
        terminalreporter.section("clients by listener")
        terminalreporter.write_line("\n".join(matrix.table()))

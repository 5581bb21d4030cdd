"""The unit: understood in every line, hardened, and in step with the binary."""

import configparser
from pathlib import Path

import pytest

from child import run as run_binary
from service import binary
from tool import DEPLOY, INSTALLED, check

UNIT = DEPLOY / "systemd/cognito-lookup.service"
# Ten times the exposure that the tool shows, so that is 1.5 at most; it is 1.2.
EXPOSURE = "15"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit for the binary where it is here."""
    file = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert f"ExecStart={INSTALLED} serve\n" in text
    file.write_text(text.replace(INSTALLED, str(binary())))
    return file


def test_systemd_understands_every_line(unit: Path) -> None:
    # It ends with 0 even when it passes a line over.
    assert check("systemd-analyze", "verify", unit) == ""


def test_it_is_hardened(unit: Path) -> None:
    check("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit)


def test_it_may_drain_before_it_is_killed(tmp_path: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(UNIT.read_text())
    printed = run_binary([binary(), "config", "print"], tmp_path).stdout
    drain = [
        int(line.split("=")[1].split("#")[0].strip(' "s'))
        for line in printed.splitlines()
        if line.startswith("shutdown.")
    ]
    assert len(drain) == 2 and parser["Service"]["TimeoutStopSec"] == f"{sum(drain) + 5}s"

"""The systemd unit: valid, hardened, and with timeouts that fit the defaults of the binary."""

import configparser
from pathlib import Path

import pytest

from child import run as run_binary
from service import binary
from tool import DEPLOY, INSTALLED, check

UNIT = DEPLOY / "systemd/cognito-lookup.service"
# systemd-analyze takes ten times the exposure level that it prints: 15 means 1.5.
MAX_EXPOSURE = "15"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the path of the built binary."""
    file = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert f"ExecStart={INSTALLED} serve\n" in text
    file.write_text(text.replace(INSTALLED, str(binary())))
    return file


def test_systemd_analyze_verify_prints_nothing(unit: Path) -> None:
    # systemd-analyze exits with 0 even if it warns about an unknown line.
    assert check("systemd-analyze", "verify", unit) == ""


def test_the_unit_is_hardened(unit: Path) -> None:
    check("systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", unit)


def test_the_stop_timeout_covers_the_drain(tmp_path: Path) -> None:
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

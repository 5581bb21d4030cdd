"""The systemd unit: valid, hardened, and with timeouts that fit the defaults of the binary."""

import configparser
import tomllib
from pathlib import Path

import pytest

from child import run as run_binary
from service import binary
from tool import DEPLOY, INSTALLED, check

UNIT = DEPLOY / "systemd/cognito-lookup.service"
# systemd-analyze takes ten times the exposure level that it prints: 15 means 1.5.
MAX_EXPOSURE = "15"
POOL = {
    "COGNITO_LOOKUP_USER_POOL_ID": "eu-west-1_AbCdEfGhI",
    "COGNITO_LOOKUP_APP_CLIENTS": "3n4b5urk1ft4fl3mg5e62d9ado",
    "COGNITO_LOOKUP_ATTRIBUTES": "name,email",
}


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
    printed = run_binary([binary(), "config", "print"], tmp_path, **POOL)
    assert printed.returncode == 0, printed.stderr
    drain = [int(value.removesuffix("s")) for value in tomllib.loads(printed.stdout)["shutdown"].values()]
    assert len(drain) == 2 and directive("TimeoutStopSec") == f"{sum(drain) + 5}s"


def test_systemd_never_gives_up_on_what_may_pass(tmp_path: Path) -> None:
    """With systemd's defaults, 5 starts within 10 s are the last ones: DefaultStartLimitBurst=, …IntervalSec=."""
    pause = float(directive("RestartSec").removesuffix("s"))
    assert directive("Restart") == "on-failure" and pause * 5 > 10
    # Only wrong settings, which exit with 2, are not started again.
    assert directive("RestartPreventExitStatus") == "2"
    missing = run_binary([binary(), "serve", "--config", tmp_path / "late.toml"], tmp_path, **POOL)
    wrong = run_binary([binary(), "serve", "--listen", "nowhere"], tmp_path, **POOL)
    assert (missing.returncode, wrong.returncode) == (1, 2), (missing.stderr, wrong.stderr)


def directive(name: str) -> str:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(UNIT.read_text())
    return parser["Service"][name]

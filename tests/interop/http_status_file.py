"""Renders examples/http_status.json from the table in docs/errors.md."""

import json
import re
from pathlib import Path

ERRORS = Path(__file__).resolve().parents[2] / "docs/errors.md"
# What errors.md says about a status without a known reason: act on the code.
CODES = {"UNAUTHENTICATED": 401, "DEADLINE_EXCEEDED": 504, "RESOURCE_EXHAUSTED": 503, "UNAVAILABLE": 503}


def render(_: Path) -> str:
    """Returns the HTTP status by reason, and by gRPC code for a status without a known reason."""
    rows = re.findall(r"(?m)^\| \[([A-Z_]+)\]\(\S+\) \| [A-Z_]+ \| (\d{3}) \|", ERRORS.read_text())
    reasons = {reason: int(status) for reason, status in rows}
    assert len(reasons) > 20
    return json.dumps({"reasons": reasons, "codes": CODES}, indent=2) + "\n"

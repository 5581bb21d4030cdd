"""The generated files. `python pages.py` regenerates them."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import alerts_page
import api_page
import chart_page
import chart_schema
import http_status_file
import metrics_page
import settings_page

ROOT = Path(__file__).resolve().parents[2]
PAGES: dict[str, Callable[[Path], str]] = {
    "docs/alerts.md": alerts_page.render,
    "docs/api.md": api_page.render,
    "docs/configuration.md": settings_page.render,
    "docs/metrics.md": metrics_page.render,
    "deploy/helm/cognito-lookup/README.md": chart_page.render,
    "deploy/helm/cognito-lookup/values.schema.json": chart_schema.render,
    "examples/http_status.json": http_status_file.render,
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for name, render in PAGES.items():
            (ROOT / name).write_text(render(Path(directory)))

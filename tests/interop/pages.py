"""The generated pages of docs/. `python pages.py` regenerates them."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import api_page
import metrics_page
import settings_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES: dict[str, Callable[[Path], str]] = {
    "api.md": api_page.render,
    "configuration.md": settings_page.render,
    "metrics.md": metrics_page.render,
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for name, render in PAGES.items():
            (DOCS / name).write_text(render(Path(directory)))

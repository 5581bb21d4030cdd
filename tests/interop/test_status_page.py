"""Opens the page for people in a browser: Debian's headless Chromium, which the interop stage installs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from child import poll, run, running
from service import binary

PORTS = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PICTURE = Path(__file__).resolve().parents[2] / "docs/statusz.png"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the page of a sandbox that has answered calls."""
    directory = tmp_path_factory.mktemp("sandbox")
    with running([binary(), "sandbox", "--loopback-caller", *PORTS], directory) as child:
        address = child.find(r'"address":"(127\.0\.0\.1:\d+)"')
        admin = child.find(r'"admin\.address":"(127\.0\.0\.1:\d+)"')
        token = child.find(r"(?m)^export ADA_TOKEN=(\S+)$")
        call = [binary(), "get", "--address", f"http://{address}"]
        poll(lambda: run(call, directory, COGNITO_LOOKUP_TOKEN=token).returncode == 0, "a user found")
        run([*call, "--sub", "nobody"], directory)
        yield f"http://{admin}/statusz"


def browse(directory: Path, *arguments: str) -> str:
    """Runs the browser with a profile of its own, and returns what it prints."""
    browser = shutil.which("chromium")
    assert browser, "Debian's chromium is missing"
    command = [browser, *FLAGS, *OFFLINE, f"--user-data-dir={directory / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "HOME": str(directory)})
    assert done.returncode == 0, done.stderr
    return done.stdout


class Cells(HTMLParser):
    """The texts of the headings and cells, as the browser has them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self._open = tag in {"h1", "h2", "p", "td", "th", "footer"}
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.found.append(data.strip())


def test_a_browser_shows_the_page(page: str, tmp_path: Path) -> None:
    cells = Cells()
    cells.feed(browse(tmp_path, "--dump-dom", page))
    assert cells.found[:2] == ["cognito-lookup", "ready"]
    for text in ["Signing keys", "Callers", "web", "Rate limit of calls to Cognito", "Certificates", "not configured"]:
        assert text in cells.found, cells.found
    assert not any("Lovelace" in text or "@" in text for text in cells.found)


def test_the_picture_in_the_docs_is_of_this_page(page: str, tmp_path: Path) -> None:
    """With STATUS_PICTURE set, it is taken again."""
    file = tmp_path / "page.png"
    browse(tmp_path, "--window-size=1100,860", f"--screenshot={file}", page)
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and size(file) == size(PICTURE) == (1100, 860)
    assert PICTURE.stat().st_size < 200_000
    assert "](statusz.png)" in (PICTURE.parent / "operations.md").read_text()
    if "STATUS_PICTURE" in os.environ:
        shutil.copy(file, PICTURE)


def size(picture: Path) -> tuple[int, int]:
    head = picture.read_bytes()[16:24]
    return int.from_bytes(head[:4]), int.from_bytes(head[4:])

"""docs/metrics.md, made of what `/metrics` exports when nothing has happened yet."""

import json
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from child import running
from service import binary

ANYWHERE = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]
# A label of more values than this is told by name only, and so are those whose values are a deployment's own.
FEW, OWN = 8, {"account", "caller", "le", "pool", "region", "version", "worker"}
HEAD = """# Metrics

<!-- Made by `tests/run pages` from what the binary exports; not to be edited. -->

What `/metrics` has on the admin port, in the OpenMetrics format. Every series is there from the start, so that `rate()`
works on the first event; no label comes from a request. What to be told of, and what to do then, is in
[operations.md](operations.md).

| metric | type | labels | what it is |
| --- | --- | --- | --- |
"""


def render(directory: Path) -> str:
    """The page."""
    return HEAD + "".join(rows(exported(directory)))


def exported(directory: Path) -> str:
    """The text of `/metrics`, of a sandbox that nobody has asked."""
    with running([binary(), "sandbox", *ANYWHERE], directory) as child:
        child.find(r'("message":\s*"serving")')
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        with urllib.request.urlopen(f"http://{line['admin.address']}/metrics") as answer:
            return answer.read().decode()


def rows(text: str) -> Iterator[str]:
    kinds = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
    helps = dict(re.findall(r"(?m)^# HELP (\S+) (.*?)\.?$", text))
    values = labels(text)
    for name, kind in kinds.items():
        shown = name + {"counter": "_total", "info": "_info"}.get(kind, "")
        sample = values[f"{name}_count" if kind == "histogram" else shown]
        described = [describe(label, seen) for label, seen in sample.items()]
        yield f"| `{shown}` | {kind} | {', '.join(described)} | {helps[name]}. |\n"


def labels(text: str) -> dict[str, dict[str, list[str]]]:
    """Each sample's labels, and the values of each."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, pairs in re.findall(r"(?m)^(\w+)(?:\{(.*?)\})? \S+$", text):
        for label, value in re.findall(r'(\w+)="(.*?)"', pairs):
            if value not in found[name][label]:
                found[name][label].append(value)
    return found


def describe(label: str, seen: list[str]) -> str:
    if label in OWN or len(seen) > FEW:
        return f"`{label}`"
    return f"`{label}` ({', '.join(sorted(seen))})"

"""docs/configuration.md, made of what `config schema` says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from child import run
from service import binary

Json = dict[str, Any]

HEAD = """# Configuration

<!-- Made by `tests/run pages` from the doc comments in src/config/; not to be edited. -->

Every setting, as this version reads it. `cognito-lookup config schema` prints the same as a JSON Schema, which editors
complete and check a TOML file with.

A flag goes before the environment, the environment before the file, the file before the default. The file is named by
`--config` or `COGNITO_LOOKUP_CONFIG`. The environment spells `cache.fresh_for` as `COGNITO_LOOKUP_CACHE__FRESH_FOR` and
`pools[0].id` as `COGNITO_LOOKUP_POOLS__0__ID`; lists are separated by commas. A key that is not below is refused,
wherever it comes from. `cognito-lookup config check` says all that is wrong at once, each fault with its key and the
line, variable or flag it came from; `cognito-lookup config print` shows every value with its source.

Durations are `250ms`, `60s`, `15min`, `24h`; sizes are `64KiB`, `256MiB`, or a number of bytes.
"""


def render(directory: Path) -> str:
    """The page."""
    schema = json.loads(run([binary(), "config", "schema"], directory).stdout)
    return "\n".join([HEAD, *sections(schema)]).rstrip() + "\n"


def sections(schema: Json) -> Iterator[str]:
    fields = {name: resolved(schema, field) for name, field in schema["properties"].items()}
    yield from table("At the top", "", {n: f for n, f in fields.items() if not tables(f)}, schema)
    for name, field in fields.items():
        if kind := tables(field):
            heading = f"`[[{name}]]`" if kind == "array" else f"`[{name}]`"
            yield from table(heading, text(field), members(schema, field), schema)


def table(heading: str, words: str, fields: dict[str, Json], schema: Json) -> Iterator[str]:
    yield f"## {heading}\n"
    if words:
        yield f"{words}\n"
    yield "| key | default | what it is |\n| --- | --- | --- |"
    for name, field in fields.items():
        what, default = split(text(field))
        yield f"| `{name}` | {default} | {what}{choices(resolved(schema, field))} |"
    yield ""


def resolved(schema: Json, field: Json) -> Json:
    """The field with what it refers to; its own words go first."""
    reference = field.get("$ref", "").removeprefix("#/$defs/")
    return schema["$defs"][reference] | field if reference else field


def tables(field: Json) -> str:
    if "properties" in field:
        return "table"
    return "array" if "$ref" in field.get("items", {}) else ""


def members(schema: Json, field: Json) -> dict[str, Json]:
    inner = resolved(schema, field["items"]) if "items" in field else field
    return inner["properties"]


def text(field: Json) -> str:
    return " ".join(field["description"].split())


def split(words: str) -> tuple[str, str]:
    """What a key is, and its default in words."""
    if found := re.fullmatch(r"(.*)[;,] (?:default (.*)|(required.*))\.", words):
        return f"{found[1]}.", found[2] or found[3]
    return words, ""


def choices(field: Json) -> str:
    words = [f"`{choice['const']}`: {text(choice)}" for choice in field.get("oneOf", []) if "const" in choice]
    return " " + " ".join(words) if words else ""

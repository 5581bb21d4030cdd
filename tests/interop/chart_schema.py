"""Renders the chart's values.schema.json: its part about the settings is the output of `config schema`."""

import json
from pathlib import Path
from typing import Any

from child import run
from service import binary

FILE = Path(__file__).resolve().parents[2] / "deploy/helm/cognito-lookup/values.schema.json"
# For editors only. Helm knows no such keywords.
UNUSED = {"$schema", "default", "description", "title", "x-maximum", "x-minimum"}


def render(directory: Path) -> str:
    """Returns the schema, with everything about other values as it is in the file."""
    settings = json.loads(run([binary(), "config", "schema"], directory).stdout)
    schema = json.loads(FILE.read_text())
    schema["$defs"] = trimmed(settings.pop("$defs"))
    schema["properties"]["settings"] = trimmed(settings)
    return json.dumps(schema, indent=2) + "\n"


def trimmed(schema: Any) -> Any:
    """Returns a schema without what is for editors. A property may have the name of a keyword."""
    match schema:
        case {"properties": properties}:
            rest = {key: value for key, value in schema.items() if key != "properties"}
            return trimmed(rest) | {"properties": {name: trimmed(value) for name, value in properties.items()}}
        case dict():
            return {key: trimmed(value) for key, value in schema.items() if key not in UNUSED}
        case list():
            return [trimmed(value) for value in schema]
    return schema

"""Runs the built binary."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import canary
from child import Child, run, running
from pool import Pool

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Service:
    """A running server."""

    child: Child
    address: str
    admin: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def serving(directory: Path, settings: Mapping[str, Any], **extra: str) -> Iterator[Service]:
    """Runs a server that listens, but may not be ready yet. `extra` adds environment variables.

    At the end, checks that the server has printed no personal data.
    """
    file = write(directory, settings)
    with running([binary(), "serve", "--config", file], directory, **CREDENTIALS, **extra) as child:
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        yield Service(child, line["address"], line["admin.address"])
    assert not canary.leaks(child.output())


def command(directory: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs a subcommand of the binary to completion."""
    return run([binary(), *arguments], directory, **CREDENTIALS, **extra)


def binary() -> Path:
    return Path(os.environ["INTEROP_BINARY"])


def settings(pool: Pool, **changes: Any) -> dict[str, Any]:
    """Returns settings with one pool, one caller by app client and one caller by network."""
    return {
        "listen": "127.0.0.1:0",
        "admin_listen": "127.0.0.1:0",
        "log": {"level": "trace"},
        "shutdown": {"delay": "0s", "grace": "5s"},
        "pools": [pool_table(pool)],
        "callers": [web(pool), sidecar()],
    } | changes


def pool_table(pool: Pool, **changes: Any) -> dict[str, Any]:
    return {
        "id": pool.id,
        "region": "us-east-1",
        "issuer": pool.issuer,
        "jwks_url": pool.jwks_url,
        "endpoint_url": pool.endpoint_url,
        "app_clients": [pool.web, pool.unruled],
        # moto's AdminGetUser does not find a user by sub; ListUsers does.
        "federated": True,
    } | changes


def web(pool: Pool) -> dict[str, Any]:
    return {"name": "web", "app_client": pool.web, "reads": "token", "attributes": ["name", "email"]}


def sidecar() -> dict[str, Any]:
    return {"name": "sidecar", "network": ["127.0.0.1/32"], "reads": "any", "attributes": ["name"]}


def write(directory: Path, settings: Mapping[str, Any]) -> Path:
    """Writes the settings to a TOML file."""
    file = directory / "config.toml"
    file.write_text("\n".join(lines(settings)) + "\n")
    return file


def lines(settings: Mapping[str, Any]) -> Iterator[str]:
    tables = {name: value for name, value in settings.items() if is_table(value)}
    for name, value in settings.items():
        if name not in tables:
            yield f"{name} = {json.dumps(value)}"
    for name, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            yield f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            yield from lines(table)


def is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))

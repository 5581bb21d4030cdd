"""Builds each example and defines the command that runs it."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpc_tools import protoc

import toolchain
from toolchain import FILES, PROTO, ROOT, WELL_KNOWN

SERVICE_CONFIG = ROOT / "examples/service_config.json"


@dataclass(frozen=True)
class Example:
    """A built example."""

    command: Sequence[str | Path]
    # The directory in which it runs. The service config is above it.
    home: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    # The deadline of a call, in seconds.
    deadline: int = 3
    # The prefix of the address.
    scheme: str = "dns:///"
    # Whether it skips addresses whose health is NOT_SERVING.
    checks_health: bool = True
    # Whether it returns the error at once if the pushback exceeds the deadline.
    skips_late_retries: bool = False
    # Whether it retries any code that comes with a pushback, instead of only UNAVAILABLE.
    retries_any_code: bool = False


def home(directory: Path, source: str) -> Path:
    """Copies an example and the service config, as they lie in the repository."""
    copy = directory / "examples" / Path(source).parent
    copy.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / source, copy)
    shutil.copy(SERVICE_CONFIG, copy.parent)
    (directory / "proto").symlink_to(PROTO)
    return copy


def build_python(directory: Path) -> Example:
    copy = home(directory, "python/client.py")
    out = [f"--python_out={copy}", f"--grpc_python_out={copy}"]
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *FILES]) == 0
    return Example([sys.executable, "client.py"], copy)


def build_node(directory: Path) -> Example:
    copy = home(directory, "node/client.mjs")
    (copy / "node_modules").symlink_to(os.environ["EXAMPLES_NODE_MODULES"])
    return Example(["node", "client.mjs"], copy, checks_health=False)


def build_rust(directory: Path) -> Example:
    return Example([os.environ["EXAMPLES_RUST"]], directory, scheme="", checks_health=False, skips_late_retries=True)


def build_go(directory: Path) -> Example:
    """Builds with grpc-go of Debian. An overlay adds two functions that the example uses and it lacks."""
    overlay = Path(__file__).parent / "overlay"
    replace = {"newclient.go": overlay / "newclient.go", "credentials/insecure/insecure.go": overlay / "insecure.go"}
    copy = home(directory, "go/main.go")
    return Example([toolchain.build_go(copy / "main.go", directory / "build", replace)], copy, toolchain.GO_ENVIRONMENT)


def build_java(directory: Path) -> Example:
    """Builds with grpc-java of Debian, which lacks grpc-services and so has no client health checks."""
    copy = home(directory, "java/Client.java")
    # On a busy machine, a JVM that has just started can exceed the deadline.
    config = copy.parent / SERVICE_CONFIG.name
    original, extended = (f'"timeout": "{seconds}s"' for seconds in [Example.deadline, JAVA_DEADLINE])
    assert config.read_text().count(original) == 1
    config.write_text(config.read_text().replace(original, extended))
    command = toolchain.build_java(copy / "Client.java", directory / "build")
    return Example(command, copy, deadline=JAVA_DEADLINE, checks_health=False, retries_any_code=True)


JAVA_DEADLINE = 10


LANGUAGES: dict[str, Callable[[Path], Example]] = {
    "python": build_python,
    "node": build_node,
    "rust": build_rust,
}
if toolchain.is_installed():
    LANGUAGES |= {"go": build_go, "java": build_java}

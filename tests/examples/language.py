"""Builds each example and defines the command that runs it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"
WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
JAVA_DEADLINE = 10
FILES = sorted(str(file.relative_to(PROTO)) for file in (PROTO / "userlookup").rglob("*.proto"))


@dataclass(frozen=True)
class Example:
    """A built example."""

    command: Sequence[str | Path]
    extra: Mapping[str, str] = field(default_factory=dict)
    # The deadline of a call, in seconds.
    deadline: int = 2
    # The prefix of the address.
    scheme: str = "dns:///"
    # Whether it skips addresses whose health is NOT_SERVING.
    checks_health: bool = True
    # Whether it retries any code that comes with a pushback, instead of only UNAVAILABLE.
    retries_any_code: bool = False


def build_python(directory: Path) -> Example:
    out = [f"--python_out={directory}", f"--grpc_python_out={directory}"]
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *FILES]) == 0
    return Example([sys.executable, ROOT / "examples/python/client.py"], {"PYTHONPATH": str(directory)})


def build_node(directory: Path) -> Example:
    # The script finds its packages and proto/ relative to its own path.
    source = directory / "examples/node/client.mjs"
    source.parent.mkdir(parents=True)
    shutil.copy(ROOT / "examples/node/client.mjs", source)
    (directory / "proto").symlink_to(PROTO)
    (source.parent / "node_modules").symlink_to(os.environ["EXAMPLES_NODE_MODULES"])
    return Example(["node", source], checks_health=False)


def build_rust(_: Path) -> Example:
    return Example([os.environ["EXAMPLES_RUST"]], scheme="", checks_health=False)


def build_go(directory: Path) -> Example:
    """Builds with grpc-go of Debian. An overlay adds two functions that the example uses and it lacks."""
    debian = Path(os.environ["EXAMPLES_DEBIAN"])
    home = directory / "src/cognito-lookup"
    home.mkdir(parents=True)
    shutil.copy(ROOT / "examples/go/main.go", home)
    plugins = [f"--plugin={debian}/usr/bin/protoc-gen-go", f"--plugin={debian}/usr/bin/protoc-gen-go-grpc"]
    out = [f"--go_out={home}", f"--go-grpc_out={home}"]
    options = ["--go_opt=module=cognito-lookup", "--go-grpc_opt=module=cognito-lookup"]
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *plugins, *out, *options, *FILES]) == 0
    grpc = debian / "usr/share/gocode/src/google.golang.org/grpc"
    here = Path(__file__).parent
    overlay = directory / "overlay.json"
    overlay.write_text(
        '{"Replace": {'
        f'"{grpc}/newclient.go": "{here}/overlay/newclient.go", '
        f'"{grpc}/credentials/insecure/insecure.go": "{here}/overlay/insecure.go"'
        "}}"
    )
    settings = {
        "GOROOT": str(debian / "usr/lib/go-1.19"),
        "GOPATH": f"{directory}:{debian}/usr/share/gocode",
        "GO111MODULE": "off",
        "GOCACHE": str(debian / "cache"),
    }
    binary = directory / "client"
    tool = debian / "usr/lib/go-1.19/bin/go"
    run([tool, "build", "-overlay", overlay, "-o", binary, "cognito-lookup"], directory, settings)
    # grpc-go enables retries by default from 1.40 on.
    return Example([binary], {"GRPC_GO_RETRY": "on"})


def build_java(directory: Path) -> Example:
    """Builds with grpc-java of Debian, which lacks grpc-services and so has no client health checks."""
    debian = Path(os.environ["EXAMPLES_DEBIAN"])
    generated, classes, proto = (directory / name for name in ["generated", "classes", "proto"])
    generated.mkdir()
    classes.mkdir()
    shutil.copytree(PROTO, proto)
    for file in (proto / "userlookup").rglob("*.proto"):
        # protoc of Debian does not support this option, and no client needs it.
        file.write_text(file.read_text().replace(" [debug_redact = true]", ""))
    plugin = f"--plugin=protoc-gen-grpc-java={debian}/usr/bin/grpc_java_plugin"
    out = [f"--java_out={generated}", f"--grpc-java_out={generated}"]
    # The common protos of Debian lack ErrorInfo.
    files = [*FILES, "google/rpc/error_details.proto"]
    libraries = {"LD_LIBRARY_PATH": str(debian / "usr/lib/x86_64-linux-gnu")}
    run([debian / "usr/bin/protoc", f"-I{proto}", f"-I{WELL_KNOWN}", plugin, *out, *files], directory, libraries)
    # On a busy machine, a JVM that has just started can exceed the deadline of 2 s.
    source = (ROOT / "examples/java/Client.java").read_text()
    original, extended = (f".withDeadlineAfter({seconds}, TimeUnit.SECONDS)" for seconds in [2, JAVA_DEADLINE])
    assert source.count(original) == 1
    client = directory / "Client.java"
    client.write_text(source.replace(original, extended), encoding="utf-8")
    sources = [*generated.rglob("*.java"), client]
    path = ":".join(sorted({str(jar.resolve()) for jar in (debian / "usr/share/java").glob("*.jar")}))
    run(["javac", "-encoding", "UTF-8", "-nowarn", "-proc:none", "-d", classes, "-cp", path, *sources], directory, {})
    command = ["java", "-cp", f"{classes}:{path}", "Client"]
    return Example(command, deadline=JAVA_DEADLINE, checks_health=False, retries_any_code=True)


LANGUAGES: dict[str, Callable[[Path], Example]] = {
    "python": build_python,
    "node": build_node,
    "rust": build_rust,
}
if "EXAMPLES_DEBIAN" in os.environ:
    LANGUAGES |= {"go": build_go, "java": build_java}


def run(command: Sequence[str | Path], directory: Path, extra: Mapping[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **extra}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

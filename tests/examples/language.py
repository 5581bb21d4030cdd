"""How each example is built, and with what command it then runs."""

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
PATIENCE = 10
FILES = sorted(str(file.relative_to(PROTO)) for file in (PROTO / "userlookup").rglob("*.proto"))


@dataclass(frozen=True)
class Example:
    """A built example."""

    command: Sequence[str | Path]
    extra: Mapping[str, str] = field(default_factory=dict)
    # How many seconds a call has.
    deadline: int = 2
    # What comes before the address.
    scheme: str = "dns:///"
    # Whether it leaves out an address that says NOT_SERVING.
    asks_health: bool = True
    # Whether it tries again on any code that comes with a pushback, and not on UNAVAILABLE alone.
    heeds_every_pushback: bool = False


def build_python(directory: Path) -> Example:
    out = [f"--python_out={directory}", f"--grpc_python_out={directory}"]
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *FILES]) == 0
    return Example([sys.executable, ROOT / "examples/python/client.py"], {"PYTHONPATH": str(directory)})


def build_node(directory: Path) -> Example:
    # The page looks for its packages and for proto/ from where it lies.
    page = directory / "examples/node/client.mjs"
    page.parent.mkdir(parents=True)
    shutil.copy(ROOT / "examples/node/client.mjs", page)
    (directory / "proto").symlink_to(PROTO)
    (page.parent / "node_modules").symlink_to(os.environ["EXAMPLES_NODE_MODULES"])
    return Example(["node", page], asks_health=False)


def build_rust(_: Path) -> Example:
    return Example([os.environ["EXAMPLES_RUST"]], scheme="", asks_health=False)


def build_go(directory: Path) -> Example:
    """With Debian's grpc-go, which is older than two names that the page uses: they are laid over it."""
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
    # On by default from grpc-go 1.40.
    return Example([binary], {"GRPC_GO_RETRY": "on"})


def build_java(directory: Path) -> Example:
    """With Debian's grpc-java, which has no grpc-services, and so asks no health."""
    debian = Path(os.environ["EXAMPLES_DEBIAN"])
    generated, classes, proto = (directory / name for name in ["generated", "classes", "proto"])
    generated.mkdir()
    classes.mkdir()
    shutil.copytree(PROTO, proto)
    for file in (proto / "userlookup").rglob("*.proto"):
        # Debian's protoc is older than this option, which no client needs.
        file.write_text(file.read_text().replace(" [debug_redact = true]", ""))
    plugin = f"--plugin=protoc-gen-grpc-java={debian}/usr/bin/grpc_java_plugin"
    out = [f"--java_out={generated}", f"--grpc-java_out={generated}"]
    # Debian's common protos are older than ErrorInfo.
    files = [*FILES, "google/rpc/error_details.proto"]
    libraries = {"LD_LIBRARY_PATH": str(debian / "usr/lib/x86_64-linux-gnu")}
    run([debian / "usr/bin/protoc", f"-I{proto}", f"-I{WELL_KNOWN}", plugin, *out, *files], directory, libraries)
    # A virtual machine that has just begun, on a busy machine, can take longer than the page's 2 s.
    page = (ROOT / "examples/java/Client.java").read_text()
    hasty, patient = (f".withDeadlineAfter({seconds}, TimeUnit.SECONDS)" for seconds in [2, PATIENCE])
    assert page.count(hasty) == 1
    client = directory / "Client.java"
    client.write_text(page.replace(hasty, patient), encoding="utf-8")
    sources = [*generated.rglob("*.java"), client]
    path = ":".join(sorted({str(jar.resolve()) for jar in (debian / "usr/share/java").glob("*.jar")}))
    run(["javac", "-encoding", "UTF-8", "-nowarn", "-proc:none", "-d", classes, "-cp", path, *sources], directory, {})
    command = ["java", "-cp", f"{classes}:{path}", "Client"]
    return Example(command, deadline=PATIENCE, asks_health=False, heeds_every_pushback=True)


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

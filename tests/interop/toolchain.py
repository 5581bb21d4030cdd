"""Builds clients in Go and Java with the libraries of Debian 12, which tests/run unpacks."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
FILES = sorted(str(file.relative_to(PROTO)) for file in (PROTO / "userlookup/v1").glob("*.proto"))
# The beginning of the protos' go_package.
GO_HOME = "github.com/cognito-lookup/cognito-lookup"
# grpc-go enables retries by default from 1.40 on.
GO_ENVIRONMENT = {"GRPC_GO_RETRY": "on"}


def is_installed() -> bool:
    """Returns whether Go and Java can be built: only on Debian 12 with a JDK."""
    return "EXAMPLES_DEBIAN" in os.environ


def build_go(source: Path, directory: Path, replace: Mapping[str, Path]) -> Path:
    """Builds a program with grpc-go 1.33. `replace` adds or replaces files of the library."""
    binary = directory / "client"
    run_go([source], directory, replace, ["build", "-o", binary])
    return binary


def build_go_tests(sources: Sequence[Path], directory: Path, replace: Mapping[str, Path]) -> Path:
    """Builds the tests of a package, as `build_go` does, and returns the program that runs them."""
    binary = directory / "tests"
    run_go(sources, directory, replace, ["test", "-vet=off", "-c", "-o", binary])
    return binary


def run_go(
    sources: Sequence[Path], directory: Path, replace: Mapping[str, Path], command: Sequence[str | Path]
) -> None:
    debian = Path(os.environ["EXAMPLES_DEBIAN"])
    home = directory / "src/cognito-lookup"
    home.mkdir(parents=True)
    for source in sources:
        shutil.copy(source, home)
    plugins = [f"--plugin={debian}/usr/bin/protoc-gen-go", f"--plugin={debian}/usr/bin/protoc-gen-go-grpc"]
    out = [f"--go_out={home}", f"--go-grpc_out={home}"]
    options = [f"--{plugin}_opt=module={GO_HOME}" for plugin in ["go", "go-grpc"]]
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *plugins, *out, *options, *FILES]) == 0
    library = debian / "usr/share/gocode/src/google.golang.org/grpc"
    overlay = directory / "overlay.json"
    pairs = ", ".join(f'"{library / file}": "{path}"' for file, path in replace.items())
    overlay.write_text(f'{{"Replace": {{{pairs}}}}}')
    settings = {
        "GOROOT": str(debian / "usr/lib/go-1.19"),
        "GOPATH": f"{directory}:{debian}/usr/share/gocode",
        "GO111MODULE": "off",
        "GOCACHE": str(debian / "cache"),
    }
    tool = debian / "usr/lib/go-1.19/bin/go"
    verb, *options = command
    run([tool, verb, "-overlay", overlay, *options, "cognito-lookup"], directory, settings)


def build_java(source: Path, directory: Path) -> list[str]:
    """Builds a program with grpc-java 1.41, and returns the command that runs it."""
    return [*compile_java([source], directory), source.stem]


def compile_java(files: Sequence[Path], directory: Path) -> list[str]:
    """Compiles files with grpc-java 1.41, and returns the command to which their main class is added."""
    debian = Path(os.environ["EXAMPLES_DEBIAN"])
    generated, classes, proto = (directory / name for name in ["generated", "classes", "proto"])
    directory.mkdir(exist_ok=True)
    generated.mkdir()
    classes.mkdir()
    shutil.copytree(PROTO, proto)
    for file in (proto / "userlookup").rglob("*.proto"):
        # protoc of Debian does not support this option, and no client needs it.
        file.write_text(file.read_text().replace(" [debug_redact = true]", ""))
    plugin = f"--plugin=protoc-gen-grpc-java={debian}/usr/bin/grpc_java_plugin"
    out = [f"--java_out={generated}", f"--grpc-java_out={generated}"]
    # The common protos of Debian lack ErrorInfo.
    protos = [*FILES, "google/rpc/error_details.proto"]
    libraries = debian / "usr/lib/x86_64-linux-gnu"
    path = {"LD_LIBRARY_PATH": str(libraries)}
    run([debian / "usr/bin/protoc", f"-I{proto}", f"-I{WELL_KNOWN}", plugin, *out, *protos], directory, path)
    sources = [*generated.rglob("*.java"), *files]
    path = ":".join(sorted({str(jar.resolve()) for jar in (debian / "usr/share/java").glob("*.jar")}))
    run(["javac", "-encoding", "UTF-8", "-nowarn", "-proc:none", "-d", classes, "-cp", path, *sources], directory, {})
    # Netty of Debian has TLS with ALPN only through OpenSSL, and looks for its library by another name.
    native = directory / "native"
    native.mkdir()
    shutil.copy(libraries / "jni/libnetty-tcnative.so", native / "libnetty_tcnative.so")
    environment = ["env", f"LD_LIBRARY_PATH={libraries}"]
    return [*environment, "java", f"-Djava.library.path={native}", "-cp", f"{classes}:{path}"]


def run(command: Sequence[str | Path], directory: Path, extra: Mapping[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **extra}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

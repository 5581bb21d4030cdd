"""Generates Python stubs from `proto/`, as the build of a client does."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
FILES = sorted(str(file.relative_to(PROTO)) for file in (PROTO / "userlookup/v1").glob("*.proto"))


def generate(directory: Path) -> None:
    """Generates the stubs into `directory`. googleapis-common-protos provides `google.rpc`."""
    out = [f"--python_out={directory}", f"--grpc_python_out={directory}"]
    include = Path(protoc.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{include}", *out, *FILES]) == 0
    sys.path.insert(0, str(directory))


def user_service() -> tuple[ModuleType, ModuleType]:
    """Imports the messages and the stubs of the user service. Call `generate` first."""
    name = "userlookup.v1.user_service_pb2"
    return importlib.import_module(name), importlib.import_module(f"{name}_grpc")

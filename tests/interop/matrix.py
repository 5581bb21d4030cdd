"""Each gRPC client with the defaults of its library, for each kind of listener."""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc

import stubs
import toolchain
from child import run
from client import BUF, GRPCURL, METHOD

HERE = Path(__file__).resolve().parent
LISTENERS = ["tcp", "tls", "mtls", "unix"]
# What ran, by client and listener. conftest.py prints it.
RESULTS: dict[str, dict[str, str]] = defaultdict(dict)


@dataclass(frozen=True)
class Call:
    """One call of GetUser. Empty strings are unset."""

    # HOST:PORT, or the path of a Unix socket.
    address: str
    sub: str
    ca: str = ""
    certificate: str = ""
    key: str = ""
    authority: str = ""
    gzip: bool = False

    @property
    def is_unix(self) -> bool:
        return self.address.startswith("/")


@dataclass(frozen=True)
class Client:
    """Makes the call, and returns `OK` and the user's name, or the error."""

    call: Callable[[Call], str]
    listeners: Sequence[str] = tuple(LISTENERS)
    # Whether the library can compress requests.
    compresses: bool = True
    # Whether the :authority of its calls over a Unix socket is not one by default.
    needs_authority: bool = False


def grpcio() -> Client:
    def call(call: Call) -> str:
        messages, services = stubs.user_service()
        target = f"unix:{call.address}" if call.is_unix else call.address
        compression = grpc.Compression.Gzip if call.gzip else None
        options = [("grpc.default_authority", call.authority)] if call.authority else []
        if call.ca:
            files = [Path(path).read_bytes() if path else None for path in [call.ca, call.key, call.certificate]]
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(*files), options, compression)
        else:
            channel = grpc.insecure_channel(target, options, compression)
        with channel:
            try:
                reply = services.UserServiceStub(channel).GetUser(messages.GetUserRequest(sub=call.sub), timeout=20)
            except grpc.RpcError as error:
                return f"{error.code()} {error.details()}"
        return f"OK {reply.user.attributes['name']}"

    return Client(call, needs_authority=True)


def grpcurl(directory: Path) -> Client:
    def call(call: Call) -> str:
        files = {"-cacert": call.ca, "-cert": call.certificate, "-key": call.key, "-authority": call.authority}
        flags = [part for flag, value in files.items() if value for part in [flag, value]]
        flags += [] if call.ca else ["-plaintext"]
        flags += ["-unix"] if call.is_unix else []
        request = json.dumps({"sub": call.sub})
        return printed(run([GRPCURL, *flags, "-max-time", "20", "-d", request, call.address, METHOD], directory))

    return Client(call, compresses=False, needs_authority=True)


def buf_curl(directory: Path) -> Client:
    def call(call: Call) -> str:
        files = {"--cacert": call.ca, "--cert": call.certificate, "--key": call.key}
        flags = [part for flag, value in files.items() if value for part in [flag, value]]
        flags += [] if call.ca else ["--http2-prior-knowledge"]
        flags += ["--unix-socket", call.address] if call.is_unix else []
        host = "localhost" if call.is_unix else call.address
        url = f"{'https' if call.ca else 'http'}://{host}/{METHOD}"
        request = json.dumps({"sub": call.sub})
        return printed(run([BUF, "curl", "--protocol", "grpc", *flags, "--data", request, url], directory))

    return Client(call, compresses=False)


def program(command: Sequence[str | Path], directory: Path, unix: str = "unix:", scheme: bool = False) -> Callable:
    """Returns the call of a client program, which reads the call as JSON from its first argument."""

    def call(call: Call) -> str:
        prefix = ("https://" if call.ca else "http://") if scheme else ""
        target = f"{unix if call.is_unix else prefix}{call.address}"
        argument = asdict(call) | {"target": target, "proto": str(toolchain.PROTO)}
        done = run([*command, json.dumps(argument)], directory)
        return done.stdout.strip() or done.stderr

    return call


def tonic(directory: Path) -> Client:
    return Client(program([os.environ["INTEROP_RUST"]], directory, scheme=True))


def grpc_js(directory: Path) -> Client:
    source = directory / "client.mjs"
    shutil.copy(HERE / "clients/client.mjs", source)
    (directory / "node_modules").symlink_to(os.environ["EXAMPLES_NODE_MODULES"])
    return Client(program(["node", source], directory))


def grpc_go(directory: Path) -> Client:
    binary = toolchain.build_go(HERE / "clients/client.go", directory, {})
    return Client(program([binary], directory, unix="unix://"))


def grpc_java(directory: Path) -> Client:
    command = toolchain.build_java(HERE / "clients/MatrixClient.java", directory)
    # Netty needs its native library for Unix sockets, which Debian leaves out.
    return Client(program(command, directory), listeners=["tcp", "tls", "mtls"])


CLIENTS: dict[str, Callable[[Path], Client]] = {
    "grpcio": lambda _: grpcio(),
    "grpc-go": grpc_go,
    "grpc-java": grpc_java,
    "grpc-js": grpc_js,
    "tonic": tonic,
    "grpcurl": grpcurl,
    "buf-curl": buf_curl,
}


def printed(done: object) -> str:
    """Returns `OK` and the name in a reply that a command printed, or its error."""
    if done.returncode != 0:
        return done.stderr
    return f"OK {json.loads(done.stdout)['user']['attributes']['name']}"


def table() -> list[str]:
    """Returns the lines of the matrix."""
    columns = [*LISTENERS, *(f"{name} gzip" for name in LISTENERS)]
    rows = [["client", *columns], *([name, *(RESULTS[name].get(column, "-") for column in columns)] for name in CLIENTS)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

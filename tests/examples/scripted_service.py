"""A `UserService` with scripted responses, for errors that the sandbox cannot produce on demand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import grpc_server
import stubs

SERVICE = "userlookup.v1.UserService"


@dataclass(frozen=True)
class Failure:
    """An error status with details, as the service sends it."""

    code: grpc.StatusCode
    reason: str
    milliseconds: int
    pushback: str

    def status(self) -> Any:
        delay = Duration()
        delay.FromMilliseconds(self.milliseconds)
        retry = RetryInfo(retry_delay=delay)
        details = [packed(ErrorInfo(reason=self.reason, domain="userlookup.v1")), packed(retry)]
        status = Status(code=self.code.value[0], message="later", details=details)
        metadata = ("grpc-status-details-bin", status.SerializeToString()), ("grpc-retry-pushback-ms", self.pushback)
        return SimpleNamespace(code=self.code, details="later", trailing_metadata=metadata)


@dataclass
class Scripted:
    """Fails according to the script, and succeeds where it says None. The last entry repeats."""

    script: Sequence[Failure | None]
    address: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    seconds_left: list[float] = field(default_factory=list)

    def get_user(self, request: Any, context: grpc.ServicerContext) -> Any:
        failure = self.script[min(len(self.calls), len(self.script) - 1)]
        self.calls.append(dict(context.invocation_metadata()))
        self.seconds_left.append(context.time_remaining())
        if failure:
            context.abort_with_status(failure.status())
        messages, _ = stubs.user_service()
        reply = messages.GetUserResponse()
        attributes = {"name": "Eve", "email": "eve@example.com", "locale": "eo"}
        reply.user.attributes.update({name: attributes[name] for name in request.attributes})
        reply.freshness.source = 1
        return reply


@contextmanager
def scripted(*script: Failure | None, serving: bool = True) -> Iterator[Scripted]:
    """Runs a server on a free loopback port. `serving` sets its health."""
    servicer, states = Scripted(script), health.HealthServicer()
    state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    states.set(SERVICE, state)
    methods = grpc.method_handlers_generic_handler(SERVICE, {"GetUser": handler(servicer)})
    with grpc_server.serving(
        lambda server: server.add_generic_rpc_handlers([methods]),
        partial(health_pb2_grpc.add_HealthServicer_to_server, states),
    ) as servicer.address:
        yield servicer


def handler(servicer: Scripted) -> grpc.RpcMethodHandler:
    messages, _ = stubs.user_service()
    deserialize, serialize = messages.GetUserRequest.FromString, messages.GetUserResponse.SerializeToString
    return grpc.unary_unary_rpc_method_handler(servicer.get_user, deserialize, serialize)


def packed(message: Any) -> Packed:
    envelope = Packed()
    envelope.Pack(message)
    return envelope

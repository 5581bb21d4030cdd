"""Client of `grpc.health.v1`, with grpcio."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from child import poll

Status = health_pb2.HealthCheckResponse.ServingStatus


def check(address: str, service: str = "") -> str:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return Status.Name(health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status)


@contextmanager
def watch(address: str, service: str = "") -> Iterator[Iterator[str]]:
    """Streams the serving states, for at most 30 s."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        call = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=30)
        yield (Status.Name(response.status) for response in call)


def await_serving(address: str) -> None:
    poll(lambda: check(address) == "SERVING", f"SERVING at {address}")

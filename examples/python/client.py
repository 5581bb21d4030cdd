"""Looks up the user of an incoming request: AUTHORIZATION="Bearer …" python client.py [TARGET]

To generate the stubs from ../../proto, run once:
python -m grpc_tools.protoc -I../../proto --python_out=. --grpc_python_out=. ../../proto/userlookup/v1/*.proto
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status
from userlookup.v1.user_pb2 import Source
from userlookup.v1.user_service_pb2 import GetUserRequest, GetUserResponse
from userlookup.v1.user_service_pb2_grpc import UserServiceStub

# Balancing, health checks, deadline and retries, the same in every language: see ../README.md.
SERVICE_CONFIG = json.loads((Path(__file__).parents[1] / "service_config.json").read_text())
# Passed with each call: by a service config, grpcio 1.85 ends a call up to 2 s early, and the service
# does not learn of the deadline.
TIMEOUT = float(SERVICE_CONFIG["methodConfig"][0].pop("timeout").removesuffix("s"))


def open_channel(target: str) -> grpc.Channel:
    """Opens one channel for the whole process.

    Beyond this machine, use grpc.secure_channel, because the channel carries tokens.
    """
    return grpc.insecure_channel(target, [("grpc.service_config", json.dumps(SERVICE_CONFIG))])


def get_user(users: UserServiceStub, headers: Mapping[str, str]) -> GetUserResponse:
    """Looks up the user of the request that came with these headers."""
    request = GetUserRequest(attributes=["name", "email"])
    return users.GetUser(request, metadata=[("authorization", headers["authorization"])], timeout=TIMEOUT)


def explain(error: grpc.RpcError) -> str:
    """Describes code, reason and retry delay. docs/errors.md says what each reason means for the user."""
    status = rpc_status.from_call(error)
    info, retry = ErrorInfo(reason="unknown"), RetryInfo()
    for detail in status.details if status else []:
        detail.Unpack(info)
        detail.Unpack(retry)
    again = f", again in {retry.retry_delay.ToMilliseconds()} ms" if retry.HasField("retry_delay") else ""
    return f"{error.code().name} {info.reason}{again}"


def main(target: str = "dns:///127.0.0.1:50051") -> None:
    with open_channel(target) as channel:
        try:
            reply = get_user(UserServiceStub(channel), {"authorization": os.environ["AUTHORIZATION"]})
        except grpc.RpcError as error:
            sys.exit(explain(error))
    user = reply.user.attributes
    print(f"{user['name']} <{user['email']}>, {Source.Name(reply.freshness.source)}")


main(*sys.argv[1:])

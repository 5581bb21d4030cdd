"""Looks up the user of an incoming request: AUTHORIZATION="Bearer …" python client.py [TARGET]

To generate the stubs from ../../proto, run once:
python -m grpc_tools.protoc -I../../proto --python_out=. --grpc_python_out=. ../../proto/userlookup/v1/*.proto
"""

import json
import os
import sys
from collections.abc import Mapping

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status
from userlookup.v1.user_pb2 import Source
from userlookup.v1.user_service_pb2 import GetUserRequest, GetUserResponse
from userlookup.v1.user_service_pb2_grpc import UserServiceStub

SERVICE = "userlookup.v1.UserService"
SERVICE_CONFIG = {
    # Balances over all addresses of the name that report SERVING.
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},
    "methodConfig": [
        {
            "name": [{"service": SERVICE}],
            # The service requests the delay (grpc-retry-pushback-ms), which overrides the backoff here.
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


def open_channel(target: str) -> grpc.Channel:
    """Opens one channel for the whole process.

    Beyond this machine, use grpc.secure_channel, because the channel carries tokens.
    """
    return grpc.insecure_channel(target, [("grpc.service_config", json.dumps(SERVICE_CONFIG))])


def get_user(users: UserServiceStub, headers: Mapping[str, str]) -> GetUserResponse:
    """Looks up the user of the request that came with these headers."""
    request = GetUserRequest(attributes=["name", "email"])
    return users.GetUser(request, metadata=[("authorization", headers["authorization"])], timeout=2)


def explain(error: grpc.RpcError) -> str:
    """Describes code, reason and retry delay. Log users out on UNAUTHENTICATED only."""
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

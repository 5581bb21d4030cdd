"""Looks up the user of an incoming request: AUTHORIZATION="Bearer …" python client.py [TARGET]

For TLS, CA_FILE names the authorities of the service, and CERTIFICATE_FILE and KEY_FILE a client certificate.

To generate the stubs from ../../proto, run once:
python -m grpc_tools.protoc -I../../proto --python_out=. --grpc_python_out=. ../../proto/userlookup/v1/*.proto
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from grpc_status import rpc_status
from userlookup.v1.user_pb2 import Source
from userlookup.v1.user_service_pb2 import GetUserRequest, GetUserResponse
from userlookup.v1.user_service_pb2_grpc import UserServiceStub

# Balancing, health checks, deadline and retries, the same in every language: see ../README.md.
SERVICE_CONFIG = json.loads((Path(__file__).parents[1] / "service_config.json").read_text())
# Passed with each call: by a service config, grpcio 1.85 ends a call up to 2 s early, and the service
# does not learn of the deadline.
TIMEOUT = float(SERVICE_CONFIG["methodConfig"][0].pop("timeout").removesuffix("s"))
# What is forwarded of a request: the user's token, and what joins logs and traces.
FORWARDED = ["authorization", "x-request-id", "traceparent"]


def open_channel(target: str) -> grpc.Channel:
    """Opens one channel for the whole process. Beyond this machine it needs TLS, because it carries tokens."""
    options = [("grpc.service_config", json.dumps(SERVICE_CONFIG))]
    files = [os.environ.get(name) for name in ["CA_FILE", "KEY_FILE", "CERTIFICATE_FILE"]]
    if not any(files):
        return grpc.insecure_channel(target, options)
    credentials = grpc.ssl_channel_credentials(*(Path(file).read_bytes() if file else None for file in files))
    return grpc.secure_channel(target, credentials, options)


def get_user(users: UserServiceStub, headers: Mapping[str, str]) -> GetUserResponse:
    """Looks up the user of the request that came with these headers, one of which is its authorization."""
    metadata = [(name, headers[name]) for name in FORWARDED if name in headers]
    return users.GetUser(GetUserRequest(attributes=["name", "email"]), metadata=metadata, timeout=TIMEOUT)


def explain(error: grpc.RpcError) -> str:
    """Describes code, reason, retry delay and request. docs/errors.md says what each reason means for the user."""
    status = rpc_status.from_call(error)
    info, retry, request = ErrorInfo(reason="unknown"), RetryInfo(), RequestInfo()
    for detail in status.details if status else []:
        detail.Unpack(info) or detail.Unpack(retry) or detail.Unpack(request)
    again = f", again in {retry.retry_delay.ToMilliseconds()} ms" if retry.HasField("retry_delay") else ""
    call = f", request {request.request_id}" if request.request_id else ""
    return f"{error.code().name} {info.reason}{again}{call}"


def main(target: str = "dns:///127.0.0.1:50051") -> None:
    variables = {"authorization": "AUTHORIZATION", "x-request-id": "REQUEST_ID"}
    headers = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
    if "authorization" not in headers:
        sys.exit("UNAUTHENTICATED TOKEN_MISSING")  # Answer 401 without a call.
    with open_channel(target) as channel:
        try:
            reply = get_user(UserServiceStub(channel), headers)
        except grpc.RpcError as error:
            sys.exit(explain(error))
    user = reply.user.attributes
    print(f"{user['name']} <{user['email']}>, {Source.Name(reply.freshness.source)}")


main(*sys.argv[1:])

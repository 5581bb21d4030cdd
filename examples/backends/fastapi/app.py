"""GET /me: the user of the request's access token. Run it with uvicorn app:app; ../README.md says how."""

import json
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status
from userlookup.v1.user_service_pb2 import GetUserRequest
from userlookup.v1.user_service_pb2_grpc import UserServiceStub

EXAMPLES = Path(__file__).parents[2]
SERVICE_CONFIG = json.loads((EXAMPLES / "service_config.json").read_text())
# Passed with each call: by a service config, grpcio 1.85 ends a call up to 2 s early.
TIMEOUT = float(SERVICE_CONFIG["methodConfig"][0].pop("timeout").removesuffix("s"))
HTTP_STATUS = json.loads((EXAMPLES / "http_status.json").read_text())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    target = os.environ.get("LOOKUP_TARGET", "dns:///127.0.0.1:50051")
    options = [("grpc.service_config", json.dumps(SERVICE_CONFIG))]
    async with grpc.aio.insecure_channel(target, options) as channel:
        app.state.users = UserServiceStub(channel)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/me")
async def me(request: Request) -> JSONResponse:
    if "authorization" not in request.headers:
        return problem(401, "TOKEN_MISSING")
    forwarded = ["authorization", "x-request-id", "traceparent"]
    metadata = [(name, request.headers[name]) for name in forwarded if name in request.headers]
    message = GetUserRequest(attributes=["name", "email"])
    try:
        reply = await request.app.state.users.GetUser(message, metadata=metadata, timeout=TIMEOUT)
    except grpc.aio.AioRpcError as error:
        info, retry = ErrorInfo(), RetryInfo()
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            detail.Unpack(info)
            detail.Unpack(retry)
        known = HTTP_STATUS["reasons"].get(info.reason) if info.domain == "userlookup.v1" else None
        code = known or HTTP_STATUS["codes"].get(error.code().name, 500)
        return problem(code, info.reason, math.ceil(retry.retry_delay.ToMilliseconds() / 1000))
    return JSONResponse(dict(reply.user.attributes))


def problem(status: int, reason: str, seconds: int = 0) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if seconds:
        headers["retry-after"] = str(seconds)
    return JSONResponse({"error": reason}, status, headers)

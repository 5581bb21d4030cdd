"""Traces as a collector receives them."""

from pathlib import Path

import grpc
import pytest

import health
from client import Grpcio
from collector import Collector, Span, collecting, collecting_http
from pool import Pool
from service import serving, settings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METHOD = "userlookup.v1.UserService/GetUser"


@pytest.mark.parametrize("protocol", ["", "grpc", "http/protobuf"])
def test_a_call_continues_the_trace_of_its_caller(protocol: str, pool: Pool, tmp_path: Path) -> None:
    with collecting_http() if protocol == "http/protobuf" else collecting() as collector:
        # The delay of 10 min means that only the flush at shutdown exports the spans.
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
        variables["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=test"
        with serving(tmp_path, settings(pool), **variables) as service:
            health.await_serving(service.address)
            token = pool.sign_in(pool.ada).access
            for sampled in ["01", "01", "00"]:
                traced = {"traceparent": f"00-{TRACE}-{PARENT}-{sampled}", "x-request-id": f"traced-{sampled}"}
                assert get_user(service.address, token, traced) == grpc.StatusCode.OK
            assert get_user(service.address, "a.b.c", {}) == grpc.StatusCode.UNAUTHENTICATED
            child = service.child
        check_spans(collector, pool)
        assert '"exporting traces"' in child.output()


def check_spans(collector: Collector, pool: Pool) -> None:
    spans = collector.spans(4)
    assert [span["resource"]["service.name"] for span in spans] == ["cognito-lookup"] * len(spans)
    assert spans[0]["resource"]["deployment.environment.name"] == "test"
    served = [span for span in spans if span["name"] == METHOD]
    upstream = [span for span in spans if span["name"] == "CognitoIdentityProvider/AdminGetUser"]
    # Neither health checks nor calls that the caller does not sample are traced.
    assert (len(served), len(upstream), len(spans)) == (3, 1, 4), spans
    first, second, rejected = sorted(served, key=lambda span: int(span["startTimeUnixNano"]))
    for span in [first, second]:
        assert (span["trace_id"], span["parent_id"]) == (TRACE, PARENT)
        assert outcome(span) == ("OK", "traced-01", None)
    assert (upstream[0]["trace_id"], upstream[0]["parent_id"]) == (TRACE, first["span_id"])
    assert rejected["trace_id"] != TRACE and not rejected["parent_id"]
    assert outcome(rejected)[::2] == ("Unauthenticated", "TOKEN_MALFORMED")
    assert rejected.get("status", {}).get("code") is None, "an error of the caller does not set the span status"
    exported = repr(spans)
    for secret in [pool.ada.sub, pool.ada.username + "@", "Lovelace", pool.ada.sub[:13]]:
        assert secret not in exported


def outcome(span: Span) -> tuple[str, str, str | None]:
    """Returns the status code, the request id and the error type of a span."""
    attributes = span["attributes"]
    return attributes["rpc.response.status_code"], attributes["request.id"], attributes.get("error.type")


def get_user(address: str, token: str, headers: dict[str, str]) -> grpc.StatusCode:
    result = Grpcio().get_user(address, token, headers=headers)
    return grpc.StatusCode[result.code]


def test_an_unreachable_collector_delays_neither_calls_nor_shutdown(pool: Pool, tmp_path: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with serving(tmp_path, settings(pool), **variables) as service:
        health.await_serving(service.address)
        assert get_user(service.address, pool.sign_in(pool.ada).access, {}) == grpc.StatusCode.OK
        assert service.child.stop() == 0

"""Traces, as a collector gets them."""

from pathlib import Path

import grpc

import health
from client import Grpcio
from collector import Collector, Span, collecting
from pool import Pool
from service import serving, settings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METHOD = "userlookup.v1.UserService/GetUser"


def test_a_call_is_traced_within_its_callers_trace(pool: Pool, tmp_path: Path) -> None:
    with collecting() as collector:
        # So seldom that only the flush at the end can be the cause.
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        variables["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=test"
        with serving(tmp_path, settings(pool), **variables) as service:
            health.await_serving(service.address)
            token = pool.sign_in(pool.ada).access
            for sampled in ["01", "01", "00"]:
                traced = {"traceparent": f"00-{TRACE}-{PARENT}-{sampled}", "x-request-id": f"traced-{sampled}"}
                assert ask(service.address, token, traced) == grpc.StatusCode.OK
            assert ask(service.address, "a.b.c", {}) == grpc.StatusCode.UNAUTHENTICATED
            output = service.child
        check(collector, pool)
        assert '"exporting traces"' in output.output()


def check(collector: Collector, pool: Pool) -> None:
    spans = collector.spans(4)
    assert [span["resource"]["service.name"] for span in spans] == ["cognito-lookup"] * len(spans)
    assert spans[0]["resource"]["deployment.environment.name"] == "test"
    served = [span for span in spans if span["name"] == METHOD]
    asked = [span for span in spans if span["name"] == "CognitoIdentityProvider/AdminGetUser"]
    assert (len(served), len(asked), len(spans)) == (3, 1, 4), "health is not traced, nor what its caller does not sample"
    first, second, refused = sorted(served, key=lambda span: int(span["startTimeUnixNano"]))
    for span in [first, second]:
        assert (span["trace_id"], span["parent_id"]) == (TRACE, PARENT)
        assert facts(span) == ("OK", "traced-01", None)
    assert (asked[0]["trace_id"], asked[0]["parent_id"]) == (TRACE, first["span_id"])
    assert refused["trace_id"] != TRACE and not refused["parent_id"]
    assert facts(refused)[::2] == ("Unauthenticated", "TOKEN_MALFORMED")
    assert refused.get("status", {}).get("code") is None, "the caller's fault is none of the service"
    written = repr(spans)
    for secret in [pool.ada.sub, pool.ada.username + "@", "Lovelace", pool.ada.sub[:13]]:
        assert secret not in written


def facts(span: Span) -> tuple[str, str, str | None]:
    of = span["attributes"]
    return of["rpc.response.status_code"], of["request.id"], of.get("error.type")


def ask(address: str, token: str, headers: dict[str, str]) -> grpc.StatusCode:
    answer = Grpcio().get_user(address, token, headers=headers)
    return grpc.StatusCode[answer.code]


def test_a_collector_that_is_not_there_holds_nothing_up(pool: Pool, tmp_path: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with serving(tmp_path, settings(pool), **variables) as service:
        health.await_serving(service.address)
        assert ask(service.address, pool.sign_in(pool.ada).access, {}) == grpc.StatusCode.OK
        assert service.child.stop() == 0

"""A trace collector that receives OTLP over gRPC or HTTP. PyPI has no packaged OTLP collector."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

from child import poll
from grpc_server import serving

Span = dict[str, Any]


class Collector(services.TraceServiceServicer):
    """An OTLP receiver and the spans that it received."""

    def __init__(self) -> None:
        self.address = ""
        self._spans: list[Span] = []

    def Export(self, request: Any, _: grpc.ServicerContext | None) -> Any:
        for resource in request.resource_spans:
            labels = attributes(resource.resource)
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                ids = {"trace_id": span.trace_id.hex(), "parent_id": span.parent_span_id.hex()}
                fields = MessageToDict(span) | ids | {"span_id": span.span_id.hex()}
                self._spans.append(fields | {"attributes": attributes(span), "resource": labels})
        return messages.ExportTraceServiceResponse()

    def spans(self, count: int) -> list[Span]:
        """Waits until `count` spans have arrived, and returns all spans."""
        return poll(lambda: self._spans if len(self._spans) >= count else None, f"{count} spans")


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector for the duration of the block."""
    collector = Collector()
    with serving(partial(services.add_TraceServiceServicer_to_server, collector)) as collector.address:
        yield collector


@contextmanager
def collecting_http() -> Iterator[Collector]:
    """As `collecting`, over HTTP with protobuf."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            reply = b""
            if known:
                request = messages.ExportTraceServiceRequest.FromString(body)
                reply = collector.Export(request, None).SerializeToString()
            self.send_response(200 if known else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Suppresses the request log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()


def attributes(message: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in message.attributes}

"""A reserved loopback port that refuses connections until a server is started on it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Port:
    """A bound port that does not listen, so connections to it are refused at once."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    @contextmanager
    def serving(self, body: bytes) -> Iterator[None]:
        """Serves `body` as JSON to every GET for the duration of the block."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(body), bind_and_activate=False)
        server.socket.close()
        server.socket = self._socket
        server.server_activate()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def closed_port() -> Iterator[Port]:
    port = Port()
    try:
        yield port
    finally:
        port.close()


def handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Suppresses the request log."""

    return Handler

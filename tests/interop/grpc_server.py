"""Runs a grpcio server for the duration of a block."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc


@contextmanager
def serving(*add: Callable[[grpc.Server], object]) -> Iterator[str]:
    """Serves on a free loopback port what each of `add` adds to the server. Yields its address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    for each in add:
        each(server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield address
    finally:
        server.stop(None)

"""A small server in threads of its own, for blocking clients: it takes a moment for each answer."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from random import Random

from tests.support.small_images import answer, png

PICTURE = png()
_BODY = answer(PICTURE)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    longest = 0.0
    chance = Random()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.chance.random() * self.longest)
        self.send_response(200)
        self.send_header("content-length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that leave early."""


@contextmanager
def answering(longest: float = 0.0) -> Generator[str, None, None]:
    """Run a server while the block runs; the value is its base URL."""
    handler = type("Handler", (_Handler,), {"longest": longest})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()

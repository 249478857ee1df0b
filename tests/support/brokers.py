"""A redis-server for the queues of engines."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress


@contextmanager
def redis_broker() -> Generator[str, None, None]:
    """Run redis-server on a free port, without a file, and yield its address without a database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = shutil.which("redis-server")
    assert program is not None, "the package redis-server of the system is missing"
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", tempfile.gettempdir()]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()

"""Servers of Redis that a test starts, kills and starts again."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class RedisServer:
    """A ``redis-server`` behind a Unix socket, without persistence."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        # The path of a socket has at most 107 characters.
        self._short = tempfile.TemporaryDirectory(prefix="redis")
        self.socket = Path(self._short.name) / "s"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"unix://{self.socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._short.cleanup()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir"]
        self._process = subprocess.Popen(
            [*command, str(self._folder), *self._options], stdout=subprocess.DEVNULL
        )
        client = self.client()
        for _ in range(1000):
            try:
                client.ping()
            except Exception:  # noqa: BLE001 - not yet
                time.sleep(0.01)
            else:
                break
        client.close()

    def stop(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> Any:
        """Return a client of the package redis."""
        import redis

        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def calls(self) -> int:
        """Return the scripts that clients have called."""
        with self.client() as client:
            facts = client.info("commandstats")
        return sum(facts.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))

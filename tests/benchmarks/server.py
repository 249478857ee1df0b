"""The server of the benchmarks, in a process of its own: ``python -m tests.benchmarks.server``.

It parses just enough of HTTP/1.1 to know where a request ends, throws the body away unless a rate limit stands in
front, and writes an answer that was made beforehand (see :mod:`tests.benchmarks.answers`). It prints its ports and
serves until its standard input ends. ``GET /counters`` returns the counts since the last time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from typing import cast

from attrs import evolve

from tests.benchmarks.answers import Answer, encoded
from tests.benchmarks.limits import Gate
from tests.benchmarks.machine import SERVER_CORE, pin, run

_SLICE = 256 * 1024
_COUNTERS = "/counters"


class Counters:
    """What came in, without what warmed the clients up."""

    def __init__(self) -> None:
        self.connections = 0
        self.gates: dict[int, Gate] = {}
        """Rate limits by number; each begins with its first request."""

    def take(self) -> bytes:
        found: dict[str, float] = {"connections": self.connections}
        for gate in self.gates.values():
            found |= gate.counts
        body = json.dumps(found).encode()
        self.connections = 0
        self.gates.clear()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, never pipelined."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._counted = False
        self._head = bytearray()
        self._path = ""
        self._answer = Answer()
        self._body = bytearray()
        """Kept where a rate limit stands in front."""
        self._left = 0
        self._unsent = memoryview(b"")
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=4 * _SLICE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._paused = True
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._take(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._begin(bytes(self._head[:end]))
            self._take(bytes(self._head[end + 4 :]))
            self._head.clear()
        if self._left == 0:
            self._reply()

    def _begin(self, head: bytes) -> None:
        line, *headers = head.decode("latin-1").split("\r\n")
        self._path = line.split(" ")[1]
        pairs = dict(header.lower().split(": ", 1) for header in headers)
        if "transfer-encoding" in pairs:
            raise NotImplementedError("a request with a chunked body")
        self._left = int(pairs.get("content-length", "0"))
        self._answer = Answer.parse(self._path)
        self._body.clear()

    def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._answer.limit:
            self._body += data

    def _reply(self) -> None:
        if self._path == _COUNTERS:
            self._send(self._counters.take())
            return
        answer = self._answer
        if not self._path.startswith("/warm"):
            self._counters.connections += not self._counted
            self._counted = True
        if answer.limit:
            gates = self._counters.gates
            if answer.limit not in gates:
                gates[answer.limit] = Gate(answer.limit)
            admitted = gates[answer.limit].admit(bytes(self._body))
            if isinstance(admitted, bytes):
                self._send(admitted)
                return
            answer = evolve(answer, pictures=admitted)
        whole = encoded(answer)
        if answer.latency:
            self._timer = asyncio.get_running_loop().call_later(answer.latency / 1000, self._send, whole)
        else:
            self._send(whole)

    def _send(self, whole: bytes) -> None:
        self._unsent = memoryview(whole)
        self._push()

    def _push(self) -> None:
        while self._unsent and not self._paused:
            cut, self._unsent = self._unsent[:_SLICE], self._unsent[_SLICE:]
            self._transport.write(cut)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._push()


async def _serve(certificate: str) -> None:
    loop, counters = asyncio.get_running_loop(), Counters()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ports: dict[str, int] = {}
    for scheme, tls in (("http", None), ("https", context)):
        server = await loop.create_server(lambda: Connection(counters), "127.0.0.1", 0, ssl=tls, backlog=4096)
        ports[scheme] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("certificate", help="PEM file with the key and the certificates")
    options = parser.parse_args()
    pin(SERVER_CORE)
    run(_serve(options.certificate))

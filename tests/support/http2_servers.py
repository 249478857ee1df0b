"""An HTTP/2 server that hands every request on to another server, which need not know HTTP/2."""

from __future__ import annotations

from contextlib import suppress

import anyio
import httpx
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded, StreamReset

from tests.support.socket_servers import Conversation


@define(eq=False)
class Front:
    """``Front(origin).handler`` is for :func:`tests.support.socket_servers.serving`, with TLS around it."""

    origin: str
    seen: list[str] = field(factory=list[str])

    async def handler(self, talk: Conversation) -> None:
        async with anyio.create_task_group() as tasks, httpx.AsyncClient(timeout=None) as behind:
            await _Connection(self, talk, behind, tasks).run()
            tasks.cancel_scope.cancel()


@define(eq=False)
class _Connection:
    front: Front
    talk: Conversation
    behind: httpx.AsyncClient
    tasks: anyio.abc.TaskGroup
    state: H2Connection = field(
        factory=lambda: H2Connection(H2Configuration(client_side=False, header_encoding="ascii"))
    )
    requests: dict[int, tuple[dict[str, str], bytearray]] = field(
        factory=dict[int, tuple[dict[str, str], bytearray]]
    )
    scopes: dict[int, anyio.CancelScope] = field(factory=dict[int, anyio.CancelScope])
    heard: anyio.Event = field(factory=anyio.Event)
    sending: anyio.Lock = field(factory=anyio.Lock)

    async def run(self) -> None:
        self.state.initiate_connection()
        await self.flush()
        with suppress(anyio.BrokenResourceError):
            async for data in self.talk.stream:
                for event in self.state.receive_data(data):
                    if isinstance(event, ConnectionTerminated):
                        return
                    self.take(event)
                await self.flush()
                self.heard.set()
                self.heard = anyio.Event()

    def take(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self.requests[event.stream_id] = (headers, bytearray())
        elif isinstance(event, DataReceived):
            self.requests[event.stream_id][1].extend(event.data)
            self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.tasks.start_soon(self.answer, event.stream_id)
        elif isinstance(event, StreamReset) and event.stream_id in self.scopes:
            self.scopes[event.stream_id].cancel()

    async def answer(self, number: int) -> None:
        headers, body = self.requests.pop(number)
        method, path = headers.pop(":method"), headers.pop(":path")
        self.front.seen.append(f"{method} {path}")
        plain = {name: value for name, value in headers.items() if not name.startswith(":")}
        plain["host"] = headers[":authority"]
        with anyio.CancelScope() as scope, suppress(anyio.BrokenResourceError):
            self.scopes[number] = scope
            url = f"{self.front.origin}{path}"
            async with self.behind.stream(method, url, headers=plain, content=bytes(body)) as answer:
                said = [(name, value) for name, value in answer.headers.items() if name not in _OF_HTTP_1]
                self.state.send_headers(number, [(":status", str(answer.status_code)), *said])
                async for piece in answer.aiter_raw():
                    await self.send(number, piece)
                self.state.end_stream(number)
                await self.flush()

    async def send(self, number: int, data: bytes) -> None:
        while data:
            room = min(self.state.local_flow_control_window(number), self.state.max_outbound_frame_size)
            if room > 0:
                self.state.send_data(number, data[:room])
                data = data[room:]
                await self.flush()
            else:
                await self.heard.wait()

    async def flush(self) -> None:
        async with self.sending:
            await self.talk.send(self.state.data_to_send())


_OF_HTTP_1 = {"connection", "keep-alive", "transfer-encoding"}
"""HTTP/2 has no such headers: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2"""

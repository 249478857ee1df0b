"""A picture as a stream of server-sent events: partial images, then the completed one.

The names and fields of the events are those of https://platform.openai.com/docs/api-reference/images-streaming. An
event is made in a thread when its turn comes; a client that leaves ends the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

import anyio
import anyio.to_thread
from attrs import define
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.faults import ErrorShape, Fault, drop_connection, unless_disconnected
from imagesdk.emulator.state import EmulatorState, RequestRecord

__all__ = ["EventStream", "MakeEvent"]

MakeEvent: TypeAlias = Callable[[], Mapping[str, object]]
"""Makes the data of one event. Slow: it is called in a thread. A :class:`Refusal` ends the stream as an error."""


class EventStream(Response):
    """The answer to a request for a stream, sent event by event."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: Sequence[MakeEvent],
        memory: EmulatorState,
        record: RequestRecord,
        *,
        fault: Fault | None = None,
        done_marker: bool = False,
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._memory = memory
        self._record = record
        self._fault = fault or Fault()
        self._done_marker = done_marker
        self._room = self._fault.truncate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends, is broken by a fault, or nobody listens any more."""
        broken = False

        async def run() -> None:
            nonlocal broken
            broken = await self._run(_Outlet(send, self._room))

        self._record.stream = True
        self._memory.open_streams += 1
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await unless_disconnected(receive, run)
            if broken:
                await drop_connection(scope, receive)
        finally:
            self._memory.open_streams -= 1

    async def _run(self, outlet: _Outlet) -> bool:
        """Send the events; ``True`` when the connection is to be dropped."""
        fault = self._fault
        breaks = fault.drop or fault.end_early or fault.stream_error is not None
        right = fault.after_events or 0
        for number, make in enumerate(self._events):
            if fault.delay and number >= right:
                await anyio.sleep(fault.delay)
            if breaks and number == right:
                break
            try:
                text = await anyio.to_thread.run_sync(_event, make)
            except Refusal as refusal:
                await outlet.write(_error_event(refusal.body()))
                await outlet.end()
                return False
            if not await outlet.write(text):
                return True
            self._record.events += 1
        if fault.drop:
            return True
        if fault.stream_error is not None:
            await outlet.write(_error_event(fault.error_body(), fault.stream_error, line=fault.error_line))
        elif self._done_marker and not fault.end_early:
            await outlet.write("data: [DONE]\n\n")
        await outlet.end()
        return False


@define
class _Outlet:
    """Where a stream goes, and how many bytes of it may still pass; ``None``: any number."""

    send: Send
    room: int | None

    async def write(self, text: str) -> bool:
        """Send a text; ``False`` when not all of it passed."""
        data = text.encode()[: self.room]
        if self.room is not None:
            self.room -= len(data)
        await self.send({"type": "http.response.body", "body": data, "more_body": True})
        return len(data) == len(text)

    async def end(self) -> None:
        """End the answer in good order."""
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(make: MakeEvent) -> str:
    data = make()
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"


def _error_event(body: Mapping[str, object], shape: ErrorShape | None = None, *, line: bool = False) -> str:
    data = body
    error = body.get("error")
    if shape == "flat" and isinstance(error, Mapping):
        data = {**cast("Mapping[str, object]", error), "type": "error"}
    name = "event: error\n" if line else ""
    return f"{name}data: {json.dumps(data)}\n\n"

"""Stream of server-sent events: partial images, then the completed one.

Names and fields of the events follow https://platform.openai.com/docs/api-reference/images-streaming. Each
event is drawn in a thread when it is due. The work ends if the client disconnects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

import anyio
import anyio.to_thread
from attrs import define
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.drawing.painting import MakeEvent
from imagesdk.emulator.faults import ErrorShape, Fault, drop_connection, unless_disconnected
from imagesdk.emulator.log import RequestRecord
from imagesdk.emulator.state import EmulatorState

__all__ = ["EventStream"]


class EventStream(Response):
    """Response that sends a stream event by event."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: Sequence[MakeEvent],
        state: EmulatorState,
        record: RequestRecord,
        *,
        fault: Fault,
        done_marker: bool,
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._state = state
        self._record = record
        self._fault = fault
        self._done_marker = done_marker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends, a fault breaks it, or the client disconnects."""
        broken = False

        async def run() -> None:
            nonlocal broken
            broken = await self._run(_BodyWriter(send, self._fault.truncate))

        self._record.stream = True
        self._state.open_streams += 1
        try:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            await unless_disconnected(receive, run)
            if broken:
                await drop_connection(scope, receive)
        finally:
            self._state.open_streams -= 1

    async def _run(self, writer: _BodyWriter) -> bool:
        """Send the events. Return whether to drop the connection."""
        fault = self._fault
        breaks = fault.drop or fault.end_early or fault.garbage or fault.stream_error is not None
        right = fault.after_events or 0
        for number, make in enumerate(self._events):
            if fault.delay and number >= right:
                await anyio.sleep(fault.delay)
            if breaks and number == right:
                break
            try:
                text = await anyio.to_thread.run_sync(_event, make)
            except Refusal as refusal:
                await writer.write(_error_event(refusal.body()))
                await writer.end()
                return False
            if not await writer.write(text):
                return True
            self._record.events += 1
        self._record.completed = self._record.events == len(self._events)
        if fault.drop:
            return True
        if fault.garbage:
            await writer.write('event: image_generation.completed\ndata: {"type": "image_gener%%\n\n')
        elif fault.stream_error is not None:
            await writer.write(_error_event(fault.error_body(), fault.stream_error, line=fault.error_line))
        elif self._done_marker and not fault.end_early:
            await writer.write("data: [DONE]\n\n")
        await writer.end()
        return False


@define
class _BodyWriter:
    """Writer of a stream, with the number of bytes that it may still send (``None``: no limit)."""

    send: Send
    bytes_left: int | None

    async def write(self, text: str) -> bool:
        """Send a text. Return whether all of it was sent."""
        data = text.encode()[: self.bytes_left]
        if self.bytes_left is not None:
            self.bytes_left -= len(data)
        await self.send({"type": "http.response.body", "body": data, "more_body": True})
        return len(data) == len(text)

    async def end(self) -> None:
        """End the response properly."""
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

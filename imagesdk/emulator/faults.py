"""What the emulator does wrong next, because a test asked for it.

Faults are one-shot and served in the order in which they were queued: the next image request (or, with
``downloads=True``, the next fetch of a result URL) takes the first one. A fault is used up even when its
request is refused for a reason of its own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import field, frozen
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["Fault", "Faults"]

HangUp: TypeAlias = Callable[[Scope], bool]
"""Closes the connection of a request; ``False`` when there is none that it knows."""


@frozen
class Fault:
    """One thing to do wrong."""

    status: int | None = None
    """Answer with this status; ``None`` leaves the real answer as it is."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Headers of that answer, above the usual ones."""
    body: object = None
    """Its body: text and bytes are sent as they are, anything else as JSON."""
    after_work: bool = False
    """Do the work and bill it, and only then answer with ``status`` (or drop the connection)."""
    truncate: int | None = None
    """Announce the whole answer, send only this many bytes of its body, and drop the connection."""
    drop: bool = False
    """Drop the connection without a byte of an answer."""

    @property
    def instead(self) -> bool:
        """Whether no work is done."""
        return (self.status is not None or self.drop) and not self.after_work

    def answer(self, real: Response | None = None) -> Response:
        """Return the answer to send in place of ``real`` (``None`` when no work was done)."""
        if self.drop:
            return _Broken(Response(), None)
        response = self._response() if self.status is not None or real is None else real
        return response if self.truncate is None else _Broken(response, self.truncate)

    def _response(self) -> Response:
        headers = dict(self.headers)
        status = 500 if self.status is None else self.status
        if isinstance(self.body, str | bytes):
            return Response(self.body, status, headers)
        content = json.dumps(_usual_error(status) if self.body is None else self.body)
        return Response(content, status, {"content-type": "application/json", **headers})


def _usual_error(status: int) -> dict[str, object]:
    if status == 429:
        message, kind, code = "Rate limit exceeded for images per minute.", "requests", "rate_limit_exceeded"
    else:
        message, kind, code = (
            "The server had an error while processing your request",
            "server_error",
            "server_error",
        )
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Faults:
    """The queues of faults. Tests may add to them from any thread."""

    def __init__(self) -> None:
        self._images: deque[Fault] = deque()
        self._downloads: deque[Fault] = deque()

    def next(
        self,
        status: int | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        after_work: bool = False,
        truncate: int | None = None,
        drop: bool = False,
        downloads: bool = False,
        times: int = 1,
    ) -> None:
        """Queue a fault.

        Args:
            status: Answer with this status instead of working. Without it, the real answer is meant.
            headers: Headers of that answer, for example ``{"retry-after": "2"}``.
            body: Its body: text or bytes as they are, anything else as JSON; by default an error object.
            after_work: Do the work and bill it first.
            truncate: Announce the whole body, send this many bytes of it and drop the connection.
            drop: Drop the connection without an answer.
            downloads: Meant for the next fetch of a result URL, not for the next image request.
            times: How many requests it is for.

        Dropping a connection needs one: in process, where there is none, the application raises
        :class:`ConnectionResetError` instead.
        """
        if status is None and truncate is None and not drop:
            raise ValueError("a fault needs a status, truncate= or drop=True")
        fault = Fault(
            status=status,
            headers=headers or {},
            body=body,
            after_work=after_work,
            truncate=truncate,
            drop=drop,
        )
        (self._downloads if downloads else self._images).extend([fault] * times)

    def take(self, *, downloads: bool = False) -> Fault | None:
        """Return the fault for the request at hand, and forget it."""
        queue = self._downloads if downloads else self._images
        return queue.popleft() if queue else None

    def clear(self) -> None:
        """Forget every fault."""
        self._images.clear()
        self._downloads.clear()

    def __len__(self) -> int:
        return len(self._images) + len(self._downloads)


class _Broken(Response):
    """An answer that ends too early, and its connection with it."""

    def __init__(self, real: Response, sent: int | None) -> None:
        super().__init__(bytes(real.body), real.status_code)
        self.raw_headers = real.raw_headers
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sent is not None:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            part = bytes(self.body)[: self._sent]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        hang_up: HangUp | None = scope["app"].state.emulator.hang_up
        if hang_up is None or not hang_up(scope):
            raise ConnectionResetError("a fault of the emulator dropped the connection")
        while (await receive())["type"] != "http.disconnect":
            pass

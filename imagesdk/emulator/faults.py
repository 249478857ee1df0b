"""What the emulator does wrong next, because a test asked for it.

Faults are one-shot and served in the order in which they were queued: the next image request (or, with
``downloads=True``, the next fetch of a result URL; with ``files=True``, the next request to the Files API) takes
the first one. A fault is used up even when its request is refused for a reason of its own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeAlias, cast

import anyio
from attrs import field, frozen
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imagesdk.emulator.known_errors import KNOWN_ERRORS

__all__ = ["ErrorShape", "Fault", "Faults", "hang_up", "unless_left"]

HangUp: TypeAlias = Callable[[Scope], bool]
"""Closes the connection of a request; ``False`` when there is none that it knows."""
ErrorShape: TypeAlias = Literal["nested", "flat"]
"""An error inside a stream: ``{"error": {...}}``, or ``{"type": "error", ...}``."""


@frozen
class Fault:
    """One thing to do wrong. :meth:`Faults.next` says what each field means."""

    status: int | None = None
    headers: Mapping[str, str] = field(factory=dict[str, str])
    body: object = None
    error: str | None = None
    after_work: bool = False
    truncate: int | None = None
    drop: bool = False
    delay: float = 0
    plain: bool = False
    stream_error: ErrorShape | None = None
    error_line: bool = False
    end_early: bool = False
    after_events: int | None = None
    max_partials: int | None = None

    @property
    def instead(self) -> bool:
        """Whether no work is done."""
        return (self.status is not None or self.drops_at_once) and not self.after_work

    @property
    def drops_at_once(self) -> bool:
        """Whether the connection is dropped without a byte of an answer."""
        return self.drop and self.after_events is None

    @property
    def forbids_stream(self) -> bool:
        """Whether the answer is not a stream, although one was asked for."""
        return self.plain or self.status is not None or self.drops_at_once

    def error_body(self) -> Mapping[str, object]:
        """Return the body of an error: ``body`` where it is one, else that of ``error`` or the usual one."""
        given = self.body
        if isinstance(given, Mapping):
            return cast("Mapping[str, object]", given)
        usual = "rate_limit_exceeded" if self.status == 429 else "server_error"
        return KNOWN_ERRORS[self.error or usual]().body()

    def answer(self, real: Response | None = None) -> Response:
        """Return the answer to send in place of ``real`` (``None`` when no work was done)."""
        if self.drops_at_once:
            return _Troubled(Response(), self.delay, 0, silent=True)
        response = self._response() if self.status is not None or real is None else real
        if self.truncate is None and not self.delay:
            return response
        return _Troubled(response, self.delay, self.truncate)

    def _response(self) -> Response:
        headers = dict(self.headers)
        status = 500 if self.status is None else self.status
        if isinstance(self.body, str | bytes):
            return Response(self.body, status, headers)
        content = json.dumps(self.error_body() if self.body is None else self.body)
        return Response(content, status, {"content-type": "application/json", **headers})


class Faults:
    """The queues of faults. Tests may add to them from any thread."""

    def __init__(self) -> None:
        self._images: deque[Fault] = deque()
        self._downloads: deque[Fault] = deque()
        self._files: deque[Fault] = deque()

    def next(
        self,
        status: int | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        error: str | None = None,
        after_work: bool = False,
        truncate: int | None = None,
        drop: bool = False,
        delay: float = 0,
        plain: bool = False,
        stream_error: ErrorShape | None = None,
        error_line: bool = False,
        end_early: bool = False,
        after_events: int | None = None,
        max_partials: int | None = None,
        downloads: bool = False,
        files: bool = False,
        times: int = 1,
    ) -> None:
        """Queue a fault.

        Args:
            status: Answer with this status instead of working. Without it, the real answer is meant.
            headers: Headers of that answer, for example ``{"retry-after": "2"}``.
            body: Its body: text or bytes as they are, anything else as JSON; by default an error object.
            error: Answer with a known error of the API, status and all: ``"insufficient_quota"``,
                ``"billing_hard_limit_reached"``, ``"organization_unverified"``, ``"moderation_blocked"``,
                ``"rate_limit_exceeded"`` or ``"server_error"``.
            after_work: Do the work and bill it first.
            truncate: Announce the whole body, send this many bytes of it and drop the connection. Of a stream,
                which announces nothing, this many bytes are sent.
            drop: Drop the connection without an answer; with ``after_events``, in the middle of a stream.
            delay: Wait so many seconds before the answer; in a stream, before every event after
                ``after_events``. A client that leaves ends the wait.
            plain: Answer a request for a stream with plain JSON, as some servers do.
            stream_error: End a stream with an error, ``"nested"`` as ``{"error": {...}}`` or ``"flat"`` as
                ``{"type": "error", ...}``. ``error`` or ``body`` (an error object) say which.
            error_line: Write ``event: error`` above it.
            end_early: End a stream, in good order, before its completed event.
            after_events: How many events of the stream are right before that; by default none.
            max_partials: Send at most so many partial images.
            downloads: Meant for the next fetch of a result URL, not for the next image request.
            files: Meant for the next request to the Files API.
            times: How many requests it is for.

        Dropping a connection needs one: in process, where there is none, the application raises
        :class:`ConnectionResetError` instead.

        Raises:
            ValueError: The fault would do nothing, or ``error`` is not a known one.
        """
        if error is not None and error not in KNOWN_ERRORS:
            raise ValueError(f"error is one of {', '.join(KNOWN_ERRORS)}, not {error!r}")
        if error is not None and status is None and stream_error is None:
            status = KNOWN_ERRORS[error]().status
        fault = Fault(
            status=status,
            headers=headers or {},
            body=body,
            error=error,
            after_work=after_work,
            truncate=truncate,
            drop=drop,
            delay=delay,
            plain=plain,
            stream_error=stream_error,
            error_line=error_line,
            end_early=end_early,
            after_events=after_events,
            max_partials=max_partials,
        )
        does_something = (
            fault.forbids_stream or drop or delay or end_early or stream_error,
            truncate is not None or max_partials is not None,
        )
        if not any(does_something):
            raise ValueError(
                "a fault needs a status, error=, truncate=, drop=True, delay=, plain=True, stream_error=, "
                "end_early=True or max_partials="
            )
        queue = self._downloads if downloads else self._files if files else self._images
        queue.extend([fault] * times)

    def take(self, kind: Literal["images", "downloads", "files"] = "images") -> Fault | None:
        """Return the fault for the request at hand, and forget it."""
        queue = {"images": self._images, "downloads": self._downloads, "files": self._files}[kind]
        return queue.popleft() if queue else None

    def clear(self) -> None:
        """Forget every fault."""
        self._images.clear()
        self._downloads.clear()
        self._files.clear()

    def __len__(self) -> int:
        return len(self._images) + len(self._downloads) + len(self._files)


async def unless_left(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` after a request was read, and give it up when the client goes away."""
    async with anyio.create_task_group() as group:

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(listen)
        await work()
        group.cancel_scope.cancel()


async def hang_up(scope: Scope, receive: Receive) -> None:
    """Drop the connection of a request, after what was sent on it."""
    close: HangUp | None = scope["app"].state.emulator.hang_up
    if close is None or not close(scope):
        raise ConnectionResetError("a fault of the emulator dropped the connection")
    while (await receive())["type"] != "http.disconnect":
        pass


class _Troubled(Response):
    """An answer that comes late or ends too early, and its connection with it."""

    def __init__(self, real: Response, delay: float, sent: int | None, *, silent: bool = False) -> None:
        super().__init__(bytes(real.body), real.status_code)
        self.raw_headers = real.raw_headers
        self._delay = delay
        self._sent = sent
        self._silent = silent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._delay:
            waited = False

            async def wait() -> None:
                nonlocal waited
                await anyio.sleep(self._delay)
                waited = True

            await unless_left(receive, wait)
            if not waited:
                return
        if self._sent is None:
            await super().__call__(scope, receive, send)
            return
        if not self._silent:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            part = bytes(self.body)[: self._sent]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await hang_up(scope, receive)

"""Queued faults: error responses, broken streams and broken connections.

A fault applies to one request, in the order of the queue. There is a queue for image requests, one for
downloads of result URLs, one for provenance checks, two for the Files API, three for requests about batches, and one for
batches themselves. A request uses up its fault even if the request itself is invalid.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias, cast, get_args

import anyio
import anyio.lowlevel
from attrs import field, frozen
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from imagesdk.emulator.batch_faults import BatchFault, LineOrder, Lines
from imagesdk.emulator.known_errors import KNOWN_ERRORS

__all__ = ["ErrorShape", "Fault", "FaultTarget", "Faults", "drop_connection", "unless_disconnected"]

CloseConnection: TypeAlias = Callable[[Scope], bool]
"""Closes the connection of a request. Returns ``False`` for a connection that the server does not know."""
_GARBAGE = '{"created": 1700000000, "data": [{"b64_json": "iVBORw0KGgo%%'
ErrorShape: TypeAlias = Literal["nested", "flat"]
"""Form of an error inside a stream: ``{"error": {...}}`` or ``{"type": "error", ...}``."""
FaultTarget: TypeAlias = Literal[
    "images", "downloads", "files", "checks", "contents", "batches", "polls", "cancels"
]
"""Kind of request: an image request, the download of a result URL, another request to the Files API than the download of a
content, a provenance check, the download of a file's content, the creation of a batch, a look at one batch or at the list,
and a cancellation."""


@frozen
class Fault:
    """One fault, as :meth:`Faults.http`, :meth:`Faults.stream` and :meth:`Faults.connection` describe it."""

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
    garbage: bool = False
    """Whether the body, or the event after ``after_events``, is broken JSON."""
    name: str = ""
    """Short description for the log."""

    @property
    def replaces_work(self) -> bool:
        """Whether the request is neither worked on nor billed."""
        return (self.status is not None or self.drops_at_once) and not self.after_work

    @property
    def drops_at_once(self) -> bool:
        """Whether the connection is dropped before the first byte of the response."""
        return self.drop and self.after_events is None

    @property
    def forbids_stream(self) -> bool:
        """Whether the response is not a stream although the request asked for one."""
        return self.plain or self.status is not None or self.drops_at_once

    def error_body(self) -> Mapping[str, object]:
        """Return ``body`` if it is an object, else the body of ``error`` or of the default error."""
        given = self.body
        if isinstance(given, Mapping):
            return cast("Mapping[str, object]", given)
        usual = "rate_limit_exceeded" if self.status == 429 else "server_error"
        return KNOWN_ERRORS[self.error or usual]().body()

    def response(self, real: Response | None = None) -> Response:
        """Return the response to send in place of ``real``, which is ``None`` if no work was done."""
        if self.drops_at_once:
            return _BrokenResponse(Response(), self.delay, 0, silent=True)
        response = self._response() if self.status is not None or real is None else real
        if self.garbage and self.status is None:
            response = Response(_GARBAGE, 200, {"content-type": "application/json"})
        if self.truncate is None and not self.delay:
            return response
        return _BrokenResponse(response, self.delay, self.truncate)

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
        self._queues: dict[FaultTarget, deque[Fault]] = {target: deque() for target in get_args(FaultTarget)}
        self._batches: deque[BatchFault] = deque()

    def http(
        self,
        status: int | None = None,
        *,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        after_work: bool = False,
        delay: float = 0,
        on: FaultTarget = "images",
        times: int = 1,
    ) -> None:
        """Queue another response in place of the real one.

        Args:
            status: Status of the response. It may be left out with ``error``, which has one.
            error: A known error of the API: ``"insufficient_quota"``, ``"billing_hard_limit_reached"``,
                ``"organization_unverified"``, ``"moderation_blocked"``, ``"rate_limit_exceeded"`` or
                ``"server_error"``.
            headers: Headers of the response, for example ``{"retry-after": "2"}``.
            body: Body of the response. Text and bytes are sent as they are, other values as JSON. By default
                it is an error object.
            after_work: Whether the emulator does the work and bills it first.
            delay: Seconds before the response. A client that disconnects ends the wait.
            on: Kind of request that the fault applies to.
            times: Number of requests that the fault applies to.

        Raises:
            ValueError: If neither ``status`` nor ``error`` is given, or ``error`` is not a known one.
        """
        _check_error(error)
        if status is None and error is None:
            raise ValueError("faults.http() needs a status or error=")
        if status is None and error is not None:
            status = KNOWN_ERRORS[error]().status
        fault = Fault(
            status=status,
            headers=headers or {},
            body=body,
            error=error,
            after_work=after_work,
            delay=delay,
            name=error or f"status {status}",
        )
        self.add(fault, on, times)

    def stream(
        self,
        *,
        error: str | None = None,
        body: Mapping[str, object] | None = None,
        shape: ErrorShape = "nested",
        error_line: bool = False,
        end_early: bool = False,
        drop: bool = False,
        after_events: int = 0,
        delay: float = 0,
        max_partials: int | None = None,
        plain: bool = False,
        times: int = 1,
    ) -> None:
        """Queue a fault inside a stream of events.

        Args:
            error: End the stream with a known error of the API. The names are those of :meth:`http`.
            body: End the stream with this error object.
            shape: ``"nested"`` for ``{"error": {...}}``, ``"flat"`` for ``{"type": "error", ...}``.
            error_line: Whether ``event: error`` precedes the error.
            end_early: End the response properly, but before the completed event.
            drop: Drop the connection in the middle of the stream.
            after_events: Number of events that are sent before the error, the end, the drop or the delay.
            delay: Seconds before each event after ``after_events``.
            max_partials: Number of partial images that are sent at most.
            plain: Respond with plain JSON, as some servers do.
            times: Number of requests that the fault applies to.

        Raises:
            ValueError: If the fault would have no effect, or ``error`` is not a known one.
        """
        _check_error(error)
        has_error = error is not None or body is not None
        if not (has_error or end_early or drop or delay or plain or max_partials is not None):
            raise ValueError(
                "faults.stream() needs error=, body=, end_early=True, drop=True, delay=, max_partials= or plain=True"
            )
        fault = Fault(
            body=body,
            error=error,
            stream_error=shape if has_error else None,
            error_line=error_line,
            end_early=end_early,
            drop=drop,
            after_events=after_events,
            delay=delay,
            max_partials=max_partials,
            plain=plain,
            name="stream",
        )
        self.add(fault, "images", times)

    def connection(
        self,
        *,
        drop: bool = False,
        truncate: int | None = None,
        delay: float = 0,
        after_work: bool = False,
        on: FaultTarget = "images",
        times: int = 1,
    ) -> None:
        """Queue a fault of the connection: dropped, dropped in the body, or slow.

        A connection can only be dropped over a socket. In process, the application raises
        :class:`ConnectionResetError` instead.

        Args:
            drop: Drop the connection without a response.
            truncate: Announce the whole body, send this number of its bytes and drop the connection. A stream
                announces no length; the same number of bytes is sent.
            delay: Seconds before the response, or before each event of a stream. A client that disconnects
                ends the wait.
            after_work: Whether the emulator does the work and bills it before it drops the connection.
            on: Kind of request that the fault applies to.
            times: Number of requests that the fault applies to.

        Raises:
            ValueError: If the fault would have no effect.
        """
        if not drop and truncate is None and not delay:
            raise ValueError("faults.connection() needs drop=True, truncate= or delay=")
        name = (
            "connection dropped"
            if drop
            else "response truncated"
            if truncate is not None
            else "slow response"
        )
        fault = Fault(drop=drop, truncate=truncate, delay=delay, after_work=after_work, name=name)
        self.add(fault, on, times)

    def batch(
        self,
        *,
        missing: Lines = 0,
        duplicated: Lines = 0,
        no_status: Lines = 0,
        garbled: Lines = 0,
        failed: Lines = 0,
        counts: Mapping[str, int] | None = None,
        no_output_file: bool = False,
        files_gone: bool = False,
        rest_missing: bool = False,
        error: str | None = None,
        delay: float | None = None,
        stuck: float | None = None,
        cancel_hangs: bool = False,
        unlisted: float = 0,
        order: LineOrder = "shuffled",
        webhooks: int = 1,
        times: int = 1,
    ) -> None:
        """Queue what the next batch does wrong. It is made and billed all the same, except for what fails.

        Lines are a number, or the ``custom_id`` of each. Numbers choose different lines.

        Args:
            missing: Lines that are in no file.
            duplicated: Lines that are in the output file twice.
            no_status: Lines with a status of 0 and no body.
            garbled: Lines that end in the middle, and so are not JSON.
            failed: Lines that fail with a server error, and are in the error file.
            counts: Numbers that replace those of ``request_counts``: ``total``, ``completed`` or ``failed``.
            no_output_file: Whether ``output_file_id`` is ``null``.
            files_gone: Whether the output and error files are gone when the batch ends.
            rest_missing: Whether requests that an expired or cancelled batch did not execute are in no file.
            error: Code of an error that fails the batch in validation, for example ``"token_limit_exceeded"``.
            delay: Seconds from the creation of the batch to its end, in place of ``batch_delay``.
            stuck: Share of the lines after which the batch stops. It then expires after 24 hours.
            cancel_hangs: Whether a cancellation never ends.
            unlisted: Seconds before the batch is in the list.
            order: Order of the lines in the output file: ``"shuffled"``, ``"given"`` or ``"reversed"``.
            webhooks: How often the webhook of its end is sent.
            times: Number of batches that the fault applies to.

        Raises:
            ValueError: If ``stuck`` is not between 0 and 1, ``delay`` is negative, or ``order`` or a key of ``counts`` is not a known one.
        """
        fault = BatchFault(
            missing=missing,
            duplicated=duplicated,
            no_status=no_status,
            garbled=garbled,
            failed=failed,
            counts=dict(counts or {}),
            no_output_file=no_output_file,
            files_gone=files_gone,
            rest_missing=rest_missing,
            error=error,
            delay=delay,
            stuck=stuck,
            cancel_hangs=cancel_hangs,
            unlisted=unlisted,
            order=order,
            webhooks=webhooks,
        )
        self.add_batch(fault, times)

    def add_batch(self, fault: BatchFault, times: int = 1) -> None:
        """Queue a fault of the next batches."""
        self._batches.extend([fault] * times)

    def take_batch(self) -> BatchFault:
        """Remove and return the fault of a new batch, or one that changes nothing."""
        return self._batches.popleft() if self._batches else BatchFault()

    def take(self, target: FaultTarget = "images") -> Fault | None:
        """Remove and return the fault for the current request."""
        queue = self._queues[target]
        return queue.popleft() if queue else None

    def queued(self) -> list[tuple[str, str]]:
        """Return the kinds and names of the faults that no request and no batch has used up."""
        found: list[tuple[str, str]] = [
            (target, fault.name) for target, queue in self._queues.items() for fault in list(queue)
        ]
        return found + [("batch", fault.name) for fault in list(self._batches)]

    def clear(self) -> None:
        """Remove every fault."""
        self._batches.clear()
        for queue in self._queues.values():
            queue.clear()

    def __len__(self) -> int:
        return len(self._batches) + sum(len(queue) for queue in self._queues.values())

    def add(self, fault: Fault, on: FaultTarget = "images", times: int = 1) -> None:
        """Queue a fault for ``times`` requests of a kind.

        Raises:
            ValueError: If ``on`` is not a known kind.
        """
        if on not in self._queues:
            raise ValueError(f"on is one of {', '.join(self._queues)}, not {on!r}")
        self._queues[on].extend([fault] * times)


async def unless_disconnected(receive: Receive, work: Callable[[], Awaitable[None]]) -> bool:
    """Do ``work`` after a request was read, unless the client disconnects. Return whether it was finished."""
    finished = False
    async with anyio.create_task_group() as group:

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(listen)
        await work()
        finished = True
        group.cancel_scope.cancel()
    return finished


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Drop the connection of a request after what was sent on it."""
    close: CloseConnection | None = scope["app"].state.emulator.close_connection
    if close is None or not close(scope):
        raise ConnectionResetError("a fault of the emulator dropped the connection")
    while (await receive())["type"] != "http.disconnect":
        pass


class _BrokenResponse(Response):
    """A response that is late or truncated. A truncated one ends with its connection."""

    def __init__(self, real: Response, delay: float, sent: int | None, *, silent: bool = False) -> None:
        super().__init__(status_code=real.status_code)
        self.raw_headers = real.raw_headers
        self._real = real
        self._delay = delay
        self._sent = sent
        self._silent = silent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._delay and not await unless_disconnected(receive, partial(anyio.sleep, self._delay)):
            return
        if self._sent is None:
            await self._real(scope, receive, send)
            return
        if not self._silent:
            await self._send_part(scope, receive, send, self._sent)
        await drop_connection(scope, receive)

    async def _send_part(self, scope: Scope, receive: Receive, send: Send, left: int) -> None:
        """Send the real response until ``left`` bytes of its body are sent."""
        with anyio.CancelScope() as rest:

            async def send_part(message: Message) -> None:
                nonlocal left
                if message["type"] == "http.response.body":
                    part = message.get("body", b"")[:left]
                    left -= len(part)
                    message = {"type": "http.response.body", "body": part, "more_body": True}
                await send(message)
                if message["type"] == "http.response.body" and not left:
                    rest.cancel()
                    await anyio.lowlevel.checkpoint()

            await self._real(scope, receive, send_part)


def _check_error(error: str | None) -> None:
    if error is not None and error not in KNOWN_ERRORS:
        raise ValueError(f"error is one of {', '.join(KNOWN_ERRORS)}, not {error!r}")

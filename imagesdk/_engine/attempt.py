"""One attempt of a call: from the key to a result or a failure, and what is recorded of it.

One attempt, in this order: permit of the limiter, ledger, connection, bytes out, ``sent``, bytes in, ledger. What was
opened is released in :meth:`Attempt.aclose`, in shielded scopes of at most 5 seconds. Whether to retry is decided by
:mod:`imagesdk._protocol.retry`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import ClassVar, Generic

import anyio

from imagesdk._engine.call import Result, T
from imagesdk._engine.config import EngineConfig, EngineShared
from imagesdk._engine.logs import log_end
from imagesdk._engine.redaction import redact_error
from imagesdk._engine.request_body import TrackedBody
from imagesdk._engine.response import (
    DecompressedBody,
    ResponseReader,
    connection_failure,
    exchange_failure,
    lack_failure,
    parse_response,
)
from imagesdk._engine.sink import ImageSink, discard
from imagesdk._engine.state import CallState
from imagesdk._engine.tokens import current_key
from imagesdk._protocol.hosts import auth_headers
from imagesdk._protocol.requests import request_headers
from imagesdk._protocol.retry import UNCOUNTED_STATUSES, Failure
from imagesdk._protocol.scanner import ScanError, Scanner
from imagesdk._protocol.server_limits import parse_server_limits
from imagesdk._runtime.threads import lacking
from imagesdk._transport.exchange import RELEASE_LIMIT, TransportError, WireRequest, WireResponse
from imagesdk.errors import APIError
from imagesdk.events import AttemptStarted, ResponseReceived

_TOO_MANY_REQUESTS = 429


class Attempt(Generic[T]):
    """One attempt whose response is read as a whole."""

    accept: ClassVar[str] = "application/json"
    stays_open: ClassVar[bool] = False
    """Whether a successful attempt is closed by the engine's caller rather than by :meth:`run`."""

    def __init__(self, shared: EngineShared, config: EngineConfig, state: CallState[T]) -> None:
        self.result: Result[T] | None = None
        self.failure: Failure | None = None
        self._shared = shared
        self._config = config
        self._state = state
        self._call = call = state.call
        self._number = 0
        self._started_at = 0.0
        self._deadline: float | None = None
        request = call.request
        caps, images = config.caps, request.weight
        scanner = Scanner(max_image=caps.image, max_response=caps.response, images=images)
        self._body = TrackedBody(
            request.segments(), request.length, on_complete=state.permit.sent, boundary=request.boundary
        )
        self._reader = ResponseReader(scanner, max_ok_status=call.max_ok_status)
        self._sink = ImageSink(call.folder, fsync=call.fsync, owner=call.owner)
        self._exchange = AsyncExitStack()
        self._was_answered = False
        self._was_accepted = False

    async def run(self) -> Failure | None:
        """Send the request and read the response; return why the attempt failed, or ``None`` after a success."""
        await self._start()
        try:
            self.failure = await self._send_within_means()
            if self.failure is not None and (self._body.started or self._reader.status is not None):
                redact_error(self.failure.error, self._reader.key)
            self._was_accepted = self.failure is None
        finally:
            if not (self._was_accepted and self.stays_open):
                await self.aclose()
        return self.failure

    async def aclose(self) -> None:
        """Release what the attempt still holds, and settle it."""
        try:
            await self._release()
        finally:
            await self._settle()

    async def _start(self) -> None:
        call, state, clock = self._call, self._state, self._shared.clock
        try:
            self._reader.key = await current_key(self._shared.key, state.remaining(clock()))
        except APIError as error:
            raise state.annotate(error) from error.__cause__
        state.started += 1
        state.counted += 1
        self._number = state.started
        await call.ledger.before_send(self._number, call.idempotency_key)
        self._config.observe(AttemptStarted(call.id, call.request.method, call.request.path, self._number))
        self._started_at = clock()
        self._deadline = state.attempt_deadline(self._started_at)

    async def _send_within_means(self) -> Failure | None:
        try:
            return await self._send()
        except (MemoryError, RuntimeError) as error:
            if (lack := lacking(error)) is None:
                raise
            return lack_failure(lack, self._body, self._reader, billed=self._call.request.billed)

    async def _send(self) -> Failure | None:
        reader = self._reader
        try:
            with anyio.fail_after(self._seconds_left()):
                exchange = self._shared.transport.exchange(self._wire_request())
                response = await self._exchange.enter_async_context(exchange)
                self._state.permit.sent()
                reader.begin(response)
                await self._receive(response)
        except (TimeoutError, TransportError) as error:
            if isinstance(error, TransportError) and error.unsent:
                self._body.complete = False  # its last piece was not written
            billed, origin = self._call.request.billed, self._shared.host.origin
            failure = exchange_failure(error, self._body, reader, billed=billed, origin=origin)
            if reader.status is None or reader.succeeded:
                return failure
        except OSError as error:
            if reader.succeeded:
                error.add_note("The answer had come: its images were made, and are billed.")
            raise
        return await self._conclude()

    def _wire_request(self) -> WireRequest:
        call, shared, config = self._call, self._shared, self._config
        host, key = shared.host, self._reader.key
        headers = request_headers(
            call.request,
            accept="*/*" if call.raw else self.accept,
            user_agent=shared.user_agent,
            idempotency=(config.retry.idempotency_header, call.idempotency_key),
            client_headers=config.headers,
            call_headers=call.headers,
            auth=auth_headers(key, shared.organization, shared.project, header=host.key_header),
        )
        url = host.url(call.request.path, call.query)
        return WireRequest(call.request.method, url, headers, self._body, call.timeouts.connect)

    async def _receive(self, response: WireResponse) -> None:
        await self._reader.read(response, self._sink, raw=self._call.raw)
        await self._exchange.aclose()

    def _open_chunks(self, response: WireResponse) -> DecompressedBody | None:
        """Return the body of a response that a subclass reads itself; ``None`` if it cannot be decompressed."""
        try:
            return DecompressedBody(response)
        except ScanError as problem:
            self._reader.problem = problem
            return None

    async def _conclude(self) -> Failure | None:
        self._was_answered = True
        outcome = await parse_response(self._state, self._reader, self._sink, self._shared.host)
        self.result = None if isinstance(outcome, Failure) else outcome
        return outcome if isinstance(outcome, Failure) else None

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else self._deadline - self._shared.clock()

    async def _settle(self) -> None:
        """Report the end of the attempt. The engine logs the end of calls that have no successful attempt."""
        call, reader, permit, now = self._call, self._reader, self._state.permit, self._shared.clock()
        status, request_id = reader.status, reader.request_id
        failure = self.failure
        if failure is None and self.result is None:
            failure = self._abandoned()
            self._state.last_error = failure.error
        if self._was_answered and status is not None:
            seconds = now - self._started_at
            self._config.observe(ResponseReceived(call.id, self._number, status, request_id, seconds))
        if self._body.started:
            permit.sent()
        if self._was_accepted:
            server_limits = parse_server_limits(reader.headers, "", datetime.now(UTC))
            permit.accepted(server_limits, call.tokens(self.result.parsed) if self.result else None)
            error = failure.error if failure else None
            log_end(self._state, now, error, status=status, request_id=request_id)
        elif self._was_answered and failure is not None and status != _TOO_MANY_REQUESTS:
            permit.answered(failure.server_limits, uncounted=status in UNCOUNTED_STATUSES)
        with anyio.move_on_after(RELEASE_LIMIT, shield=True):
            await call.ledger.settled(self._number, failure)

    def _abandoned(self) -> Failure:
        """Return the failure of an attempt that was cancelled, or that a local file ended."""
        billed = self._call.request.billed
        return connection_failure("the call was cancelled", self._body, timed_out=False, billed=billed)

    async def _release(self) -> None:
        if self.result is not None and not self.stays_open:
            return  # the exchange has ended, and the images are the caller's
        # asyncio's own cancellation passes shields: each step is taken whatever became of the one before.
        async with AsyncExitStack() as steps:
            for sink in self._unclaimed_sinks():
                steps.push_async_callback(discard, sink)
            steps.push_async_callback(self._end_exchange)

    def _unclaimed_sinks(self) -> list[ImageSink]:
        return [self._sink]

    async def _end_exchange(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._exchange.aclose()

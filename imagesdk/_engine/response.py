"""The response of one attempt: read into a scanner and a sink, then parsed into a result or a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Self

import anyio.lowlevel
from attrs import define, evolve, field

from imagesdk import errors
from imagesdk._engine.call import Result, T
from imagesdk._engine.request_body import TrackedBody
from imagesdk._engine.sink import TEXT_HEAD, ImageSink
from imagesdk._engine.state import CallState
from imagesdk._media.sniff import is_text, sniff
from imagesdk._protocol.api_errors import is_error_document, status_failure, unreadable_failure
from imagesdk._protocol.decompression import Decompressor
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.retry import Failure, classify
from imagesdk._protocol.scanner import (
    MAX_ERROR,
    FixedCapError,
    ImageEnd,
    ImagePiece,
    ImageRef,
    ImageStart,
    ScanError,
    Scanner,
    check_entries,
)
from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk._runtime.threads import run_blocking
from imagesdk._transport.exchange import TransportError, WireResponse
from imagesdk.errors import excerpt
from imagesdk.remedies import Remedy

_TEXT_TYPES = frozenset({"application/json", "text/html", "text/plain"})
_MAX_REASON = 300
"""Characters of the reason of a broken exchange."""
SMALL_PIECES = 4
"""Small pieces of a body after which other tasks have their turn."""
_SMALL = 4096
_IMAGE_HEAD = 64
"""Bytes that are enough to recognise the format of an image."""


def media_type_of(headers: Mapping[str, str]) -> str:
    """Return the media type of a response in lower case, without parameters; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


@define
class ResponseReader:
    """The response of one attempt, as far as it has been read."""

    scanner: Scanner = field(factory=Scanner)
    max_ok_status: int = 299
    key: Secret = NO_KEY
    status: int | None = None
    """``None`` until the head of the response has been received."""
    succeeded: bool = False
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """The headers without the key, which a server may have put into them."""
    request_id: str | None = None
    problem: ScanError | None = None
    """Why the body cannot be read, if it cannot."""
    is_image: bool = False
    """Whether the body is an image itself, which went to the sink, rather than JSON."""

    def begin(self, response: WireResponse) -> None:
        """Record the status and the headers."""
        self.status = response.status
        self.succeeded = 200 <= response.status <= self.max_ok_status
        clean = self.key.removed_from
        self.headers = {clean(name): clean(value) for name, value in response.headers.items()}
        if not self.succeeded:
            self.scanner.max_rest = MAX_ERROR
        self.request_id = self.headers.get("x-request-id")

    async def read(self, response: WireResponse, sink: ImageSink, *, raw: bool = False) -> None:
        """Read the body to its end: JSON with images in it, an image itself, which some servers send, or a ``raw`` file."""
        try:
            body = DecompressedBody(response)
            if not self.succeeded:
                await self._scan(body, sink)
            elif raw:
                await copy_image(body, sink, self.scanner.count)
            else:
                await self._read_success(body, sink)
        except ScanError as error:
            self.problem = error

    async def _read_success(self, body: DecompressedBody, sink: ImageSink) -> None:
        head = b""
        async for chunk in body:
            head += chunk
            if len(head) >= _IMAGE_HEAD:
                break
        if _is_image(media_type_of(self.headers), head):
            self.is_image = True
            await copy_image(body, sink, self.scanner.count_image, head=head)
        else:
            await self._scan(body, sink, head=head)

    async def _scan(self, body: DecompressedBody, sink: ImageSink, *, head: bytes = b"") -> None:
        await self._feed(head, sink)
        async for chunk in body:
            await self._feed(chunk, sink)

    async def _feed(self, chunk: bytes, sink: ImageSink) -> None:
        for step, events in enumerate(self.scanner.steps(chunk)):
            if step:
                await anyio.lowlevel.checkpoint()
            for event in events:
                await sink.write(event)


async def copy_image(
    body: DecompressedBody, sink: ImageSink, count: Callable[[bytes], None], *, head: bytes = b""
) -> None:
    """Write a body that is an image itself to ``sink``, after ``count`` of each piece; ``head`` was read before."""
    await sink.write(ImageStart(0))
    if head:
        count(head)
        await sink.write(ImagePiece(0, head))
    async for chunk in body:
        count(chunk)
        await sink.write(ImagePiece(0, chunk))
    await sink.write(ImageEnd(0))


def _is_image(media_type: str, head: bytes) -> bool:
    """Whether a body is an image. One that could be JSON, or that is declared as text, is not."""
    if head.lstrip()[:1] in {b"{", b"["} or media_type in _TEXT_TYPES:
        return False
    return sniff(head).media_type is not None or (
        media_type.startswith("image/") and not is_text(head[:TEXT_HEAD])
    )


class DecompressedBody:
    """The plain body of a response in small pieces. (A class, as :class:`TrackedBody` is: it may be left halfway.)

    The HTTP library returns the pieces of what it has read without a pause, even thousands of a few bytes. Other tasks run
    after every :data:`SMALL_PIECES` of them.
    """

    def __init__(self, response: WireResponse) -> None:
        encoding = response.headers.get("content-encoding")
        self._body = response.body
        self._decompressor = None if encoding is None else Decompressor(encoding)
        self._pieces: Iterator[bytes] = iter(())
        self._is_first = True
        self._small = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._decompressor is None:
            return await self._next_piece()
        while True:
            for piece in self._pieces:
                if not self._is_first:  # a few bytes can inflate to many: let other tasks run in between
                    await anyio.lowlevel.checkpoint()
                self._is_first = False
                return piece
            try:
                compressed = await self._next_piece()
            except StopAsyncIteration:
                self._decompressor.finish()
                raise
            self._pieces, self._is_first = self._decompressor.feed(compressed), True

    async def _next_piece(self) -> bytes:
        if self._small == SMALL_PIECES:
            await anyio.lowlevel.checkpoint()
            self._small = 0
        piece = await anext(self._body)
        self._small += len(piece) < _SMALL
        return piece


async def parse_response(
    state: CallState[T], reader: ResponseReader, sink: ImageSink, host: Host
) -> Result[T] | Failure:
    """Parse a response that was read to its end, in a thread if it is large."""
    if reader.scanner.is_large:
        return await run_blocking(_parse_response, state, reader, sink, host)
    return _parse_response(state, reader, sink, host)


def _parse_response(
    state: CallState[T], reader: ResponseReader, sink: ImageSink, host: Host
) -> Result[T] | Failure:
    assert reader.status is not None  # noqa: S101 - only called after the head of the response
    call, request = state.call, state.call.request
    if reader.succeeded:
        try:
            if reader.problem is not None:
                raise reader.problem
            document: Any = None
            if reader.is_image:
                document = {"data": [{"b64_json": ImageRef(0)}]}
            elif not call.raw:
                document = reader.scanner.document(reader.key, sink.texts)
                if request.weight:
                    check_entries(document, request.weight)
            if not is_error_document(document):
                parsed = call.parse(document)
                billed_before = state.maybe_billed_before
                return Result(parsed, reader.headers, sink, state.started, billed_before, reader.status)
        except ScanError as problem:
            billed, request_id = request.billed, reader.request_id
            return unreadable_failure(problem, status=reader.status, request_id=request_id, billed=billed)
    return status_failure(
        reader.status,
        reader.headers,
        reader.scanner.rest(),
        now=datetime.now(UTC),
        requested=request.weight,
        model=request.model,
        path=request.path,
        better_base_url=host.suggested_base_url,
        key=reader.key,
        is_openai=host.is_openai,
    )


def reason_of(error: TransportError, key: Secret) -> str:
    """Return the reason of a broken exchange without the key: a library may quote the bytes that it refuses."""
    return excerpt(key.removed_from(str(error)), _MAX_REASON)


def connection_failure(
    reason: str, body: TrackedBody, *, timed_out: bool, billed: bool, origin: str = ""
) -> Failure:
    """Return the failure of an exchange with the server at ``origin`` that ended without a response."""
    error: errors.APIConnectionError
    if body.complete:
        error_class = errors.OutcomeUnknownTimeoutError if timed_out else errors.OutcomeUnknownError
        error = error_class(f"The request was sent and no answer came ({reason}).", maybe_billed=billed)
    elif timed_out:
        error = errors.APITimeoutError(f"The request could not be sent in time ({reason}).")
    else:
        where = f" at {origin}" if origin else ""
        remedies = () if body.started else (Remedy.CHECK_CONNECTION,)
        error = errors.APIConnectionError(
            f"The server{where} could not be reached ({reason}).", remedies=remedies
        )
    return Failure(error, classify(error))


def exchange_failure(
    error: TimeoutError | TransportError,
    body: TrackedBody,
    reader: ResponseReader,
    *,
    billed: bool,
    origin: str,
) -> Failure:
    """Return the failure of an exchange that ended with ``error``; raise the error of a local file instead."""
    if isinstance(error, TimeoutError):
        failure = connection_failure("no whole answer came in time", body, timed_out=True, billed=billed)
        return evolve(failure, kind="unreadable") if reader.succeeded and body.complete else failure
    if body.error is not None:
        raise body.error from None
    reason = reason_of(error, reader.key)
    if reader.succeeded:
        problem = ScanError(f"the answer was cut short ({reason})")
        return unreadable_failure(problem, status=None, request_id=reader.request_id, billed=billed)
    failure = connection_failure(reason, body, timed_out=error.timed_out, billed=billed, origin=origin)
    failure.error.__cause__ = error.__cause__
    return failure


def lack_failure(lack: str, body: TrackedBody, reader: ResponseReader, *, billed: bool) -> Failure:
    """Return the failure of an attempt for which this machine lacks memory or a thread. It is not retried if billed."""
    if reader.succeeded:
        problem = FixedCapError(f"there is {lack} to read the response")
        return unreadable_failure(problem, request_id=reader.request_id, billed=billed)
    failure = connection_failure(f"this machine has {lack}", body, timed_out=False, billed=billed)
    failure.error.remedies = ()
    return evolve(failure, should_retry=False if body.complete else None)

"""One attempt: open the exchange, feed the scanner, fill the sink, and say what came of it.

Knows how far the request got (:class:`TrackedBody`) and what came back (:class:`ResponseReader`). Whether to try again is not
its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Self

import anyio.lowlevel
from attrs import define, field

from imagesdk._engine.call import Call, Result, T
from imagesdk._engine.request_body import TrackedBody
from imagesdk._engine.sink import ImageSink
from imagesdk._media.sniff import is_text, sniff
from imagesdk._protocol.api_errors import is_error_document, status_failure, unreadable_failure
from imagesdk._protocol.decompression import Decompressor
from imagesdk._protocol.retry import Failure, classify
from imagesdk._protocol.scanner import ImageEnd, ImagePiece, ImageRef, ImageStart, ScanError, Scanner
from imagesdk._protocol.secret import Secret
from imagesdk._transport.exchange import Transport, TransportError, WireRequest, WireResponse
from imagesdk.errors import (
    APIConnectionError,
    APITimeoutError,
    OutcomeUnknownError,
    OutcomeUnknownTimeoutError,
)
from imagesdk.remedies import Remedy

_TEXTS = frozenset({"application/json", "text/html", "text/plain"})
_HEAD = 512
"""Bytes that are enough to tell text from a picture."""
_TELLING = 64
"""Bytes that are needed to know a picture by how it begins."""


@define
class ResponseReader:
    """What one attempt has brought back so far."""

    scanner: Scanner = field(factory=Scanner)
    status: int | None = None
    """``None`` until the head of the answer has come."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Without the key, which a server may have put into them."""
    problem: ScanError | None = None
    """Why the body cannot be read, if it cannot."""
    good_below: int = 300
    """The lowest status that is an error."""
    is_picture: bool = False
    """Whether the body is a picture itself, which went to the sink, rather than JSON around it."""
    key: Secret | None = None

    def begin(self, incoming: WireResponse) -> None:
        """Take what the head of the answer says."""
        key = self.key
        self.status = incoming.status
        self.headers = (
            {name: key.removed_from(value) for name, value in incoming.headers.items()}
            if key
            else incoming.headers
        )

    @property
    def request_id(self) -> str | None:
        """The server's id of the request."""
        return self.headers.get("x-request-id")

    @property
    def succeeded(self) -> bool:
        """Whether the status says that the work was done."""
        return self.status is not None and 200 <= self.status < self.good_below


async def receive(
    transport: Transport,
    request: WireRequest,
    answer: ResponseReader,
    sink: ImageSink,
    *,
    on_headers: Callable[[], None],
    raw: bool = False,
) -> None:
    """Make one exchange, filling ``answer``, and put the pictures into ``sink``: a ``raw`` answer is one itself.

    Raises:
        WireError: the exchange broke.
        OSError: the disk refuses.
    """
    async with transport.exchange(request) as incoming:
        on_headers()
        answer.begin(incoming)
        await (read_raw if raw and answer.succeeded else read_body)(incoming, answer, sink)


async def read_body(incoming: WireResponse, answer: ResponseReader, sink: ImageSink) -> None:
    """Read an answer to its end: JSON with pictures in it, or a picture itself, as some servers send when asked."""
    try:
        body = DecompressedBody(incoming)
        if answer.succeeded:
            first = b""
            async for chunk in body:
                first += chunk
                if len(first) >= _TELLING:
                    break
            if _is_picture(incoming.headers.get("content-type", ""), first):
                answer.is_picture = True
                await _take_file(first, body, sink, answer.scanner.count_image)
                return
            await _scan(first, answer, sink)
        async for chunk in body:
            await _scan(chunk, answer, sink)
    except ScanError as error:
        answer.problem = error


async def read_raw(incoming: WireResponse, answer: ResponseReader, sink: ImageSink) -> None:
    """Read an answer whose body is a file."""
    try:
        await _take_file(b"", DecompressedBody(incoming), sink, answer.scanner.count)
    except ScanError as error:
        answer.problem = error


async def _scan(chunk: bytes, answer: ResponseReader, sink: ImageSink) -> None:
    for event in answer.scanner.feed(chunk):
        await sink.write(event)


async def _take_file(
    first: bytes, rest: DecompressedBody, sink: ImageSink, count: Callable[[bytes], None]
) -> None:
    await sink.write(ImageStart(0))
    count(first)
    await sink.write(ImagePiece(0, first))
    async for chunk in rest:
        count(chunk)
        await sink.write(ImagePiece(0, chunk))
    await sink.write(ImageEnd(0))


def _is_picture(content_type: str, first: bytes) -> bool:
    """Whether a body that begins so is a picture. What could be JSON, or says that it is text, is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if first.lstrip()[:1] in {b"{", b"["} or kind in _TEXTS:
        return False
    return sniff(first).media_type is not None or (kind.startswith("image/") and not is_text(first[:_HEAD]))


class DecompressedBody:
    """The plain body of an answer in small pieces. (A class, as :class:`TrackedBody` is: it may be left in its middle.)

    Raises:
        ScanError: (on iteration) its compression is unknown, corrupt or cut short.
        WireError: (on iteration) the exchange broke.
    """

    def __init__(self, incoming: WireResponse) -> None:
        self._raw = incoming.body
        self._inflater = Decompressor(incoming.headers.get("content-encoding"))
        self._pieces: Iterator[bytes] = iter(())
        self._fresh = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            for piece in self._pieces:
                if not self._fresh:  # a little can be inflated to a lot, and others want the loop, too
                    await anyio.lowlevel.checkpoint()
                self._fresh = False
                return piece
            async for raw in self._raw:
                self._pieces, self._fresh = self._inflater.feed(raw), True
                break
            else:
                self._inflater.finish()
                raise StopAsyncIteration


def parse_response(
    call: Call[T],
    answer: ResponseReader,
    sink: ImageSink,
    key: Secret,
    *,
    attempts: int,
    maybe_billed_before: bool,
) -> Result[T] | Failure:
    """Return what a whole answer says."""
    assert answer.status is not None  # noqa: S101 - there was an answer
    if answer.succeeded:
        try:
            if answer.problem is not None:
                raise answer.problem
            document = None if call.raw else _document(answer)
            if not is_error_document(document):
                parsed = call.parse(document)
                return Result(
                    parsed, answer.headers, sink, attempts, maybe_billed_before, status=answer.status
                )
        except ScanError as problem:
            return unreadable_failure(problem, request_id=answer.request_id, billed=call.request.billed)
    return status_failure(
        answer.status,
        answer.headers,
        key.removed_from(answer.scanner.rest().decode("latin-1")).encode("latin-1"),
        now=datetime.now(UTC),
        requested=call.request.weight,
        model=call.request.model,
        path=call.request.path,
        better_base_url=call.server.suggested_base_url if call.server else None,
    )


def _document(answer: ResponseReader) -> Any:
    return {"data": [{"b64_json": ImageRef(0)}]} if answer.is_picture else answer.scanner.document()


def connection_failure(
    reason: str, body: TrackedBody, *, timed_out: bool, billed: bool, origin: str = ""
) -> Failure:
    """Return the failure of an exchange with the server at ``origin`` that ended without an answer."""
    error: APIConnectionError
    if body.complete:
        kind = OutcomeUnknownTimeoutError if timed_out else OutcomeUnknownError
        error = kind(f"The request was sent and no answer came ({reason}).", maybe_billed=billed)
    elif timed_out:
        error = APITimeoutError(f"The request could not be sent in time ({reason}).")
    else:
        where = f" at {origin}" if origin else ""
        remedies = () if body.started else (Remedy.CHECK_CONNECTION,)
        error = APIConnectionError(f"The server{where} could not be reached ({reason}).", remedies=remedies)
    return Failure(error, classify(error))


def exchange_failure(
    error: TimeoutError | TransportError,
    body: TrackedBody,
    answer: ResponseReader,
    *,
    billed: bool,
    origin: str = "",
) -> Failure:
    """Return the failure of an exchange with the server at ``origin`` that ended with ``error``.

    Raises:
        OSError: it was a local file that ended it.
    """
    if isinstance(error, TimeoutError):
        return connection_failure("no whole answer came in time", body, timed_out=True, billed=billed)
    if body.error is not None:
        raise body.error from None
    if answer.succeeded:
        problem = ScanError(f"the answer was cut short ({error})")
        failure = unreadable_failure(problem, request_id=answer.request_id, billed=billed)
    else:
        failure = connection_failure(
            str(error), body, timed_out=error.timed_out, billed=billed, origin=origin
        )
        failure.error.__cause__ = error.__cause__
    return failure

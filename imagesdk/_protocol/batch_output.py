"""Output and error files of batches: lines of JSON with images, read piece by piece. Pure.

:class:`BatchFileScanner` takes chunks of a file and returns the images of each line while they arrive, then the line
without them. A line that cannot be read does not affect the next one.

====================================================  =========================================
line                                                  result
====================================================  =========================================
status 2xx with an image                              the response
status 2xx without an image, or not readable          failure ``unreadable``: billed
status 3xx or 4xx                                     failure ``refused``: not billed
status 5xx, 0, none, or an error of another kind      failure ``unknown``: maybe billed
error ``batch_expired`` or ``batch_cancelled``        failure ``never_sent``: the request was not begun
====================================================  =========================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from imagesdk import errors
from imagesdk._protocol.api_errors import is_error_document, status_failure, unreadable_failure
from imagesdk._protocol.json_values import dump_json, is_object, text
from imagesdk._protocol.responses import ParsedResponse, parse_response
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.scanner import MAX_IMAGE, MAX_RESPONSE, Event, ScanError, Scanner, without_images
from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk.errors import excerpt
from imagesdk.models import ModelProfile

_MOST_IMAGES = 10
"""Images that one request may ask for."""
_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')
_UNDONE = frozenset({"batch_expired", "batch_cancelled", "batch_canceled", "request_cancelled"})
_SHOWN = 300


@frozen
class LineEnd:
    """The end of a line: its scanner, which has the line without its images."""

    scanner: Scanner
    end: int
    """Offset in the file behind the line."""
    problem: ScanError | None = None
    """Why the line cannot be read, if it cannot."""


LineEvent: TypeAlias = Event | LineEnd


@frozen
class OutputLine:
    """A line of an output or error file."""

    custom_id: str | None
    """``None`` if the line has none that can be read."""
    status: int | None = None
    request_id: str | None = None
    body: Any = None
    error: Mapping[str, Any] | None = field(default=None)
    problem: ScanError | None = None


class BatchFileScanner:
    """Scanner of a file from byte ``start``, where a line begins."""

    def __init__(
        self, *, start: int = 0, max_image: int = MAX_IMAGE, max_response: int = MAX_RESPONSE
    ) -> None:
        self._max_image = max_image
        self._max_response = max_response
        self._scanner: Scanner | None = None
        self._problem: ScanError | None = None
        self._offset = start
        self.complete = start
        """Offset behind the last complete line."""

    def steps(self, chunk: bytes) -> Iterator[list[LineEvent]]:
        """Scan the next chunk in short steps and yield the events of each."""
        at = 0
        while at < len(chunk):
            newline = chunk.find(b"\n", at)
            end = len(chunk) if newline < 0 else newline
            yield from self._scan(chunk[at:end] if at or end < len(chunk) else chunk)
            self._offset += end - at
            at = end
            if newline >= 0:
                self._offset += 1
                at += 1
                yield self._end_line()

    def finish(self) -> list[LineEvent]:
        """Return the last line of a file that does not end with a line break."""
        return self._end_line()

    def _scan(self, piece: bytes) -> Iterator[list[LineEvent]]:
        if self._scanner is None:
            if not piece.strip():
                return
            self._scanner = Scanner(
                max_image=self._max_image, max_response=self._max_response, images=_MOST_IMAGES
            )
        if self._problem is not None:
            return
        steps = self._scanner.steps(piece)
        while True:
            try:
                events = next(steps, None)
            except ScanError as problem:
                self._problem = problem
                return
            if events is None:
                return
            yield list[LineEvent](events)

    def _end_line(self) -> list[LineEvent]:
        scanner, problem = self._scanner, self._problem
        self._scanner = self._problem = None
        self.complete = self._offset
        return [] if scanner is None else [LineEnd(scanner, self._offset, problem)]


def read_line(end: LineEnd, texts: Mapping[int, str], key: Secret = NO_KEY) -> OutputLine:
    """Parse a line. ``texts`` are its images that are texts, by their number."""
    try:
        if end.problem is not None:
            raise end.problem
        document = end.scanner.document(key, texts)
        if not is_object(document):
            raise ScanError("the line is not an object")
    except ScanError as problem:
        return OutputLine(_custom_id(end.scanner.rest()), problem=problem)
    response, error = document.get("response"), document.get("error")
    custom_id = document.get("custom_id")
    found = OutputLine(
        custom_id if isinstance(custom_id, str) else None,
        error=without_images(error) if is_object(error) else {"message": text(error)} if error else None,
    )
    if not is_object(response):
        return found
    status = response.get("status_code")
    return OutputLine(
        found.custom_id,
        status if type(status) is int else None,
        text(response.get("request_id")),
        response.get("body"),
        found.error,
    )


def line_result(
    line: OutputLine,
    *,
    profile: ModelProfile | None,
    now: datetime,
    images: int,
    model: str | None,
    path: str,
    is_openai: bool,
) -> ParsedResponse | Failure:
    """Return the result of a line, by the table of the module. ``images`` is the number that its request asked for."""
    if line.problem is not None:
        return unreadable_failure(line.problem, request_id=line.request_id)
    if line.status is None:
        return _failure_without_response(line)
    success = 200 <= line.status < 300
    if success and not is_error_document(line.body):
        try:
            return parse_response(line.body, profile)
        except ScanError as problem:
            return unreadable_failure(problem, status=line.status, request_id=line.request_id)
    if not success and line.status < 300:
        return _unknown(line, f"The batch has the status {line.status} for this request, which says nothing.")
    headers = {} if line.request_id is None else {"x-request-id": line.request_id}
    return status_failure(
        line.status,
        headers,
        dump_json(without_images(line.body)),
        now=now,
        requested=images,
        model=model,
        path=path,
        is_openai=is_openai,
    )


def is_undone(line: OutputLine) -> bool:
    """Whether a line proves that its request was not begun."""
    return line.status is None and line.error is not None and line.error.get("code") in _UNDONE


def _failure_without_response(line: OutputLine) -> Failure:
    if line.error is None:
        return _unknown(line, "The batch has neither a response nor an error for this request.")
    code, message = text(line.error.get("code")), text(line.error.get("message")) or "no reason is given"
    shown = f"{excerpt(message, _SHOWN)}{f' ({excerpt(code)})' if code else ''}"
    if is_undone(line):
        error = errors.APIConnectionError(f"The batch ended before this request was begun: {shown}")
        return Failure(error, "never_sent")
    return _unknown(line, f"The batch has an error for this request: {shown}")


def _unknown(line: OutputLine, summary: str) -> Failure:
    error = errors.OutcomeUnknownError(summary, request_id=line.request_id, maybe_billed=True)
    return Failure(error, "unknown")


def _custom_id(rest: bytes) -> str | None:
    found = _CUSTOM_ID.search(rest)
    try:
        return None if found is None else str(json.loads(found[1]))
    except ValueError:
        return None

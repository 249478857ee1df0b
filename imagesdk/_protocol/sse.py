"""Incremental parser of server-sent events that decodes the images in their data.

An event of an image stream is one line of megabytes. Its data goes through a :class:`.Scanner`, so that no line is held in
memory. The caps of the scanner limit the size of an event. Blank lines and comments are skipped without a loop in Python,
and the numbers of other lines and of events have caps, so that the time is proportional to the bytes.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from attrs import frozen

from imagesdk._protocol.scanner import MAX_IMAGE, STEP_BYTES, Event, FixedCapError, ScanError, Scanner

MAX_LINE = 64 * 1024
"""Maximum length of a line that is not data, in bytes."""
MAX_EVENTS = 10_000
"""Maximum number of events in a stream."""
MAX_LINES = 100_000
"""Maximum number of lines in a stream besides blank lines and comments."""
STEP_LINES = 40
"""Maximum number of lines that are parsed in one step."""

_BOM = b"\xef\xbb\xbf"
_IGNORED = re.compile(rb"(?:(?::[^\r\n]*)?(?:\n|\r\n|\r(?=[^\n])))+")
"""Blank lines and comments that end within a chunk."""
_SKIPPED = 4096  # bytes of them at once


@frozen
class DataStart:
    """The start of the data of an event."""

    event: str
    """The name of the event if it precedes the data, otherwise ``message``."""


@frozen
class Message:
    """A complete event. The images since the last message belong to it, with numbers from 0."""

    event: str
    scanner: Scanner
    """The scanner with the data of the event, without the images."""


Item: TypeAlias = Event | DataStart | Message


class EventStream:
    """Parser of one stream. An event that no empty line ends is ignored."""

    def __init__(self, *, max_image: int = MAX_IMAGE, images: int | None = None) -> None:
        self._max_image = max_image
        self._images = images
        self._lines = self._events = 0
        self._line = bytearray()  # the current line, unless it is data
        self._in_data = False
        self._skip_space = False
        self._after_return = False
        self._bom_checked = False
        self._name = ""
        self._scanner: Scanner | None = None

    def feed(self, chunk: bytes) -> list[Item]:
        """Parse the next chunk and return its events. Raise :class:`.ScanError` for invalid base64 and exceeded caps."""
        return [item for items in self.steps(chunk) for item in items]

    def steps(self, chunk: bytes) -> Iterator[list[Item]]:
        """Parse the next chunk in short steps and yield the events of each."""
        if len(chunk) <= STEP_BYTES:
            return self._steps(chunk)
        pieces = (chunk[at : at + STEP_BYTES] for at in range(0, len(chunk), STEP_BYTES))
        return (items for piece in pieces for items in self._steps(piece))

    def _steps(self, chunk: bytes) -> Iterator[list[Item]]:
        items: list[Item] = []
        at = lines = 0
        if self._after_return and chunk:
            self._after_return = False
            at = chunk[:1] == b"\n"
        while at < len(chunk):
            lines += 1
            if lines % STEP_LINES == 0:
                yield items
                items = []
            if self._between_events and (ignored := _IGNORED.match(chunk, at, at + _SKIPPED)) is not None:
                at = ignored.end()
                continue
            end = _line_end(chunk, at)
            piece = self._data_of(chunk[at : len(chunk) if end < 0 else end], items)
            if piece and self._scanner is not None:
                for step, events in enumerate(self._scanner.steps(piece)):
                    if step:
                        yield items
                        items = []
                    items += events
            if end < 0:
                break
            self._end_line(items)
            at = end + 1
            if chunk[end] == 0x0D:
                self._after_return = at == len(chunk)
                at += chunk[at : at + 1] == b"\n"
        yield items

    @property
    def _between_events(self) -> bool:
        is_outside = self._bom_checked and not self._line and not self._in_data
        return is_outside and self._scanner is None and not self._name

    def _data_of(self, piece: bytes, items: list[Item]) -> bytes:
        """Return the part of a piece of a line that is data."""
        if not self._in_data:
            self._line += piece
            if not self._bom_checked and len(self._line) >= len(_BOM):
                self._bom_checked = True
                if self._line.startswith(_BOM):
                    del self._line[: len(_BOM)]
            if not self._line.startswith(b"data:"):
                if len(self._line) > MAX_LINE:
                    raise ScanError(f"the stream has a line of more than {MAX_LINE} bytes that is not data")
                return b""
            piece = bytes(self._line[5:])
            self._line.clear()
            self._begin_data(items)
        if self._skip_space and piece:
            self._skip_space = False
            piece = piece.removeprefix(b" ")
        return piece

    def _begin_data(self, items: list[Item]) -> None:
        self._in_data = self._skip_space = True
        if self._scanner is None:
            self._events += 1
            if self._events > MAX_EVENTS:
                raise FixedCapError(f"the stream has more than {MAX_EVENTS} events")
            self._scanner = Scanner(max_image=self._max_image, images=self._images)
            items.append(DataStart(self._name or "message"))
        else:
            items += self._scanner.feed(b"\n")  # a second line of data

    def _end_line(self, items: list[Item]) -> None:
        line = bytes(self._line)
        self._line.clear()
        self._bom_checked = True
        self._lines += 1
        if self._lines > MAX_LINES:
            raise FixedCapError(f"the stream has more than {MAX_LINES} lines")
        if self._in_data:
            self._in_data = False
        elif line == b"data":
            self._begin_data(items)
            self._in_data = False
        elif not line:
            if self._scanner is not None:
                items.append(Message(self._name or "message", self._scanner))
            self._scanner, self._name = None, ""
        elif line.startswith(b"event:"):
            self._name = line[6:].removeprefix(b" ").decode("utf-8", "replace")


def _line_end(chunk: bytes, at: int) -> int:
    feed = chunk.find(b"\n", at)
    back = chunk.find(b"\r", at, len(chunk) if feed < 0 else feed)
    return feed if back < 0 else back

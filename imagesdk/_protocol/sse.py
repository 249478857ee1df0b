"""Incremental parser of server-sent events that decodes the images in their data.

An event of an image stream is one line of megabytes. Its data goes through a :class:`.Scanner`, so that no line is held in
memory. The caps of the scanner limit the size of an event.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from imagesdk._protocol.scanner import MAX_IMAGE, Event, ScanError, Scanner

MAX_LINE = 64 * 1024
"""Maximum length of a line that is not data, in bytes."""

_BOM = b"\xef\xbb\xbf"


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

    def __init__(self, *, max_image: int = MAX_IMAGE) -> None:
        self._max_image = max_image
        self._line = bytearray()  # the current line, unless it is data
        self._in_data = False
        self._skip_space = False
        self._after_return = False
        self._bom_checked = False
        self._name = ""
        self._scanner: Scanner | None = None

    def feed(self, chunk: bytes) -> list[Item]:
        """Parse the next chunk and return its events. Raise :class:`.ScanError` for invalid base64 and exceeded caps."""
        items: list[Item] = []
        at = 0
        if self._after_return and chunk:
            self._after_return = False
            at = chunk[:1] == b"\n"
        while at < len(chunk):
            end = _line_end(chunk, at)
            self._feed_line(chunk[at : len(chunk) if end < 0 else end], items)
            if end < 0:
                break
            self._end_line(items)
            at = end + 1
            if chunk[end] == 0x0D:
                self._after_return = at == len(chunk)
                at += chunk[at : at + 1] == b"\n"
        return items

    def _feed_line(self, piece: bytes, items: list[Item]) -> None:
        if not self._in_data:
            self._line += piece
            if not self._bom_checked and len(self._line) >= len(_BOM):
                self._bom_checked = True
                if self._line.startswith(_BOM):
                    del self._line[: len(_BOM)]
            if not self._line.startswith(b"data:"):
                if len(self._line) > MAX_LINE:
                    raise ScanError(f"the stream has a line of more than {MAX_LINE} bytes that is not data")
                return
            piece = bytes(self._line[5:])
            self._line.clear()
            self._begin_data(items)
        if self._skip_space and piece:
            self._skip_space = False
            piece = piece.removeprefix(b" ")
        if piece and self._scanner is not None:
            items += self._scanner.feed(piece)

    def _begin_data(self, items: list[Item]) -> None:
        self._in_data = self._skip_space = True
        if self._scanner is None:
            self._scanner = Scanner(max_image=self._max_image)
            items.append(DataStart(self._name or "message"))
        else:
            items += self._scanner.feed(b"\n")  # a second line of data

    def _end_line(self, items: list[Item]) -> None:
        line = bytes(self._line)
        self._line.clear()
        self._bom_checked = True
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

"""Server-sent events, cut anywhere, with the pictures inside their data decoded while they arrive.

An event of a picture stream is one line of megabytes. Its data goes through a scanner of its own, so that there is
no line to hold and no cap on an event but those of the scanner.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from imagesdk._protocol.scanner import MAX_IMAGE, Event, ScanError, Scanner

MAX_LINE = 64 * 1024
"""Bytes that a line may have which is not data."""

_BOM = b"\xef\xbb\xbf"


@frozen
class DataStart:
    """The data of an event begins."""

    event: str
    """Its name, so far as it was said by then; ``message`` when it was not."""


@frozen
class Message:
    """One event is whole. The pictures announced since the last message are its own, numbered from 0."""

    event: str
    """Its name; ``message`` when the server gave none."""
    scanner: Scanner
    """Holds its data without the pictures."""


Item: TypeAlias = Event | DataStart | Message


class EventStream:
    """One stream. Feed it all chunks; an event that is not ended by an empty line is not one."""

    def __init__(self, *, max_image: int = MAX_IMAGE) -> None:
        self._max_image = max_image
        self._line = bytearray()  # the current line, while it is not known to be data
        self._in_data = False
        self._skip_space = False
        self._after_return = False
        self._bom_checked = False
        self._name = ""
        self._scanner: Scanner | None = None

    def feed(self, chunk: bytes) -> list[Item]:
        """Take the next chunk and return what it brings.

        Raises:
            ScanError: bad base64, a line too long, or data beyond a cap.
        """
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
        """Take a piece of a line."""
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

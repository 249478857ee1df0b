"""Content encodings of answers: inflate gzip and deflate piece by piece.

We ask for ``identity``, because pictures do not shrink, and still read what a server compresses unasked.
No piece is larger than :data:`PIECE`, so that a cap behind it stops a bomb early.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from imagesdk._protocol.scanner import ScanError

PIECE = 64 * 1024
"""Bytes that one step yields at most."""


class Decompressor:
    """Undoes one ``content-encoding``.

    Raises:
        ScanError: (all methods) an encoding that was not asked for, corrupt data, or an end too early.
    """

    def __init__(self, encoding: str | None) -> None:
        name = (encoding or "identity").strip().lower()
        if name not in {"identity", "", "gzip", "x-gzip", "deflate"}:
            raise ScanError(f"the answer is compressed with {name!r}, which was not asked for")
        self._compressed = name not in {"identity", ""}
        self._inflate = zlib.decompressobj(wbits=47)
        self._empty = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` adds to the plain answer."""
        if not self._compressed:
            yield data
            return
        self._empty = self._empty and not data
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(wbits=47)  # a gzip answer may have several members
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error as error:
                raise ScanError(f"the answer's compression is corrupt ({error})") from None
            if piece:
                yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def finish(self) -> None:
        """Check that the compressed answer was whole."""
        if self._compressed and not self._empty and not self._inflate.eof:
            raise ScanError("the compressed answer ends too early")

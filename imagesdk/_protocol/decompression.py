"""Incremental decompression of responses: gzip and deflate.

The client requests ``identity``, because images do not compress, but accepts servers that compress anyway. No piece is
larger than :data:`PIECE`, so that the reader's cap stops a decompression bomb early.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from imagesdk._protocol.scanner import ScanError

PIECE = 64 * 1024
"""Maximum size of a decompressed piece in bytes."""
_LONGEST_NAME = 16  # of an encoding that is quoted


class Decompressor:
    """Decompressor for one response. Refuse an unsupported ``content-encoding``, and corrupt or truncated data."""

    def __init__(self, encoding: str | None) -> None:
        name = (encoding or "identity").strip().lower()
        if name not in {"identity", "", "gzip", "x-gzip", "deflate"}:
            shown = repr(name) if len(name) <= _LONGEST_NAME else "an encoding"
            raise ScanError(f"the response is compressed with {shown}, which was not asked for")
        self._compressed = name not in {"identity", ""}
        self._inflate = zlib.decompressobj(wbits=47)
        self._empty = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed pieces of ``data``."""
        if not self._compressed:
            yield data
            return
        self._empty = self._empty and not data
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(wbits=47)  # a gzip response may have several members
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error as error:
                raise ScanError(f"the response's compression is corrupt ({error})") from None
            if piece:
                yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def finish(self) -> None:
        """Check that the compressed data is complete."""
        if self._compressed and not self._empty and not self._inflate.eof:
            raise ScanError("the compressed response ends too early")

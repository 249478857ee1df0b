"""Small pictures as bytes, and the answers of the API that hold them."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any


def png(width: int = 1, height: int = 1, *, alpha: bool = True, padding: int = 0) -> bytes:
    """Return a black PNG; ``padding`` bytes of a chunk that nobody reads make it larger."""
    row = b"\x00" + bytes(width * (4 if alpha else 3))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6 if alpha else 2, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(row * height)),
            _chunk(b"paDd", bytes(padding)) if padding else b"",
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


JPEG = b"\xff\xd8\xff\xe0\x00\x04\x00\x00\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00\xff\xd9"
"""The head of a JPEG of 3 times 2 pixels."""
WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"


def answer(*pictures: bytes, **fields: Any) -> bytes:
    data = [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures]
    return json.dumps({"created": 1_700_000_000, "data": data, **fields}).encode()


def answer_of_urls(*urls: str) -> bytes:
    return json.dumps({"created": 1_700_000_000, "data": [{"url": url} for url in urls]}).encode()


def usage(output_tokens: int) -> dict[str, Any]:
    """Return the usage of a response to a prompt of 10 tokens."""
    counts = {"input_tokens": 10, "output_tokens": output_tokens, "total_tokens": 10 + output_tokens}
    return {**counts, "input_tokens_details": {"text_tokens": 10, "image_tokens": 0}}

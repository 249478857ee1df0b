"""What a picture is, read from its first bytes: format, pixel size, alpha.

Pure functions over ``bytes``; no decoding, no file, no library. An unknown format or a header that is
cut short gives ``None`` facts, never an exception: the server has the last word on what it can read.
"""

from __future__ import annotations

import struct

from attrs import frozen

HEAD_SIZE = 256 * 1024
"""How many leading bytes are enough for every fact (a PNG may carry a large profile before its pixels)."""

_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/svg+xml": "svg",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/avif": "avif",
    "image/heic": "heic",
}

BINARY = frozenset(_EXTENSIONS) - {"image/svg+xml"}
"""Media types of pictures that are no text."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})


@frozen
class PictureFacts:
    """What the header tells. ``None`` means that it does not tell."""

    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    alpha: bool | None = None
    """Whether pixels can be transparent: an alpha channel or a transparent palette entry."""


def extension(media_type: str | None) -> str:
    """Return the usual file name extension, without a dot; ``bin`` for what is not a known picture."""
    return _EXTENSIONS.get(media_type or "", "bin")


def sniff(head: bytes) -> PictureFacts:
    """Return the facts of the picture that begins with ``head`` (:data:`HEAD_SIZE` bytes are plenty)."""
    try:
        if head.startswith(_PNG_SIGNATURE):
            return _png(head)
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg(head)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp(head)
        if head[:6] in {b"GIF87a", b"GIF89a"}:
            width, height = struct.unpack("<HH", head[6:10])
            return PictureFacts("image/gif", width, height)
    except (struct.error, IndexError):
        pass
    return PictureFacts(_by_magic(head))


def is_text(head: bytes) -> bool:
    """Whether what begins with ``head`` is text: a page or a message, or one of the few pictures that are written."""
    try:
        words = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or not error.start:  # else a character is cut in two
            return False
        words = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in words)


def _by_magic(head: bytes) -> str | None:
    if head.startswith(_PNG_SIGNATURE):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:4] == b"GIF8":
        return "image/gif"
    if head[:2] == b"BM":
        return "image/bmp"
    if head[:4] in {b"II*\x00", b"MM\x00*"}:
        return "image/tiff"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in {b"avif", b"avis"}:
            return "image/avif"
        if brand in {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}:
            return "image/heic"
    text = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "image/svg+xml"
    return None


def _png(head: bytes) -> PictureFacts:
    # https://www.w3.org/TR/png-3/#11IHDR: colour types 4 and 6 have an alpha channel; tRNS gives the
    # others transparent colours, and stands before the first IDAT.
    if head[12:16] != b"IHDR":
        return PictureFacts("image/png")
    width, height, _depth, colour = struct.unpack(">IIBB", head[16:26])
    if colour in {4, 6}:
        return PictureFacts("image/png", width, height, alpha=True)
    at = 8
    while at + 8 <= len(head):
        (length,) = struct.unpack(">I", head[at : at + 4])
        kind = head[at + 4 : at + 8]
        if kind == b"tRNS":
            return PictureFacts("image/png", width, height, alpha=True)
        if kind in {b"IDAT", b"IEND"}:
            return PictureFacts("image/png", width, height, alpha=False)
        at += 12 + length
    return PictureFacts("image/png", width, height)


def _jpeg(head: bytes) -> PictureFacts:
    # https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1.1: segments of marker and length until a frame header.
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            break
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return PictureFacts("image/jpeg", width, height, alpha=False)
        (length,) = struct.unpack(">H", head[at + 2 : at + 4])
        at += 2 + length
    return PictureFacts("image/jpeg", alpha=False)


def _webp(head: bytes) -> PictureFacts:
    # https://developers.google.com/speed/webp/docs/riff_container
    kind = head[12:16]
    if kind == b"VP8X":
        flags, _reserved, width, height = struct.unpack("<B3s3s3s", head[20:30])
        return PictureFacts(
            "image/webp",
            1 + int.from_bytes(width, "little"),
            1 + int.from_bytes(height, "little"),
            alpha=bool(flags & 0x10),
        )
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        return PictureFacts(
            "image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), alpha=bool(bits >> 28 & 1)
        )
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return PictureFacts("image/webp", width & 0x3FFF, height & 0x3FFF, alpha=False)
    return PictureFacts("image/webp")

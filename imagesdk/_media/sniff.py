"""Image facts from the first bytes of a file: format, and for what models take also size, alpha and orientation.

Pure functions over ``bytes``, without decoding. An unknown format, or a header that is cut short, has facts of
``None`` and raises nothing: the server decides what it can read. BMP, TIFF, AVIF and HEIC, which no model takes, are
only named.
"""

from __future__ import annotations

import struct
from pathlib import PurePath

from attrs import evolve, frozen

HEAD_SIZE = 256 * 1024
"""Number of leading bytes that are enough for every fact. A PNG may have a large profile before its pixels."""

OCTET_STREAM = "application/octet-stream"
"""Media type of bytes in an unknown format."""

_EXTENSIONS = {
    "image/png": ("png",),
    "image/jpeg": ("jpg", "jpeg"),
    "image/webp": ("webp",),
    "image/gif": ("gif",),
    "image/svg+xml": ("svg",),
    "image/bmp": ("bmp",),
    "image/tiff": ("tiff", "tif"),
    "image/avif": ("avif",),
    "image/heic": ("heic", "heif"),
}

BINARY = frozenset(_EXTENSIONS) - {"image/svg+xml"}
"""Media types of images that are not text."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_ORIENTATION = 0x0112
"""Tag of EXIF."""


@frozen
class ImageFacts:
    """Facts from the header of an image. ``None`` means that the header does not have the fact."""

    media_type: str | None = None
    width: int | None = None
    """In pixels, as the file stores them."""
    height: int | None = None
    alpha: bool | None = None
    """Whether pixels can be transparent: an alpha channel or a transparent palette entry."""
    orientation: int | None = None
    """EXIF orientation, 1 to 8. From 5 on, width and height are exchanged for display."""
    animated: bool | None = None
    """Whether there is more than one frame."""
    cmyk: bool | None = None
    """Whether the channels are inks (CMYK) instead of light."""
    several: bool | None = None
    """Whether the file is an MPO: a JPEG followed by further images, as many phones write it."""

    @property
    def shown(self) -> tuple[int, int] | None:
        """Width and height of the image as it is displayed, with its orientation applied; ``None`` if unknown."""
        if self.width is None or self.height is None:
            return None
        if self.orientation is None and self.width != self.height:
            return None
        return (self.height, self.width) if (self.orientation or 1) > 4 else (self.width, self.height)


def extension(media_type: str | None) -> str:
    """Return the usual file name extension, without a dot; ``bin`` for an unknown format."""
    return _EXTENSIONS.get(media_type or "", ("bin",))[0]


def named_media_type(name: str) -> str | None:
    """Return the media type for the extension of a file name; ``None`` if it is not that of an image."""
    ending = PurePath(name).suffix.lower().lstrip(".")
    return next((kind for kind, endings in _EXTENSIONS.items() if ending in endings), None)


def sniff(head: bytes) -> ImageFacts:
    """Return the facts of the image that begins with ``head``. :data:`HEAD_SIZE` bytes are enough."""
    facts = ImageFacts(_by_magic(head))
    readers = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp, "image/gif": _gif}
    read = readers.get(facts.media_type or "")
    try:
        return facts if read is None else read(head, facts)
    except (struct.error, IndexError):
        return facts


def is_text(head: bytes) -> bool:
    """Return whether ``head`` is the beginning of a text, such as an HTML page, in any encoding, or an SVG."""
    if head[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return True
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
    if head[:6] in {b"GIF87a", b"GIF89a"}:
        return "image/gif"
    if head[:2] == b"BM":
        return "image/bmp"
    if head[:4] in {b"II*\x00", b"MM\x00*"}:
        return "image/tiff"
    if head[4:8] == b"ftyp":
        brands = _brands(head)
        if brands and (brands[0] in _AVIF_BRANDS or (brands[0] in _HEIC_BRANDS and b"avif" in brands)):
            return "image/avif"
        if brands and brands[0] in _HEIC_BRANDS:
            return "image/heic"
    text = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    is_svg = text.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text
    return "image/svg+xml" if is_svg else None


def _png(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://www.w3.org/TR/png-3/#11IHDR: colour types 4 and 6 have an alpha channel; tRNS gives the
    # others transparent colours. That, acTL and (by recommendation) eXIf stand before the first IDAT.
    if head[12:16] != b"IHDR":
        return facts
    width, height, _, colour = struct.unpack(">IIBB", head[16:26])
    facts = evolve(facts, width=width, height=height, cmyk=False)
    alpha, animated, orientation = colour in {4, 6}, False, 1
    at = 8
    while at + 8 <= len(head):
        (length,) = struct.unpack(">I", head[at : at + 4])
        kind = head[at + 4 : at + 8]
        if kind in {b"IDAT", b"IEND"}:
            return evolve(facts, alpha=alpha, animated=animated, orientation=orientation)
        if kind == b"eXIf":
            orientation = _exif_orientation(head[at + 8 : at + 8 + length])
        alpha, animated = alpha or kind == b"tRNS", animated or kind == b"acTL"
        at += 12 + length
    return evolve(facts, alpha=alpha or None)


def _jpeg(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1.1: segments of marker and length until a frame header.
    # APP2 with MPF: https://www.cipa.jp/std/documents/e/DC-X007-KEY_E.pdf
    facts = evolve(facts, alpha=False, animated=False)
    orientation, several = 1, False
    at = 2
    while at + 10 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack(">H", head[at + 2 : at + 4])
        content = head[at + 4 : at + 2 + length]
        if marker in _JPEG_FRAMES:
            height, width, channels = struct.unpack(">HHB", head[at + 5 : at + 10])
            facts = evolve(facts, width=width, height=height, cmyk=channels == 4)
            return evolve(facts, orientation=orientation, several=several)
        if marker == 0xE1 and content.startswith(b"Exif\0"):
            orientation = _exif_orientation(content[6:])
        several = several or (marker == 0xE2 and content.startswith(b"MPF\0"))
        at += 2 + length
    return facts


def _webp(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://developers.google.com/speed/webp/docs/riff_container
    facts = evolve(facts, cmyk=False)
    kind = head[12:16]
    if kind == b"VP8X":
        flags, _reserved, width, height = struct.unpack("<B3s3s3s", head[20:30])
        return evolve(
            facts,
            width=1 + int.from_bytes(width, "little"),
            height=1 + int.from_bytes(height, "little"),
            alpha=bool(flags & 0x10),
            orientation=_webp_orientation(head) if flags & 0x08 else 1,
            animated=bool(flags & 0x02),
        )
    facts = evolve(facts, animated=False, orientation=1)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        return evolve(facts, width=width, height=height, alpha=bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return evolve(facts, width=width & 0x3FFF, height=height & 0x3FFF, alpha=False)
    return ImageFacts(facts.media_type)


def _webp_orientation(head: bytes) -> int | None:
    """Return the orientation; ``None`` if it is behind the pixels, beyond the head."""
    at = 12
    while at + 8 <= len(head):
        (length,) = struct.unpack("<I", head[at + 4 : at + 8])
        if head[at : at + 4] == b"EXIF":
            exif = head[at + 8 : at + 8 + length]
            return _exif_orientation(exif.removeprefix(b"Exif\0\0")) if len(exif) == length else None
        at += 8 + length + length % 2
    return None


def _gif(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://www.w3.org/Graphics/GIF/spec-gif89a.txt: blocks until a trailer; a frame may name a transparent colour.
    width, height, flags = struct.unpack("<HHB", head[6:11])
    facts = evolve(facts, width=width, height=height, orientation=1, cmyk=False)
    at = 13 + _palette(flags)
    frames, alpha = 0, False
    while at < len(head):
        if head[at] == 0x3B:
            return evolve(facts, animated=False, alpha=alpha)
        if head[at] == 0x21:
            alpha = alpha or (head[at + 1] == 0xF9 and bool(head[at + 3] & 1))
            at += 2
        elif head[at] == 0x2C:
            frames += 1
            if frames > 1:
                return evolve(facts, animated=True, alpha=alpha or None)
            at += 11 + _palette(struct.unpack("<B", head[at + 9 : at + 10])[0])
        else:
            break
        while at < len(head) and head[at]:
            at += 1 + head[at]
        at += 1
    return evolve(facts, alpha=alpha or None)


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation in a TIFF directory; 1 if there is none, or none that is valid."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack(f"{order}I", exif[4:8])
        (count,) = struct.unpack(f"{order}H", exif[at : at + 2])
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack(f"{order}HHI", exif[entry : entry + 8])
            if tag == _ORIENTATION and kind in {3, 4}:
                code, end = ("H", entry + 10) if kind == 3 else ("I", entry + 12)
                (value,) = struct.unpack(f"{order}{code}", exif[entry + 8 : end])
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _brands(head: bytes) -> list[bytes]:
    """Return the brands of a file of boxes (ISO/IEC 14496-12), the major one first."""
    (length,) = struct.unpack(">I", head[:4])
    known = head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head) - 3), 4))
    return [brand for brand in known if len(brand) == 4]

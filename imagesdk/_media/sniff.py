"""What a picture is, read from its first bytes: format, pixel size, alpha, orientation, and what is odd about it.

Pure functions over ``bytes``; no decoding, no file, no library. An unknown format or a header that is
cut short gives ``None`` facts, never an exception: the server has the last word on what it can read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import PurePath

from attrs import evolve, frozen

HEAD_SIZE = 256 * 1024
"""How many leading bytes are enough for every fact (a PNG may carry a large profile before its pixels)."""

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
"""Media types of pictures that are no text."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_SEQUENCE_BRANDS = frozenset({b"avis", b"hevc", b"hevx", b"msf1"})
_ALPHA_URNS = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")

_ORIENTATION, _WIDTH, _HEIGHT, _BITS = 0x0112, 0x0100, 0x0101, 0x0102
_PHOTOMETRIC, _EXTRA_SAMPLES = 0x0106, 0x0152
_SEPARATED = 5
"""The photometric interpretation of inks: CMYK."""


@frozen
class ImageFacts:
    """What the header tells. ``None`` means that it does not tell."""

    media_type: str | None = None
    width: int | None = None
    """In pixels, as the file stores them."""
    height: int | None = None
    alpha: bool | None = None
    """Whether pixels can be transparent: an alpha channel or a transparent palette entry."""
    orientation: int | None = None
    """1 to 8, as EXIF counts: 5 and more are shown with width and height exchanged."""
    depth: int | None = None
    """Bits of each channel: 8 for most, 16 for some PNG and TIFF files."""
    animated: bool | None = None
    """Whether there is more than one frame."""
    cmyk: bool | None = None
    """Whether the channels are inks rather than light."""
    several: bool | None = None
    """Whether the file is an MPO: a JPEG with further pictures behind it, as many phones write them."""

    @property
    def shown(self) -> tuple[int, int] | None:
        """Width and height of the picture as it is shown, its orientation applied; ``None`` if not known."""
        if self.width is None or self.height is None:
            return None
        if self.orientation is None and self.width != self.height:
            return None
        return (self.height, self.width) if (self.orientation or 1) > 4 else (self.width, self.height)


def extension(media_type: str | None) -> str:
    """Return the usual file name extension, without a dot; ``bin`` for what is not a known picture."""
    return _EXTENSIONS.get(media_type or "", ("bin",))[0]


def named_media_type(name: str) -> str | None:
    """Return the media type that the extension of a file name stands for; ``None`` for that of no picture."""
    ending = PurePath(name).suffix.lower().lstrip(".")
    return next((kind for kind, endings in _EXTENSIONS.items() if ending in endings), None)


def sniff(head: bytes) -> ImageFacts:
    """Return the facts of the picture that begins with ``head`` (:data:`HEAD_SIZE` bytes are plenty)."""
    media_type = _by_magic(head)
    read = {
        "image/png": _png,
        "image/jpeg": _jpeg,
        "image/webp": _webp,
        "image/gif": _gif,
        "image/bmp": _bmp,
        "image/tiff": _tiff,
        "image/avif": _boxed,
        "image/heic": _boxed,
    }.get(media_type or "")
    facts = ImageFacts(media_type)
    if read is None:
        return facts
    try:
        return read(head, facts)
    except (struct.error, IndexError):
        return facts


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
    if text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text
    ):
        return "image/svg+xml"
    return None


def _png(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://www.w3.org/TR/png-3/#11IHDR: colour types 4 and 6 have an alpha channel; tRNS gives the
    # others transparent colours. That, acTL and (by recommendation) eXIf stand before the first IDAT.
    if head[12:16] != b"IHDR":
        return facts
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    facts = evolve(facts, width=width, height=height, depth=8 if colour == 3 else depth, cmyk=False)
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
            depth, height, width, channels = struct.unpack(">BHHB", head[at + 4 : at + 10])
            return evolve(
                facts,
                width=width,
                height=height,
                orientation=orientation,
                depth=depth,
                cmyk=channels == 4,
                several=several,
            )
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
            depth=8,
            animated=bool(flags & 0x02),
        )
    facts = evolve(facts, depth=8, animated=False, orientation=1)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        return evolve(
            facts, width=1 + (bits & 0x3FFF), height=1 + (bits >> 14 & 0x3FFF), alpha=bool(bits >> 28 & 1)
        )
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return evolve(facts, width=width & 0x3FFF, height=height & 0x3FFF, alpha=False)
    return ImageFacts(facts.media_type)


def _webp_orientation(head: bytes) -> int | None:
    """Return the orientation; ``None`` where it stands behind the pixels, beyond the head."""
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
    facts = evolve(facts, width=width, height=height, orientation=1, depth=8, cmyk=False)
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


def _bmp(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader: rows may go from the top down.
    (size,) = struct.unpack("<I", head[14:18])
    if size == 12:
        width, height = struct.unpack("<HH", head[18:22])
    else:
        width, height = map(abs, struct.unpack("<ii", head[18:26]))
    return evolve(facts, width=width, height=height, orientation=1, animated=False, cmyk=False)


def _tiff(head: bytes, facts: ImageFacts) -> ImageFacts:
    # https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
    found, whole = _directory(head)
    if not whole or _WIDTH not in found or _HEIGHT not in found:
        return facts
    orientation = found.get(_ORIENTATION, 1)
    return evolve(
        facts,
        width=found[_WIDTH],
        height=found[_HEIGHT],
        alpha=_EXTRA_SAMPLES in found,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        depth=found.get(_BITS, 1),
        cmyk=found.get(_PHOTOMETRIC) == _SEPARATED,
    )


def _exif_orientation(exif: bytes) -> int:
    try:
        orientation = _directory(exif)[0].get(_ORIENTATION, 1)
    except (struct.error, IndexError):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _directory(tiff: bytes) -> tuple[dict[int, int], bool]:
    """Return the first short or long number of each entry of the first directory, and whether it is all there."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return {}, False
    (at,) = struct.unpack(f"{order}I", tiff[4:8])
    (count,) = struct.unpack(f"{order}H", tiff[at : at + 2])
    found: dict[int, int] = {}
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number = struct.unpack(f"{order}HHI", tiff[entry : entry + 8])
        size, code = {3: (2, "H"), 4: (4, "I")}.get(kind, (0, ""))
        if size and number:
            value = entry + 8
            if size * number > 4:  # the value is elsewhere, and this is where
                (value,) = struct.unpack(f"{order}I", tiff[value : value + 4])
            if value + size <= len(tiff):
                (found[tag],) = struct.unpack(f"{order}{code}", tiff[value : value + size])
    return found, at + 2 + 12 * count <= len(tiff)


def _boxed(head: bytes, facts: ImageFacts) -> ImageFacts:
    # ISO/IEC 23008-12: meta / iprp / ipco holds the properties of all items; tiles and thumbnails are
    # smaller than the picture itself.
    (length,) = struct.unpack(">I", head[:4])
    if length <= len(head):
        facts = evolve(facts, animated=bool(_SEQUENCE_BRANDS & set(_brands(head))))
    sizes: list[tuple[int, int]] = []
    for kind, start, end in _within(head, (b"meta", b"iprp", b"ipco")):
        if kind == b"ispe":
            sizes.append(struct.unpack(">II", head[start + 4 : start + 12]))
        elif kind == b"auxC" and head[start + 4 : end].startswith(_ALPHA_URNS):
            facts = evolve(facts, alpha=True)
    if not sizes:
        return facts
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return evolve(facts, width=width, height=height, alpha=facts.alpha or False)


def _brands(head: bytes) -> list[bytes]:
    (length,) = struct.unpack(">I", head[:4])
    known = head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head) - 3), 4))
    return [brand for brand in known if len(brand) == 4]


def _within(head: bytes, path: tuple[bytes, ...]) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes in the box that is found by going down a path: kind, start and end of the content."""
    start, end = 0, len(head)
    for name in path:
        inner = next((box for box in _boxes(head, start, end) if box[0] == name), None)
        if inner is None or inner[2] > len(head):  # what is cut short could tell the half
            return
        _, start, end = inner
        if name == b"meta":
            start += 4  # version and flags
    yield from _boxes(head, start, end)


def _boxes(head: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= min(end, len(head)):
        (length,) = struct.unpack(">I", head[start : start + 4])
        header = 8
        if length == 1:
            (length,) = struct.unpack(">Q", head[start + 8 : start + 16])
            header = 16
        length = length or end - start
        if length < header:
            return
        yield head[start + 4 : start + 8], start + header, start + length
        start += length

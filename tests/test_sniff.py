"""What a picture is comes from its first bytes: checked against Pillow, and cut short at every byte."""

import io
import struct
import zlib
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk._sniff import HEAD_SIZE, PictureFacts, extension, is_text, sniff


def encoded(mode: str, size: tuple[int, int], kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    PIL.Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


SAMPLES = {
    "png without alpha": (encoded("RGB", (64, 32), "PNG"), PictureFacts("image/png", 64, 32, False)),
    "png with alpha": (encoded("RGBA", (32, 64), "PNG"), PictureFacts("image/png", 32, 64, True)),
    "grey png with alpha": (encoded("LA", (3, 2), "PNG"), PictureFacts("image/png", 3, 2, True)),
    "grey png": (encoded("L", (3, 2), "PNG"), PictureFacts("image/png", 3, 2, False)),
    "palette png": (encoded("P", (9, 4), "PNG"), PictureFacts("image/png", 9, 4, False)),
    "palette png, one entry transparent": (
        encoded("P", (9, 4), "PNG", transparency=0),
        PictureFacts("image/png", 9, 4, True),
    ),
    "jpeg": (encoded("RGB", (640, 480), "JPEG"), PictureFacts("image/jpeg", 640, 480, False)),
    "progressive jpeg": (
        encoded("RGB", (33, 44), "JPEG", progressive=True),
        PictureFacts("image/jpeg", 33, 44, False),
    ),
    "jpeg with exif": (
        encoded("RGB", (21, 12), "JPEG", exif=b"Exif\0\0" + bytes(5000)),
        PictureFacts("image/jpeg", 21, 12, False),
    ),
    "webp": (encoded("RGB", (50, 70), "WEBP"), PictureFacts("image/webp", 50, 70, False)),
    "lossless webp": (
        encoded("RGB", (300, 200), "WEBP", lossless=True),
        PictureFacts("image/webp", 300, 200, False),
    ),
    "lossless webp with alpha": (
        encoded("RGBA", (16, 9), "WEBP", lossless=True, exact=True),
        PictureFacts("image/webp", 16, 9, True),
    ),
    "extended webp": (
        encoded("RGB", (320, 240), "WEBP", exif=b"Exif\0\0" + bytes(8)),
        PictureFacts("image/webp", 320, 240, False),
    ),
    "gif": (encoded("P", (12, 34), "GIF"), PictureFacts("image/gif", 12, 34)),
}


@pytest.mark.parametrize(("data", "facts"), SAMPLES.values(), ids=SAMPLES)
def test_format_size_and_alpha_are_read_from_the_bytes(data: bytes, facts: PictureFacts) -> None:
    assert sniff(data) == facts


@pytest.mark.parametrize(("data", "facts"), SAMPLES.values(), ids=SAMPLES)
def test_a_header_cut_short_tells_less_and_never_anything_else(data: bytes, facts: PictureFacts) -> None:
    for length in range(min(len(data), 400)):
        found = sniff(data[:length])
        assert found.media_type in {None, facts.media_type}
        assert (found.width, found.height) in {(None, None), (facts.width, facts.height)}
        assert found.alpha in {None, facts.alpha}


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"BM\x00\x00", "image/bmp"),
        (b"II*\x00rest", "image/tiff"),
        (b"MM\x00*rest", "image/tiff"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\x00\x00\x00\x1cftypheic", "image/heic"),
        (b"\x00\x00\x00\x1cftypmif1", "image/heic"),
        (b"\x00\x00\x00\x1cftypisom", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg>", "image/svg+xml"),
        (b"<?xml version='1.0'?><rss>", None),
        (b"<!doctype html>", None),
        (b"%PDF-1.7", None),
        (b"a text", None),
        (b"", None),
    ],
)
def test_other_formats_are_named_and_what_is_no_picture_is_not(head: bytes, media_type: str | None) -> None:
    assert sniff(head) == PictureFacts(media_type)


def test_transparency_after_a_large_profile_is_still_found() -> None:
    profile = chunk(b"iCCP", bytes(HEAD_SIZE // 2))
    with_alpha = png(profile, chunk(b"tRNS", bytes(6)))
    assert sniff(with_alpha[:HEAD_SIZE]) == PictureFacts("image/png", 7, 5, True)
    assert sniff(png(profile)[:HEAD_SIZE]) == PictureFacts("image/png", 7, 5, False)


def test_alpha_stays_unknown_when_the_pixels_begin_beyond_the_head() -> None:
    far = png(chunk(b"iCCP", bytes(HEAD_SIZE)), chunk(b"tRNS", bytes(6)))
    assert sniff(far[:HEAD_SIZE]) == PictureFacts("image/png", 7, 5, None)


def test_a_png_whose_first_chunk_is_no_header_has_no_facts() -> None:
    assert sniff(b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(20))) == PictureFacts("image/png")


@settings(max_examples=200)
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a"]),
    rest=st.binary(max_size=200),
)
def test_no_bytes_make_it_fail(start: bytes, rest: bytes) -> None:
    facts = sniff(start + rest)
    assert facts.media_type is not None or not start


@pytest.mark.parametrize(
    ("media_type", "ending"),
    [
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("image/webp", "webp"),
        ("image/gif", "gif"),
        ("image/svg+xml", "svg"),
        ("application/pdf", "bin"),
        (None, "bin"),
    ],
)
def test_extension_names_the_format(media_type: str | None, ending: str) -> None:
    assert extension(media_type) == ending


@pytest.mark.parametrize(
    "text", ["<html>", "no", "{}\r\n", "\ufeff<p>\u00fcber</p>", "\U0001f408 " * 200, ""]
)
def test_text_is_known_wherever_it_is_cut(text: str) -> None:
    for size in range(506, 513):
        assert is_text(text.encode()[:size])


@pytest.mark.parametrize(
    "head", [b"\x89PNG", b"a\x00b", b"\xff\xfe<\x00", b"text \xff and more text", b"\x1b[31m"]
)
def test_what_is_no_text_is_known(head: bytes) -> None:
    assert not is_text(head)

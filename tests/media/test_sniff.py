"""Image facts from the first bytes: compared with Pillow, and truncated at every byte."""

import io
import struct
import zlib
from typing import Any

import attrs
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._media.sniff import HEAD_SIZE, ImageFacts, extension, is_text, named_media_type, sniff
from tests.support.odd_images import AVIF


def encoded(mode: str, size: tuple[int, int], kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    PIL.Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def tiff(*entries: tuple[int, int, int], order: str = "<") -> bytes:
    """A TIFF structure with one directory: of each entry, the tag, the type (3 or 4) and the number."""
    marks = {"<": b"II*\0", ">": b"MM\0*"}
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        number = struct.pack(f"{order}{'HH' if kind == 3 else 'I'}", *((value, 0) if kind == 3 else (value,)))
        directory += struct.pack(f"{order}HHI", tag, kind, 1) + number
    return marks[order] + struct.pack(f"{order}I", 8) + directory + bytes(4)


def oriented(orientation: int, order: str = "<") -> bytes:
    return b"Exif\0\0" + tiff((0x0112, 3, orientation), order=order)


def frames(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    first, second = PIL.Image.new("RGB", (12, 8), "red"), PIL.Image.new("RGB", (12, 8), "blue")
    first.save(out, kind, save_all=True, append_images=[second], **options)
    return out.getvalue()


def mpo() -> bytes:
    """Return a JPEG with an APP2 segment that announces further images, as phones write it."""
    jpeg = encoded("RGB", (40, 30), "JPEG")
    segment = b"MPF\0" + tiff((0xB001, 4, 2))
    return jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:] + jpeg


def typed(brand: bytes, others: bytes) -> bytes:
    """The file type box of AVIF and HEIC, and a little more."""
    content = brand + bytes(4) + others
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content + bytes(50)


def facts(kind: str, width: int, height: int, alpha: bool | None = False, **more: Any) -> ImageFacts:
    """Return the facts of a plain image of eight bits, with exceptions."""
    known: dict[str, Any] = {"orientation": 1, "animated": False, "cmyk": False}
    if kind == "jpeg":
        known["several"] = False
    return ImageFacts(f"image/{kind}", width, height, alpha, **(known | more))


GIF_FRAME = b",\0\0\0\0\x0c\0\x08\0\0\x02\x03\x84\x8f\x05\0"

# fmt: off
SAMPLES = {
    "png without alpha": (encoded("RGB", (64, 32), "PNG"), facts("png", 64, 32)),
    "png with alpha": (encoded("RGBA", (32, 64), "PNG"), facts("png", 32, 64, True)),
    "grey png with alpha": (encoded("LA", (3, 2), "PNG"), facts("png", 3, 2, True)),
    "grey png": (encoded("L", (3, 2), "PNG"), facts("png", 3, 2)),
    "palette png": (encoded("P", (9, 4), "PNG"), facts("png", 9, 4)),
    "palette png, one entry transparent": (encoded("P", (9, 4), "PNG", transparency=0), facts("png", 9, 4, True)),
    "png on its side": (encoded("RGB", (5, 4), "PNG", exif=oriented(8)), facts("png", 5, 4, orientation=8)),
    "animated png": (frames("PNG"), facts("png", 12, 8, animated=True)),
    "jpeg": (encoded("RGB", (640, 480), "JPEG"), facts("jpeg", 640, 480)),
    "progressive jpeg": (encoded("RGB", (33, 44), "JPEG", progressive=True), facts("jpeg", 33, 44)),
    "jpeg with exif": (encoded("RGB", (21, 12), "JPEG", exif=b"Exif\0\0" + bytes(5000)), facts("jpeg", 21, 12)),
    "jpeg on its side": (encoded("RGB", (21, 12), "JPEG", exif=oriented(6)), facts("jpeg", 21, 12, orientation=6)),
    "jpeg on its side, by another byte order": (encoded("RGB", (21, 12), "JPEG", exif=oriented(3, ">")), facts("jpeg", 21, 12, orientation=3)),
    "jpeg turned by no known way": (encoded("RGB", (21, 12), "JPEG", exif=oriented(99)), facts("jpeg", 21, 12)),
    "jpeg for print": (encoded("CMYK", (7, 9), "JPEG"), facts("jpeg", 7, 9, cmyk=True)),
    "several images of a phone": (mpo(), facts("jpeg", 40, 30, several=True)),
    "webp": (encoded("RGB", (50, 70), "WEBP"), facts("webp", 50, 70)),
    "lossless webp": (encoded("RGB", (300, 200), "WEBP", lossless=True), facts("webp", 300, 200)),
    "lossless webp with alpha": (encoded("RGBA", (16, 9), "WEBP", lossless=True, exact=True), facts("webp", 16, 9, True)),
    "extended webp": (encoded("RGB", (320, 240), "WEBP", exif=b"Exif\0\0" + bytes(8)), facts("webp", 320, 240)),
    "webp on its side": (encoded("RGB", (32, 24), "WEBP", exif=oriented(5)), facts("webp", 32, 24, orientation=5)),
    "animated webp": (frames("WEBP"), facts("webp", 12, 8, animated=True)),
    "gif": (encoded("P", (12, 34), "GIF"), facts("gif", 12, 34)),
    "gif with a transparent colour": (encoded("P", (12, 34), "GIF", transparency=0), facts("gif", 12, 34, True)),
    "animated gif": (b"GIF89a\x0c\0\x08\0\0\0\0" + 2 * GIF_FRAME + b";", facts("gif", 12, 8, None, animated=True)),
    "bmp": (encoded("RGB", (13, 11), "BMP"), ImageFacts("image/bmp")),
    "tiff": (encoded("RGB", (70, 50), "TIFF"), ImageFacts("image/tiff")),
    **{kind: (encoded("RGB", (31, 17), kind), ImageFacts("image/avif")) for kind in AVIF},
    "heic": (typed(b"heic", b"mif1heic"), ImageFacts("image/heic")),
    "avif": (typed(b"avif", b"avifmif1"), ImageFacts("image/avif")),
    "avif sequence": (typed(b"avis", b"avisavif"), ImageFacts("image/avif")),
}
# fmt: on


@pytest.mark.parametrize(("data", "facts"), SAMPLES.values(), ids=SAMPLES)
def test_format_size_and_alpha_are_read_from_the_bytes(data: bytes, facts: ImageFacts) -> None:
    assert sniff(data) == facts


@pytest.mark.parametrize(("data", "facts"), SAMPLES.values(), ids=SAMPLES)
def test_a_truncated_header_has_fewer_facts_and_no_other_ones(data: bytes, facts: ImageFacts) -> None:
    whole = attrs.asdict(facts)
    for length in range(min(len(data), 400)):
        for name, found in attrs.asdict(sniff(data[:length])).items():
            assert found in {None, whole[name]}


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"BM\x00\x00", "image/bmp"),
        (b"II*\x00rest", "image/tiff"),
        (b"MM\x00*rest", "image/tiff"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\x00\x00\x00\x1cftypheic", "image/heic"),
        (b"\x00\x00\x00\x1cftypmif1", "image/heic"),
        (typed(b"mif1", b"mif1avif"), "image/avif"),
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
def test_formats_that_no_model_takes_are_only_named(head: bytes, media_type: str | None) -> None:
    assert sniff(head) == ImageFacts(media_type)


def test_transparency_after_a_large_profile_is_still_found() -> None:
    profile = chunk(b"iCCP", bytes(HEAD_SIZE // 2))
    with_alpha = png(profile, chunk(b"tRNS", bytes(6)))
    assert sniff(with_alpha[:HEAD_SIZE]).alpha is True
    assert sniff(png(profile)[:HEAD_SIZE]).alpha is False


def test_alpha_is_unknown_if_the_pixels_begin_beyond_the_head() -> None:
    far = png(chunk(b"iCCP", bytes(HEAD_SIZE)), chunk(b"tRNS", bytes(6)))
    found = sniff(far[:HEAD_SIZE])
    assert (found.width, found.height, found.alpha, found.orientation) == (7, 5, None, None)


def test_the_orientation_of_a_webp_is_unknown_if_its_exif_is_beyond_the_head() -> None:
    data = encoded("RGB", (32, 24), "WEBP", exif=oriented(6))
    found = sniff(data[:-10])
    assert (found.width, found.height, found.orientation) == (32, 24, None)
    assert found.shown is None
    assert sniff(data).shown == (24, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_exchanges_the_shown_width_and_height(orientation: int) -> None:
    data = encoded("RGB", (21, 12), "JPEG", exif=oriented(orientation))
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data)))
    assert sniff(data).shown == upright.size


def test_a_square_is_shown_as_a_square_in_any_orientation() -> None:
    assert ImageFacts("image/heic", 9, 9).shown == (9, 9)
    assert ImageFacts("image/heic", 9, 8).shown is None
    assert ImageFacts("image/heic").shown is None


@pytest.mark.parametrize(
    ("name", "media_type", "usual"),
    [
        ("a.PNG", "image/png", "png"),
        ("a.b.jpeg", "image/jpeg", "jpg"),
        ("a.webp", "image/webp", "webp"),
        ("a.gif", "image/gif", "gif"),
        ("a.svg", "image/svg+xml", "svg"),
        ("a.heif", "image/heic", "heic"),
        ("png", None, "bin"),
        ("a.pdf", None, "bin"),
    ],
)
def test_the_extension_of_a_file_name_names_a_format(name: str, media_type: str | None, usual: str) -> None:
    assert named_media_type(name) == media_type
    assert extension(media_type) == usual
    assert extension("application/pdf") == "bin"


def test_a_png_whose_first_chunk_is_no_header_has_no_facts() -> None:
    assert sniff(b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(20))) == ImageFacts("image/png")


BEGINNINGS = [
    *(b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a", b"BM", b"II*\0"),
    *(b"MM\0*\0\0\0\x08", b"\0\0\0\x10ftypheic", b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x40meta"),
]


@given(start=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=200))
def test_no_bytes_raise_an_error(start: bytes, rest: bytes) -> None:
    found = sniff(start + rest)
    assert found.media_type is not None or not start
    assert found.orientation in {None, *range(1, 9)}


@given(
    sample=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_no_damage_to_an_image_raises_an_error(sample: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLES[sample][0])
    for at, value in changes:
        data[at % len(data)] = value
    assert sniff(bytes(data)).orientation in {None, *range(1, 9)}


@pytest.mark.parametrize(
    "text", ["<html>", "no", "{}\r\n", "\ufeff<p>\u00fcber</p>", "\U0001f408 " * 200, ""]
)
def test_text_is_recognised_wherever_it_is_truncated(text: str) -> None:
    for size in range(506, 513):
        assert is_text(text.encode()[:size])


@pytest.mark.parametrize(
    "head", [b"\x89PNG", b"a\x00b", b"\xff\xfe<\x00", b"text \xff and more text", b"\x1b[31m"]
)
def test_binary_data_is_not_text(head: bytes) -> None:
    assert not is_text(head)

"""Preparation of images and masks: upright, plain, square, small, and without metadata."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import Client, FileId, Image, InvalidRequestError, make_mask, prepare_image
from imagesdk._media.sniff import sniff
from imagesdk.emulator import Emulator
from tests.support.odd_images import AVIF, encoded, exif, halves, holed, inks, phone
from tests.support.small_images import png

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def prepared(source: Any, **options: Any) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(prepare_image(source, **options)))


def refusal(function: Callable[..., bytes], *arguments: Any, **options: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        function(*arguments, **options)
    return caught.value


def near(image: PIL.Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    pixel: Any = image.convert("RGB").getpixel(at)
    return all(abs(one - other) < 12 for one, other in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_set_upright(orientation: int) -> None:
    lying = encoded(halves(), exif=exif(orientation))
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(lying)))
    got = prepared(lying)
    assert got.size == expected.size == sniff(lying).shown
    assert got.tobytes() == expected.tobytes()
    assert prepared(PIL.Image.open(io.BytesIO(lying))).tobytes() == expected.tobytes()


def test_the_image_of_a_phone_becomes_one_plain_upright_png() -> None:
    source = phone(6)
    assert sniff(source).several
    data = prepare_image(source)
    found = sniff(data)
    assert (found.media_type, found.width, found.height) == ("image/png", 20, 40)
    assert data[24] == 8  # bits of each channel
    image = prepared(source)
    assert near(image, (10, 5), RED)
    assert near(image, (10, 35), BLUE)


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_metadata_such_as_place_and_camera_is_removed(file_format: Any) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        source = encoded(halves(), kind, exif=exif())
        assert b"SECRET" in source
        data = prepare_image(source, format=file_format)
        assert b"SECRET" not in data
        assert b"Exif" not in data
        assert not dict(PIL.Image.open(io.BytesIO(data)).getexif())


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F", "La"]
)
def test_every_mode_becomes_eight_bits_of_rgb(mode: str) -> None:
    image = PIL.Image.new(mode, (4, 3))
    assert prepared(image).mode in {"RGB", "RGBA"}
    assert prepared(image, alpha=True).mode == "RGBA"


def test_cmyk_becomes_rgb() -> None:
    image = prepared(inks())
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert near(image, (5, 10), RED)
    assert near(image, (35, 10), BLUE)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    array = numpy.array([[0, 257, 32896, 65535]], dtype=numpy.uint16)
    image = prepared(encoded(PIL.Image.fromarray(array)))
    assert numpy.asarray(image)[:, :, 0].tolist() == [[0, 1, 128, 255]]


def test_a_palette_keeps_its_transparency() -> None:
    image = PIL.Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 1), 1)
    got = prepared(encoded(image, transparency=1))
    assert got.getpixel((0, 0)) == (255, 0, 0, 255)
    assert got.getpixel((1, 1)) == (0, 0, 255, 0)


def test_a_colour_profile_is_applied_and_dropped() -> None:
    profile_of: Callable[[str], Any] = getattr(PIL.ImageCms, "createProfile")  # noqa: B009 - it is half untyped
    lab, target = profile_of("LAB"), profile_of("sRGB")
    red = PIL.Image.new("RGB", (4, 4), RED)
    as_lab = PIL.ImageCms.profileToProfile(red, target, lab, outputMode="LAB")
    assert as_lab is not None
    got = prepared(as_lab)
    assert near(got, (1, 1), RED)
    profile = PIL.ImageCms.ImageCmsProfile(target).tobytes()
    assert "icc_profile" not in prepared(encoded(red, icc_profile=profile)).info


@pytest.mark.parametrize("profile", [b"no profile", b""])
def test_a_broken_colour_profile_is_ignored(profile: bytes) -> None:
    assert near(prepared(encoded(halves(), icc_profile=profile)), (1, 1), RED)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", *AVIF])
def test_other_formats_become_png(kind: str) -> None:
    image = prepared(encoded(halves(), kind))
    assert (image.format, image.size) == ("PNG", (40, 20))
    assert near(image, (5, 10), RED)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    first, second = PIL.Image.new("RGB", (8, 8), RED), PIL.Image.new("RGB", (8, 8), BLUE)
    assert near(prepared(encoded(first, "GIF", save_all=True, append_images=[second])), (4, 4), RED)


@pytest.mark.parametrize("size", ["64x64", (64, 64)])
def test_an_exact_size_crops_around_the_middle_and_never_stretches(size: Any) -> None:
    image = prepared(halves(), size=size)
    assert image.size == (64, 64)
    assert near(image, (5, 32), RED)
    assert near(image, (58, 32), BLUE)
    wide = prepared(halves(40, 40), size=(60, 20))
    assert wide.size == (60, 20)


def test_a_number_is_the_long_edge() -> None:
    assert prepared(halves(), size=10).size == (10, 5)
    assert prepared(halves(), size=400).size == (400, 200)
    assert prepared(halves(), size=16, square="crop").size == (16, 16)
    assert prepared(halves(400, 1), size=10).size == (10, 1)


def test_a_square_is_cropped_or_padded() -> None:
    cropped = prepared(halves(), square="crop")
    assert cropped.size == (20, 20)
    assert near(cropped, (2, 10), RED)
    assert near(cropped, (17, 10), BLUE)
    padded = prepared(halves(), square="pad")
    assert padded.size == (40, 40)
    assert near(padded, (5, 2), WHITE)
    assert near(padded, (5, 20), RED)
    assert padded.mode == "RGB"
    assert prepared(halves(), square="pad", size="100x100").size == (100, 100)


def test_margins_are_transparent_in_an_image_with_alpha() -> None:
    padded = prepared(halves(), square="pad", alpha=True)
    assert (padded.getpixel((5, 2)), padded.getpixel((5, 20))) == ((255, 255, 255, 0), (255, 0, 0, 255))
    assert prepared(holed(40, 20), square="pad").getpixel((5, 2)) == (255, 255, 255, 0)


def test_transparency_is_kept_and_becomes_white_in_a_jpeg() -> None:
    assert prepared(holed()).getpixel((20, 20)) == (0, 0, 0, 0)
    assert prepared(holed(), format="webp").mode == "RGBA"
    jpeg = prepared(holed(), format="jpeg")
    assert jpeg.format == "JPEG"
    assert near(jpeg, (24, 24), WHITE)
    assert near(jpeg, (2, 2), (0, 0, 0))


def noise(edge: int) -> PIL.Image.Image:
    values = numpy.random.default_rng(1).integers(0, 256, (edge, edge * 2, 3), dtype=numpy.uint8)
    return PIL.Image.fromarray(values)


@pytest.mark.parametrize("most", [100_000, 20_000, 3_000])
def test_max_bytes_is_met_with_fewer_pixels_of_the_same_shape(most: int) -> None:
    data = prepare_image(noise(200), max_bytes=most)
    assert len(data) < most
    image = PIL.Image.open(io.BytesIO(data))
    assert abs(image.width - 2 * image.height) <= 2
    assert len(data) > most // 3


def test_an_image_below_max_bytes_keeps_its_size() -> None:
    data = prepare_image(noise(20))
    assert prepare_image(noise(20), max_bytes=len(data) + 1) == data
    assert sniff(prepare_image(noise(20), max_bytes=len(data))).width != 40


def test_too_few_bytes_are_refused_with_the_bytes_needed() -> None:
    error = refusal(prepare_image, noise(200), max_bytes=100)
    assert error.param == "max_bytes"
    assert "still take" in str(error)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        *(({"size": size}, "size") for size in (0, "big", (10,), (10, 0), True, 10**6)),
        ({"size": "64x32", "square": "crop"}, "size"),
        ({"square": "stretch"}, "square"),
        ({"format": "gif"}, "format"),
        ({"format": "jpeg", "alpha": True}, "alpha"),
        ({"max_bytes": 0}, "max_bytes"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(options: dict[str, Any], param: str) -> None:
    assert refusal(prepare_image, halves(), **options).param == param


def test_more_pixels_than_pillow_allows_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = png()[:16] + struct.pack(">II", 60_000, 60_000) + png()[24:]
    error = refusal(prepare_image, bomb)
    assert "60000x60000" in str(error)
    assert "MAX_IMAGE_PIXELS" in str(error)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 799)
    assert "40x20" in str(refusal(prepare_image, halves()))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 800)
    assert prepared(halves()).size == (40, 20)
    assert "40x40" in str(refusal(prepare_image, halves(), square="pad"))


SOURCES = [phone(), inks(), encoded(halves(), "GIF"), encoded(halves(), "TIFF"), holed(20, 10)]


@given(
    source=st.sampled_from(SOURCES),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=10),
)
def test_broken_bytes_are_refused_or_make_an_image(source: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(source)
    for at, value in changes:
        data[at % len(data)] = value
    try:
        made = prepare_image(bytes(data), size=8)
    except InvalidRequestError:
        return
    assert sniff(made).media_type == "image/png"


KINDS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "str": str,
    "bytes": lambda path: path.read_bytes(),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "an image with a file": lambda path: Image(path=path),
    "data URL": lambda path: Image(data=path.read_bytes(), media_type="image/png").data_url(),
    "Pillow": PIL.Image.open,
    "numpy": lambda path: numpy.asarray(PIL.Image.open(path)),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_prepare_image_takes_the_sources_of_a_call(make: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(halves()))
    assert prepared(make(tmp_path / "a.png")).tobytes() == halves().tobytes()


def test_a_file_is_read_from_its_position_which_is_restored(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"before" + encoded(halves()))
    with (tmp_path / "a.bin").open("rb") as file:
        file.seek(6)
        assert prepared(file).size == prepared(file).size == (40, 20)
        assert file.tell() == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"no image", "not an image of a known format"),
        (b"", "not an image of a known format"),
        (b"<svg></svg>", "an SVG, which has no pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not an image of a known format"),
        (encoded(halves())[:60], "cannot be decoded"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pillow_heif.register_heif_opener"),
        ("https://cdn.test/a.png?sig=SECRET", "client.images.download(...)"),
        (FileId("file-1"), "a path, bytes"),
        (42, "a path, bytes"),
        (io.StringIO("text"), '"rb"'),
    ],
)
def test_a_source_that_cannot_be_opened_is_refused_with_a_remedy(source: Any, message: str) -> None:
    error = refusal(prepare_image, source)
    assert message in str(error)
    assert "SECRET" not in str(error)


def test_a_missing_file_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        prepare_image("missing.png")


@pytest.mark.anyio
async def test_a_file_with_an_async_read_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(holed())
    async with await anyio.open_file(tmp_path / "a.png", "rb") as file:
        assert "pass the bytes" in str(refusal(prepare_image, file))


def test_an_error_names_the_package_to_install_if_pillow_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for call in (partial(prepare_image, b""), partial(make_mask, (1, 1), boxes=[])):
        with pytest.raises(ModuleNotFoundError, match="extra `pillow`"):
            call()


def test_a_mask_is_transparent_in_its_boxes_or_everywhere_else() -> None:
    mask = PIL.Image.open(io.BytesIO(make_mask((40, 20), boxes=[(0, 0, 10, 5), (30, 10, 40, 20)])))
    assert (mask.mode, mask.size) == ("RGBA", (40, 20))
    clear = {(x, y) for x in range(40) for y in range(20) if mask.getpixel((x, y)) == (0, 0, 0, 0)}
    first, second = (range(10), range(5)), (range(30, 40), range(10, 20))
    assert clear == {(x, y) for across, down in (first, second) for x in across for y in down}
    inverted = PIL.Image.open(io.BytesIO(make_mask("8x8", boxes=[(2, 2, 4, 4)], invert=True)))
    assert (inverted.getpixel((3, 3)), inverted.getpixel((0, 0))) == ((0, 0, 0, 255), (0, 0, 0, 0))


def test_a_mask_has_the_size_of_its_upright_image() -> None:
    for source in (phone(6), PIL.Image.open(io.BytesIO(phone(6)))):
        assert sniff(make_mask(source, boxes=[(0, 0, 20, 40)])).shown == (20, 40)


def test_a_mask_can_follow_the_transparency_of_the_image() -> None:
    image = PIL.Image.open(io.BytesIO(holed(8, 8)))
    image.putpixel((7, 7), (1, 2, 3, 100))
    mask = PIL.Image.open(io.BytesIO(make_mask(image, from_alpha=True)))
    assert mask.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    turned = PIL.Image.open(io.BytesIO(make_mask(image, from_alpha=True, invert=True)))
    assert turned.getpixel((0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 41, 20), (-1, 0, 5, 5), (5, 5, 5, 10), (10, 0, 5, 5), (0, 0, 5), (0, 0, 5.0, 5), "0,0,5,5", None],
)
def test_a_box_outside_the_image_is_refused(box: Any) -> None:
    error = refusal(make_mask, (40, 20), boxes=[box])
    assert (error.param, error.value) == ("boxes", box)
    assert "within 40x20" in str(error)


@pytest.mark.parametrize(
    ("image", "options", "param"),
    [
        ((8, 8), {}, "boxes"),
        ((8, 8), {"boxes": [(0, 0, 1, 1)], "from_alpha": True}, "boxes"),
        ((8, 8), {"boxes": []}, "boxes"),
        ((8, 8), {"boxes": [(0, 0, 8, 8)], "invert": True}, "boxes"),
        ((8, 8), {"from_alpha": True}, "image_or_size"),
        ((8, 0), {"boxes": [(0, 0, 1, 1)]}, "image_or_size"),
        ((10**5, 10**5), {"boxes": [(0, 0, 1, 1)]}, "image_or_size"),
        (b"no image", {"boxes": [(0, 0, 1, 1)]}, "image_or_size"),
        (encoded(halves()), {"from_alpha": True}, "from_alpha"),
    ],
)
def test_a_mask_that_repaints_nothing_is_refused(image: Any, options: dict[str, Any], param: str) -> None:
    assert refusal(make_mask, image, **options).param == param


def test_a_server_accepts_prepared_images(emulator: Emulator) -> None:
    """An edit of a phone's image, and a variation of one for print, by the model of 2023."""
    with Client(base_url=emulator.base_url, api_key="", rate_limit=None) as client:
        with pytest.raises(InvalidRequestError, match="prepare_image"):
            client.images.edit(phone(), "a cat", model="gpt-image-2")
        image = prepare_image(phone(), square="crop")
        mask = make_mask(image, boxes=[(0, 0, 10, 10)])
        client.images.edit(image, "a cat", mask=mask, model="dall-e-2", size="256x256")
        square = prepare_image(inks(), size=256, square="pad", max_bytes=4 * 1024 * 1024)
        client.images.create_variation(square, model="dall-e-2", size="256x256")
    assert [request.status for request in emulator.state.requests] == [200, 200]

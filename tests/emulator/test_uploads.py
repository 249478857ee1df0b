"""Checks of the images of an edit or a variation."""

import pytest
from PIL import Image

from tests.emulator.api import Api, File, encoded, file
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

MIB = 1024 * 1024
OLD, NEW = {"model": "dall-e-2", "size": "256x256"}, {"model": "gpt-image-2"}
PNG = Image.new("RGB", (64, 64))


def a_png(mode: str = "RGBA", size: tuple[int, int] = (64, 64), length: int = 0) -> bytes:
    """Return a PNG of at least ``length`` bytes: what follows its end is not looked at."""
    return encoded(Image.new(mode, size)).ljust(length, b"\0")


IMAGE, MASK = file("image", a_png()), file("mask", a_png())
OCTETS = file("image", a_png(), "application/octet-stream")
NO_TRANSPARENCY = "Invalid input image - format must be in ['RGBA', 'LA', 'L'], got"
OTHER_SIZE = "Invalid mask image format - mask size does not match image size."
NO_ALPHA = "Invalid mask image format - mask image missing alpha channel."
SQUARE = "Uploaded image must be square."
NOT_AN_IMAGE = "Invalid image file or mode for image 1, please check your image file."
TOO_LARGE = "Uploaded {} must be a PNG and less than 4 MB."
UNSUPPORTED, INVALID, BROKEN = "unsupported_file_mimetype", "invalid_image_format", "invalid_image_file"
MISSING, TOO_MANY = "missing_required_parameter", "array_above_max_length"
MPO = file("image", encoded(PNG, "MPO", save_all=True, append_images=[PNG]), "image/jpeg")
SEVERAL, TEXT = file("image[]", a_png()), file("image[]", b"x", "text/plain")
REJECTED: list[tuple[dict[str, str], list[File], str | None, str | None, str]] = [
    (
        OLD,
        [OCTETS],
        "image",
        UNSUPPORTED,
        "unsupported mimetype ('application/octet-stream'). Supported file f",
    ),
    (NEW, [OCTETS], "image", UNSUPPORTED, "formats are 'image/jpeg', 'image/png', and 'image/webp'."),
    (NEW, [SEVERAL, TEXT], "image[1]", UNSUPPORTED, "image[1]"),
    (NEW, [IMAGE, file("mask", a_png(), "image/webp")], "mask", UNSUPPORTED, "are 'image/png'."),
    (OLD, [MASK], "image", MISSING, "Missing required parameter: 'image'."),
    (NEW, [MASK], "image", MISSING, "Missing required parameter: 'image'."),
    (NEW, [IMAGE, file("user", b"x")], "user", "invalid_type", "expected a string, but got a file instead."),
    (
        {**NEW, "image": "x.png"},
        [MASK],
        "image",
        "invalid_type",
        "expected a file, but got a string instead.",
    ),
    (OLD, [file("image", b"")], "image", INVALID, TOO_LARGE.format("image")),
    (OLD, [file("image", b"not an image")], "image", INVALID, TOO_LARGE.format("image")),
    (OLD, [file("image", a_png()[:60])], "image", INVALID, TOO_LARGE.format("image")),
    (OLD, [file("image", encoded(PNG, "JPEG"))], "image", INVALID, TOO_LARGE.format("image")),
    (NEW, [file("image", b"")], None, BROKEN, NOT_AN_IMAGE),
    (NEW, [file("image", b"not an image")], None, BROKEN, NOT_AN_IMAGE),
    (NEW, [file("image", b"\x89PNG\r\n\x1a\n")], None, BROKEN, NOT_AN_IMAGE),
    (NEW, [file("image", encoded(PNG.convert("CMYK"), "JPEG"), "image/jpeg")], None, BROKEN, NOT_AN_IMAGE),
    (NEW, [MPO], None, BROKEN, NOT_AN_IMAGE),
    (OLD, [file("image", a_png(size=(64, 65)))], "image", INVALID, SQUARE),
    (OLD, [file("image", a_png("RGB"))], "image", INVALID, f"{NO_TRANSPARENCY} RGB."),
    (OLD, [file("image", a_png("L"))], "image", INVALID, f"{NO_TRANSPARENCY} L."),
    (OLD, [IMAGE, file("mask", a_png(size=(65, 65)))], "mask", INVALID, OTHER_SIZE),
    (NEW, [IMAGE, file("mask", a_png(size=(65, 65)))], "mask", INVALID, OTHER_SIZE),
    (OLD, [IMAGE, file("mask", a_png("RGB"))], "mask", INVALID, NO_ALPHA),
    (NEW, [IMAGE, file("mask", a_png("RGB"))], "mask", INVALID, NO_ALPHA),
    (NEW, [IMAGE, IMAGE], "image", "duplicate_parameter", "Duplicate parameter: 'image'."),
    (OLD, [SEVERAL] * 2, "image", TOO_MANY, "maximum length 1, but got an array"),
    (NEW, [SEVERAL] * 17, "image", TOO_MANY, "maximum length 16, but got an array"),
]


@pytest.mark.parametrize(("terms", "files", "param", "code", "message"), REJECTED)
async def test_a_rejected_image_of_an_edit_gets_its_reason_and_is_not_billed(
    api: Api, terms: dict[str, str], files: list[File], param: str | None, code: str | None, message: str
) -> None:
    error = error_of(await api.edit(*files, **terms))

    assert (error["param"], error["code"]) == (param, code)
    assert message in error["message"]
    assert api.state.billed_images == 0


@pytest.mark.parametrize(
    ("terms", "name", "limit", "code", "message"),
    [
        (OLD, "image", 4 * MIB, INVALID, TOO_LARGE.format("image")),
        (OLD, "mask", 4 * MIB, INVALID, TOO_LARGE.format("mask")),
        (NEW, "image", 50 * MIB, "image_too_large", "Files must be smaller than 50 MB."),
    ],
)
async def test_a_file_must_be_smaller_than_the_limit_of_its_model(
    api: Api, terms: dict[str, str], name: str, limit: int, code: str, message: str
) -> None:
    small, large = [
        await api.edit(*({"image": IMAGE, "mask": MASK} | {name: part}).values(), **terms)
        for part in (file(name, a_png(length=length)) for length in (limit - 1, limit))
    ]

    error = error_of(large)
    assert (error["param"], error["code"], message in error["message"]) == (name, code, True)
    assert small.status_code == 200


async def test_an_image_of_a_variation_is_square_and_has_no_mask(api: Api) -> None:
    oblong = error_of(await api.vary(file("image", a_png("RGB", (65, 64)))))
    masked = error_of(await api.vary(IMAGE, MASK))

    assert oblong["message"] == SQUARE
    assert (masked["param"], masked["code"]) == ("mask", "unknown_parameter")


@pytest.mark.parametrize("mode", ["RGB", "L"])
async def test_dall_e_2_needs_no_transparency_with_a_mask(api: Api, mode: str) -> None:
    assert (await api.edit(file("image", a_png(mode)), MASK, **OLD)).status_code == 200


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
async def test_gpt_image_2_accepts_three_formats_of_any_shape(api: Api, image_format: str) -> None:
    data = encoded(PNG.resize((120, 50)), image_format)

    answer = await api.edit(file("image", data, f"image/{image_format.lower()}"), **NEW)

    assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 8


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_gpt_image_2_accepts_sixteen_images(api: Api) -> None:
    answer = await api.edit(*[SEVERAL] * 16, **NEW)

    assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 16 * 4

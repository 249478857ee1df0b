"""Checks of the images of an edit or a variation."""

from collections.abc import Callable
from io import BytesIO

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import EmulatorState
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

Connect = Callable[..., httpx.AsyncClient]
MakePng = Callable[..., bytes]
File = tuple[str, tuple[str, bytes, str]]

MIB = 1024 * 1024
EDIT = {"dall-e-2": {"model": "dall-e-2", "prompt": "x", "size": "256x256"}, "gpt-image-2": {"prompt": "x"}}


def file(name: str, data: bytes, media_type: str = "image/png") -> File:
    return name, ("x.png", data, media_type)


def padded(png: bytes, size: int) -> bytes:
    """Return a PNG of exactly ``size`` bytes: what follows its end is not looked at."""
    return png + bytes(size - len(png))


async def edit(api: httpx.AsyncClient, model: str, *files: File, **fields: str) -> httpx.Response:
    return await api.post("/images/edits", data={**EDIT[model], **fields}, files=list(files))


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-2"])
async def test_an_image_sent_as_octets_is_rejected(
    connect: Connect, state: EmulatorState, png: MakePng, model: str
) -> None:
    answer = await edit(connect(), model, file("image", png("RGBA"), "application/octet-stream"))

    error = error_of(answer)
    assert (error["param"], error["code"]) == ("image", "unsupported_file_mimetype")
    assert error["message"].startswith(
        "Invalid file 'image': unsupported mimetype ('application/octet-stream'). Supported file formats are"
    )
    assert state.billed_images == 0


async def test_an_unsupported_media_type_gets_a_list_of_the_supported_ones(
    connect: Connect, png: MakePng
) -> None:
    answer = await edit(connect(), "gpt-image-2", file("image", png(), "image/gif"))

    assert error_of(answer)["message"].endswith("are 'image/jpeg', 'image/png', and 'image/webp'.")


async def test_an_error_names_the_invalid_one_of_several_images(connect: Connect, png: MakePng) -> None:
    files = [file("image[]", png()), file("image[]", png(), "text/plain")]

    assert error_of(await edit(connect(), "gpt-image-2", *files))["param"] == "image[1]"


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-2"])
async def test_an_edit_without_an_image_is_rejected(connect: Connect, png: MakePng, model: str) -> None:
    error = error_of(await edit(connect(), model, file("mask", png("RGBA"))))

    assert (error["message"], error["param"]) == ("Missing required parameter: 'image'.", "image")


async def test_an_image_that_is_not_a_file_is_rejected(connect: Connect, png: MakePng) -> None:
    answer = await connect().post(
        "/images/edits", data={**EDIT["gpt-image-2"], "image": "x.png"}, files=[file("mask", png())]
    )

    assert (
        error_of(answer)["message"] == "Invalid type for 'image': expected a file, but got a string instead."
    )


async def test_a_prompt_that_is_a_file_is_rejected(connect: Connect, png: MakePng) -> None:
    answer = await connect().post("/images/edits", files=[file("image", png()), file("prompt", b"x")])

    assert (
        error_of(answer)["message"] == "Invalid type for 'prompt': expected a string, but got a file instead."
    )


async def test_an_unexpected_file_is_an_unknown_parameter(connect: Connect, png: MakePng) -> None:
    answer = await connect().post("/images/variations", files=[file("image", png()), file("mask", png())])

    assert (error_of(answer)["param"], error_of(answer)["code"]) == ("mask", "unknown_parameter")


@pytest.mark.parametrize("name", ["image", "mask"])
async def test_a_dall_e_2_file_must_be_smaller_than_four_mebibytes(
    connect: Connect, png: MakePng, name: str
) -> None:
    api = connect()
    small = {"image": png(), "mask": png("RGBA")}

    answers = [
        await edit(api, "dall-e-2", *(file(k, padded(v, size) if k == name else v) for k, v in small.items()))
        for size in (4 * MIB, 4 * MIB - 1)
    ]

    error = error_of(answers[0])
    assert error["message"] == f"Uploaded {name} must be a PNG and less than 4 MB."
    assert (error["param"], error["code"]) == (name, "invalid_image_format")
    assert answers[1].status_code == 200


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
async def test_a_file_that_is_not_an_image_is_rejected(connect: Connect, content: bytes) -> None:
    api = connect()

    old = await edit(api, "dall-e-2", file("image", content))
    new = await edit(api, "gpt-image-2", file("image", content))

    assert error_of(old)["code"] == "invalid_image_format"
    assert error_of(new)["code"] == "invalid_image_file"
    assert "Invalid image file or mode for image 1" in error_of(new)["message"]


async def test_a_truncated_image_is_rejected_and_not_billed(
    connect: Connect, state: EmulatorState, png: MakePng
) -> None:
    whole = png("RGBA", (300, 300))

    answer = await edit(connect(), "dall-e-2", file("image", whole[: len(whole) // 2]))

    assert error_of(answer)["code"] == "invalid_image_format"
    assert state.billed_images == 0


async def test_dall_e_2_rejects_a_jpeg_declared_as_png(
    connect: Connect, encoded: Callable[..., bytes]
) -> None:
    jpeg = encoded(Image.new("RGB", (64, 64)), "JPEG")

    assert error_of(await edit(connect(), "dall-e-2", file("image", jpeg)))["code"] == "invalid_image_format"


async def test_dall_e_2_requires_a_square(connect: Connect, png: MakePng) -> None:
    api = connect()

    edited = await edit(api, "dall-e-2", file("image", png("RGBA", (64, 65))))
    varied = await api.post("/images/variations", files=[file("image", png("RGB", (65, 64)))])

    assert "square" in error_of(edited)["message"]
    assert "square" in error_of(varied)["message"]


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (1, 2, 3)), ("L", 7)])
async def test_dall_e_2_requires_transparency_without_a_mask(
    connect: Connect, png: MakePng, mode: str, colour: object
) -> None:
    api = connect()

    alone = await edit(api, "dall-e-2", file("image", png(mode, (64, 64), colour)))
    masked = await edit(
        api, "dall-e-2", file("image", png(mode, (64, 64), colour)), file("mask", png("RGBA"))
    )

    assert error_of(alone)["message"] == (
        f"Invalid input image - format must be in ['RGBA', 'LA', 'L'], got {mode}."
    )
    assert masked.status_code == 200


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-2"])
async def test_a_mask_has_the_size_of_the_image_and_an_alpha_channel(
    connect: Connect, png: MakePng, model: str
) -> None:
    api = connect()

    other = await edit(api, model, file("image", png()), file("mask", png("RGBA", (65, 65))))
    opaque = await edit(api, model, file("image", png()), file("mask", png("RGB")))

    assert error_of(other)["message"] == "Invalid mask image format - mask size does not match image size."
    assert error_of(opaque)["message"] == "Invalid mask image format - mask image missing alpha channel."


async def test_a_mask_is_a_png_for_every_model(connect: Connect, png: MakePng) -> None:
    answer = await edit(
        connect(), "gpt-image-2", file("image", png()), file("mask", png("RGBA"), "image/webp")
    )

    assert (error_of(answer)["param"], error_of(answer)["code"]) == ("mask", "unsupported_file_mimetype")


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
async def test_gpt_image_2_accepts_three_formats_of_any_shape(
    connect: Connect, encoded: Callable[..., bytes], image_format: str
) -> None:
    data = encoded(Image.new("RGB", (120, 50)), image_format)

    answer = await edit(connect(), "gpt-image-2", file("image", data, f"image/{image_format.lower()}"))

    assert answer.status_code == 200
    assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 8


@pytest.mark.parametrize("mode", ["CMYK", "MPO"])
async def test_gpt_image_2_rejects_cmyk_and_mpo(
    connect: Connect, encoded: Callable[..., bytes], mode: str
) -> None:
    if mode == "CMYK":
        data = encoded(Image.new("CMYK", (64, 64)), "JPEG")
    else:
        buffer = BytesIO()
        Image.new("RGB", (64, 64)).save(
            buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))]
        )
        data = buffer.getvalue()

    answer = await edit(connect(), "gpt-image-2", file("image", data, "image/jpeg"))

    assert error_of(answer)["code"] == "invalid_image_file"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_gpt_image_2_accepts_at_most_sixteen_images(connect: Connect, png: MakePng) -> None:
    api = connect()

    sixteen = await edit(api, "gpt-image-2", *[file("image[]", png())] * 16)
    seventeen = await edit(api, "gpt-image-2", *[file("image[]", png())] * 17)

    assert sixteen.json()["usage"]["input_tokens_details"]["image_tokens"] == 16 * 4
    assert error_of(seventeen)["code"] == "array_above_max_length"


async def test_gpt_image_2_rejects_a_file_of_fifty_mebibytes(connect: Connect, png: MakePng) -> None:
    answer = await edit(connect(), "gpt-image-2", file("image", padded(png(), 50 * MIB)))

    assert error_of(answer)["code"] == "image_too_large"


async def test_several_images_require_the_array_name(connect: Connect, png: MakePng) -> None:
    answer = await edit(connect(), "gpt-image-2", file("image", png()), file("image", png()))

    assert (error_of(answer)["param"], error_of(answer)["code"]) == ("image", "duplicate_parameter")


async def test_dall_e_2_accepts_one_image(connect: Connect, png: MakePng) -> None:
    answer = await edit(connect(), "dall-e-2", *[file("image[]", png("RGBA"))] * 2)

    assert error_of(answer)["code"] == "array_above_max_length"

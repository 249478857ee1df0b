"""Edits and variations: the forms that they send, and the images that they take."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import respx

from imagesdk import AsyncClient, FileId, InvalidRequestError, make_mask, prepare_image
from imagesdk._protocol.hosts import OPENAI_BASE_URL
from imagesdk.emulator import Emulator
from tests.support.sent_requests import form_file, form_text, last_sent, sent_parts
from tests.support.small_images import JPEG, png

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.one_loop,
    pytest.mark.filterwarnings("ignore::imagesdk.RetirementWarning"),
]
SMALL = png(2, 2)
WIDE = png(4, 2)
OPAQUE = png(2, 2, alpha=False)
SUNBURST: dict[str, Any] = {"model": "gpt-image-2.5-sunburst", "quality": "low", "size": "1024x1024"}


def coloured(colour: str = "red", size: tuple[int, int] = (64, 64), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


async def test_an_edit_is_a_form_with_the_image_the_mask_and_the_parameters(
    wire: respx.MockRouter, openai_client: AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "lounge.png").write_bytes(SMALL)

    await openai_client.images.edit(
        tmp_path / "lounge.png", "a pool", mask=SMALL, model="dall-e-2", n=2, size="256x256", user="a1b2"
    )

    assert str(last_sent(wire).url) == f"{OPENAI_BASE_URL}/images/edits"
    assert sent_parts(wire) == [
        form_file("image", "lounge.png", "image/png", SMALL),
        form_file("mask", "image.png", "image/png", SMALL),
        form_text("prompt", "a pool"),
        form_text("model", "dall-e-2"),
        form_text("n", "2"),
        form_text("size", "256x256"),
        form_text("user", "a1b2"),
    ]
    assert int(last_sent(wire).headers["content-length"]) == len(last_sent(wire).content)


async def test_several_images_are_sent_as_an_array_in_their_order(
    wire: respx.MockRouter, openai_client: AsyncClient
) -> None:
    await openai_client.images.edit([SMALL, JPEG], "both")
    assert sent_parts(wire)[:2] == [
        form_file("image[]", "image.png", "image/png", SMALL),
        form_file("image[]", "image.jpg", "image/jpeg", JPEG),
    ]


async def test_a_variation_is_a_form_with_the_image(
    wire: respx.MockRouter, openai_client: AsyncClient
) -> None:
    await openai_client.images.create_variation(SMALL, n=2, size="512x512", response_format="url")
    assert str(last_sent(wire).url) == f"{OPENAI_BASE_URL}/images/variations"
    assert sent_parts(wire) == [
        form_file("image", "image.png", "image/png", SMALL),
        form_text("model", "dall-e-2"),
        form_text("n", "2"),
        form_text("size", "512x512"),
        form_text("response_format", "url"),
    ]


async def test_without_a_model_nothing_is_checked(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.edit([JPEG, OPAQUE], "a cat", mask=WIDE, size="7x7", response_format="url")
    assert [head for head, _ in sent_parts(wire)].count(form_text("size", "7x7")[0]) == 1


async def test_a_missing_file_is_an_error_before_anything_is_sent(
    wire: respx.MockRouter, own: AsyncClient, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        await own.images.edit(tmp_path / "missing.png", "a cat")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        await own.images.edit(SMALL, "a cat", mask=str(tmp_path / "missing.png"))
    assert wire.calls.call_count == 0


async def test_one_edit_takes_ids_urls_data_urls_and_bytes(client: AsyncClient, emulator: Emulator) -> None:
    uploaded = await client.files.upload(coloured("green"), filename="green.png")
    made = await client.images.generate("a cat", model="dall-e-2", size="256x256", response_format="url")
    assert made[0].url is not None
    data_url = f"data:image/png;base64,{base64.b64encode(coloured('blue')).decode()}"
    response = await client.images.edit(
        [uploaded, FileId(uploaded.id), made[0], made[0].url, data_url, coloured("red")],
        "all of them",
        **SUNBURST,
    )
    assert (response[0].width, response[0].height) == (1024, 1024)


async def test_a_prepared_photo_is_repainted_in_the_box_of_its_mask(client: AsyncClient) -> None:
    photo = prepare_image(coloured("red", (900, 600), "JPEG"), square="crop", size=512, alpha=True)
    mask = make_mask((512, 512), boxes=[(0, 0, 256, 512)])
    (image,) = await client.images.edit(photo, "a lake", mask=mask, model="dall-e-2", size="512x512")
    painted = PIL.Image.open(io.BytesIO(await client.images.download(image))).convert("RGB")
    assert {painted.getpixel((400, y)) for y in (10, 250, 500)} == {painted.getpixel((500, 250))}
    assert len({painted.getpixel((x, y)) for x in range(5, 250, 35) for y in range(5, 500, 70)}) > 3


async def test_an_opaque_mask_is_refused_before_anything_is_sent(
    client: AsyncClient, emulator: Emulator
) -> None:
    opaque = io.BytesIO()
    PIL.Image.new("RGBA", (64, 64), (0, 0, 0, 255)).save(opaque, "PNG")
    with pytest.raises(InvalidRequestError, match="make_mask"):
        await client.images.edit(coloured(), "a cat", mask=opaque.getvalue(), **SUNBURST)
    assert emulator.state.requests == []

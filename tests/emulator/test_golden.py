"""Golden images: what the emulator draws today is what it drew before, pixel by pixel at a small scale.

Users compare with images that they keep, so another drawing for the same request is a change that they must be able
to read about. Set ``IMAGESDK_GOLDEN=1`` to draw ``golden.png`` anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw

from tests.emulator.api import Api, encoded, file, images_in

pytestmark = pytest.mark.anyio

SHEET = Path(__file__).parent / "golden.png"
EDGE = 96
"""Pixels of a tile. The averages of so many pixels are the same with every version of Pillow, but for rounding."""
ROUNDING = 12
"""Pillow 10.1 and 13.0 differ by 7 at most. The test below shows that other drawings differ by far more."""
NAMES = ("first", "second", "edited", "varied", "transparent", "rough", "moving")


@pytest.fixture(autouse=True)
def plain_scenes() -> None:
    """Draw real scenes, unlike in other tests."""


def _tile(image: Image.Image) -> Image.Image:
    """Return the image at the size of a tile, on grey, as any color may be below transparency."""
    drawn, ground = image.convert("RGBA"), Image.new("RGBA", image.size, (128, 128, 128, 255))
    ground.alpha_composite(drawn)
    return ground.convert("RGB").resize((EDGE, EDGE), Image.Resampling.BOX)


def _upload() -> Image.Image:
    image = Image.new("RGBA", (256, 256), (20, 140, 200, 255))
    ImageDraw.Draw(image).rectangle((40, 40, 120, 200), (250, 210, 60, 255))
    return image


def _mask() -> Image.Image:
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (96, 96, 256, 256))
    return mask


async def _drawn(api: Api) -> dict[str, Image.Image]:
    base = {"response_format": "b64_json", "size": "256x256", "model": "dall-e-2"}
    first, second = images_in(await api.generate(**base, n=2, prompt="a river at dawn"))
    image, mask = file("image", encoded(_upload())), file("mask", encoded(_mask()))
    (edited,) = images_in(await api.edit(image, mask, **base, prompt="a pool with a flamingo"))
    (varied,) = images_in(await api.vary(image, **base))
    one = {"model": "gpt-image-1", "quality": "low", "background": "transparent"}
    (transparent,) = images_in(await api.generate(**one, prompt="an otter"))
    streamed = await api.generate(model="gpt-image-1", stream=True, partial_images=1, prompt="a lake")
    (rough,) = _partial_images(streamed.text)
    six = {"model": "gpt-image-2.6-flare", "output_format": "gif", "frame_count": 2, "size": "480x480"}
    (moving,) = images_in(await api.generate(**six, prompt="a storm"))
    return dict(zip(NAMES, (first, second, edited, varied, transparent, rough, moving), strict=True))


def _partial_images(text: str) -> Iterator[Image.Image]:
    for line in text.splitlines():
        if line.startswith("data: "):
            event = json.loads(line[6:])
            if event["type"].endswith("partial_image"):
                yield Image.open(BytesIO(base64.b64decode(event["b64_json"])))


def _difference(one: Image.Image, other: Image.Image) -> int:
    """Return the largest difference of a channel of a pixel, from 0 to 255."""
    return max(int(high) for _, high in ImageChops.difference(one, other).getextrema())  # type: ignore[misc]


async def test_every_drawing_is_the_golden_one(api: Api) -> None:
    tiles = {name: _tile(image) for name, image in (await _drawn(api)).items()}
    if "IMAGESDK_GOLDEN" in os.environ:
        sheet = Image.new("RGB", (EDGE * len(NAMES), EDGE))
        for place, name in enumerate(NAMES):
            sheet.paste(tiles[name], (place * EDGE, 0))
        sheet.save(SHEET, optimize=True)
    with Image.open(SHEET) as sheet:
        golden = {
            name: sheet.convert("RGB").crop((place * EDGE, 0, (place + 1) * EDGE, EDGE))
            for place, name in enumerate(NAMES)
        }
    assert {name: gap for name in NAMES if (gap := _difference(tiles[name], golden[name])) > ROUNDING} == {}


async def test_another_seed_or_prompt_is_not_the_golden_one(api: Api) -> None:
    """The tolerance for rounding hides no other drawing."""
    base = {"response_format": "b64_json", "size": "256x256", "model": "dall-e-2"}
    drawn = [
        _tile(images_in(await api.generate(**base, prompt=prompt))[0])
        for prompt in ("a river at dawn", "a river at dawn.")
    ]
    assert _difference(*drawn) > 5 * ROUNDING


async def test_a_vector_drawing_is_the_golden_text(api: Api) -> None:
    answer = await api.generate(model="gpt-image-2.6-flare", output_format="svg", prompt="a storm")
    document = base64.b64decode(answer.json()["data"][0]["b64_json"])
    assert hashlib.sha256(document).hexdigest() == (
        "175914c401f57ff1b6d0dd893ec4d18325a7e089bca77474a3f0e4c878ba637c"
    )

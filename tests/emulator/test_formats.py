"""Content of animations and SVG documents."""

from base64 import b64decode
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from PIL import Image

from imagesdk.emulator.drawing.formats import rounded_duration
from tests.emulator.api import Api, encoded, file, images_in, png

pytestmark = pytest.mark.anyio

FLARE = "gpt-image-2.6-flare"
SVG = "{http://www.w3.org/2000/svg}"


async def generate(api: Api, output_format: str, **fields: object) -> httpx.Response:
    return await api.generate(model=FLARE, output_format=output_format, **fields)


def document_of(answer: httpx.Response) -> bytes:
    assert answer.status_code == 200, answer.text[:500]
    return b64decode(answer.json()["data"][0]["b64_json"])


@pytest.mark.parametrize(
    ("frames", "size", "asked", "shown"),
    [(None, "512x512", None, 200), (2, "960x960", 1234, 1230), (16, "480x720", 10, 10)],
)
async def test_a_gif_has_the_requested_frames_size_and_times_and_moves(
    api: Api, frames: int | None, size: str, asked: int | None, shown: int
) -> None:
    answer = await generate(api, "gif", frame_count=frames, size=size, frame_duration_ms=asked)

    (drawn,) = images_in(answer)
    seen: set[bytes] = set()
    for number in range(frames or 9):
        drawn.seek(number)
        assert drawn.info["duration"] == shown
        seen.add(drawn.convert("RGB").tobytes())
    assert (drawn.format, drawn.info["loop"], "{}x{}".format(*drawn.size)) == ("GIF", 0, size)
    assert getattr(drawn, "n_frames", 1) == len(seen) == (frames or 9)
    assert (answer.json()["output_format"], answer.json()["size"]) == ("gif", size)


@pytest.mark.parametrize(
    ("asked", "shown"), [(0, 10), (204, 200), (205, 210), (655_350, 655_350), (10**8, 655_350)]
)
def test_frame_durations_are_rounded_and_capped(asked: int, shown: int) -> None:
    assert rounded_duration(asked) == shown


async def test_frames_of_a_plain_image_are_not_merged(api: Api) -> None:
    (drawn,) = images_in(await api.edit(file("image", png()), model=FLARE, output_format="gif"))

    assert getattr(drawn, "n_frames", 1) == 9


async def test_an_svg_is_a_safe_document_of_the_requested_size(api: Api) -> None:
    size = "1536x1024"

    document = document_of(await generate(api, "svg", size=size, prompt="a <river> & \x00 more"))

    root = ET.fromstring(document)
    measures = (root.get("width"), root.get("height"), root.get("viewBox"))
    assert (root.tag, *measures) == (f"{SVG}svg", "1536", "1024", "0 0 1536 1024")
    assert root.findtext(f"{SVG}title") == "a <river> &   more"
    shapes = {"svg", "title", "desc", "defs", "linearGradient", "stop", "rect", "circle", "path"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == shapes
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
    assert document_of(await generate(api, "svg", size=size, prompt="x")) != document


async def test_a_response_with_an_svg_has_svg_usage(api: Api) -> None:
    author = {"model": "gpt-5.4-mini", "reasoning": {"effort": "none"}}

    answer: dict[str, Any] = (await generate(api, "svg", svg=author)).json()
    usual = (await generate(api, "svg")).json()["svg_usage"]

    usage = answer["svg_usage"]
    assert (usage["model"], usage["reasoning_tokens"]) == ("gpt-5.4-mini", 0)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usual["reasoning_tokens"] > 0
    assert answer["usage"]["output_tokens"] > 0
    assert "svg_usage" not in (await generate(api, "png")).json()


async def test_the_author_of_an_svg_may_be_named_in_a_form(api: Api) -> None:
    terms = {"model": FLARE, "output_format": "svg", "svg[model]": "gpt-5.4"}

    good, bad = [
        await api.edit(file("image", png()), **terms, **{"svg[reasoning][effort]": effort})
        for effort in ("max", "huge")
    ]

    assert good.json()["svg_usage"]["model"] == "gpt-5.4"
    assert bad.json()["error"]["param"] == "svg.reasoning.effort"


async def test_an_svg_of_images_shows_their_colours(api: Api) -> None:
    files = [file("image[]", png("RGB", (64, 64), colour)) for colour in ((255, 0, 0), (0, 0, 255))]

    answer = await api.edit(*files, model=FLARE, output_format="svg")

    fills = [circle.get("fill") for circle in ET.fromstring(document_of(answer)).iter(f"{SVG}circle")]
    assert {"#ff0000", "#0000ff"} <= set(fills)


async def test_an_image_is_rotated_as_its_exif_data_says(api: Api) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = encoded(Image.new("RGB", (96, 64)), "JPEG", exif=exif)
    files = file("image", image, "image/jpeg"), file("markup", png("RGBA", (64, 96)))

    assert (await api.edit(*files, model=FLARE)).status_code == 200

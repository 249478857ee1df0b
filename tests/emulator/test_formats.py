"""Content of animations, SVG documents, transparent images, and edits of several images."""

from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from xml.etree import ElementTree as ET

import httpx
import pytest
from PIL import Image, ImageChops, ImageStat

from imagesdk.emulator.drawing.formats import rounded_duration

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]
MakePng = Callable[..., bytes]

FLARE = "gpt-image-2.6-flare"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def plain_scenes() -> None:
    """Scenes are drawn as users get them: these tests look at them."""


def first_of(answer: httpx.Response) -> bytes:
    assert answer.status_code == 200, answer.text[:500]
    return b64decode(answer.json()["data"][0]["b64_json"])


def opened(answer: httpx.Response) -> Image.Image:
    return Image.open(BytesIO(first_of(answer)))


async def generate(api: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await api.post(
        "/images/generations", json={"model": FLARE, "prompt": "a <river> & more", **fields}
    )


async def edit(
    api: httpx.AsyncClient, *images: bytes, overlays: dict[str, bytes] | None = None, **fields: str
) -> httpx.Response:
    files = [("image[]", ("x.png", image, "image/png")) for image in images]
    files += [(name, ("o.png", data, "image/png")) for name, data in (overlays or {}).items()]
    form = {"model": "gpt-image-2.5-flare", "prompt": "x", "size": "1024x1024", **fields}
    return await api.post("/images/edits", data=form, files=files)


@pytest.mark.parametrize(("frames", "size"), [(None, "512x512"), (2, "960x960"), (16, "480x720")])
async def test_a_gif_has_the_requested_frames_and_size_and_moves(
    connect: Connect, frames: int | None, size: str
) -> None:
    answer = await generate(connect(), output_format="gif", frame_count=frames, size=size)

    drawn = opened(answer)
    seen: set[bytes] = set()
    for number in range(frames or 9):
        drawn.seek(number)
        assert drawn.info["duration"] == 200
        seen.add(drawn.convert("RGB").tobytes())
    assert (drawn.format, getattr(drawn, "n_frames", 1), "{}x{}".format(*drawn.size)) == (
        "GIF",
        frames or 9,
        size,
    )
    assert drawn.info["loop"] == 0
    assert len(seen) == (frames or 9)
    assert (answer.json()["output_format"], answer.json()["size"]) == ("gif", size)


async def test_frames_last_for_the_requested_time(connect: Connect) -> None:
    answer = await generate(
        connect(), output_format="gif", frame_count=2, frame_duration_ms=1234, size="512x512"
    )

    assert opened(answer).info["duration"] == 1230


@pytest.mark.parametrize(
    ("asked", "shown"), [(0, 10), (204, 200), (205, 210), (655_350, 655_350), (10**8, 655_350)]
)
def test_frame_durations_are_rounded_and_capped(asked: int, shown: int) -> None:
    assert rounded_duration(asked) == shown


async def test_frames_of_a_plain_image_are_not_merged(connect: Connect, png: MakePng) -> None:
    answer = await edit(
        connect(), png("RGB", (64, 64), (9, 9, 9)), model=FLARE, output_format="gif", size="512x512"
    )

    assert getattr(opened(answer), "n_frames", 1) == 9


async def test_an_svg_is_a_safe_document_of_the_requested_size(connect: Connect) -> None:
    answer = await generate(connect(), output_format="svg", size="1536x1024", prompt="a <river> & \x00 more")

    document = first_of(answer)
    root = ET.fromstring(document)
    assert (root.tag, root.get("width"), root.get("height"), root.get("viewBox")) == (
        f"{SVG}svg",
        "1536",
        "1024",
        "0 0 1536 1024",
    )
    assert root.findtext(f"{SVG}title") == "a <river> &   more"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "desc",
        "defs",
        "linearGradient",
        "stop",
        "rect",
        "circle",
        "path",
    }
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
    assert first_of(await generate(connect(), output_format="svg", size="1536x1024", prompt="x")) != document


async def test_a_response_with_an_svg_has_svg_usage(connect: Connect) -> None:
    api = connect()

    answer = (
        await generate(
            api, output_format="svg", svg={"model": "gpt-5.4-mini", "reasoning": {"effort": "none"}}
        )
    ).json()
    usual = (await generate(api, output_format="svg")).json()["svg_usage"]

    usage = answer["svg_usage"]
    assert (usage["model"], usage["reasoning_tokens"]) == ("gpt-5.4-mini", 0)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usual["reasoning_tokens"] > 0
    assert answer["usage"]["output_tokens"] > 0
    assert "svg_usage" not in (await generate(api, output_format="png")).json()


async def test_the_author_of_an_svg_may_be_named_in_a_form(connect: Connect, png: MakePng) -> None:
    api = connect()
    form = {"model": FLARE, "prompt": "x", "output_format": "svg", "svg[model]": "gpt-5.4"}

    good, bad = [
        await api.post(
            "/images/edits",
            data={**form, "svg[reasoning][effort]": effort},
            files={"image": ("x.png", png(), "image/png")},
        )
        for effort in ("max", "huge")
    ]

    assert good.json()["svg_usage"]["model"] == "gpt-5.4"
    assert bad.json()["error"]["param"] == "svg.reasoning.effort"


async def test_an_svg_of_images_shows_their_colours(connect: Connect, png: MakePng) -> None:
    answer = await edit(
        connect(),
        png("RGB", (64, 64), (255, 0, 0)),
        png("RGB", (64, 64), (0, 0, 255)),
        model=FLARE,
        output_format="svg",
    )

    fills = [circle.get("fill") for circle in ET.fromstring(first_of(answer)).iter(f"{SVG}circle")]
    assert {"#ff0000", "#0000ff"} <= set(fills)


@pytest.mark.parametrize("output_format", ["png", "webp"])
async def test_a_transparent_edit_has_transparent_corners(
    connect: Connect, png: MakePng, output_format: str
) -> None:
    answer = await edit(connect(), png(), background="transparent", output_format=output_format)

    assert opened(answer).convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index] # four bands
    assert answer.json()["background"] == "transparent"


async def test_further_images_are_visible_in_the_result(connect: Connect, png: MakePng) -> None:
    api = connect()
    grey = png("RGB", (64, 64), (90, 90, 90))

    alone = opened(await edit(api, grey)).convert("RGB")
    several = opened(
        await edit(api, grey, png("RGB", (64, 64), (255, 0, 0)), png("RGB", (64, 64), (0, 0, 255)))
    ).convert("RGB")

    colours = {colour for _, colour in several.getcolors(maxcolors=2**24) or []}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert not {(255, 0, 0), (0, 0, 255)} & {colour for _, colour in alone.getcolors(maxcolors=2**24) or []}


async def test_with_a_mask_further_images_stay_inside_it(
    connect: Connect, png: MakePng, encoded: MakePng
) -> None:
    photo = Image.effect_mandelbrot((1024, 1024), (-2, -1.2, 1, 1.2), 50).convert("RGB")
    mask = Image.new("RGBA", (1024, 1024), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (200, 300, 800, 700))

    drawn = opened(
        await edit(
            connect(),
            encoded(photo),
            *[png("RGB", (64, 64), (255, 0, 0))] * 15,
            overlays={"mask": encoded(mask)},
        )
    )

    changed = ImageChops.difference(drawn.convert("RGB"), photo)
    assert changed.getbbox() == (200, 300, 800, 700)
    assert (255, 0, 0) in {colour for _, colour in drawn.convert("RGB").getcolors(maxcolors=2**24) or []}


async def test_a_markup_changes_the_image_where_something_is_drawn(
    connect: Connect, encoded: MakePng
) -> None:
    photo = Image.effect_mandelbrot((1024, 1024), (-2, -1.2, 1, 1.2), 50).convert("RGB")
    drawing = Image.new("RGBA", (1024, 1024))
    drawing.paste((255, 0, 0, 128), (100, 100, 500, 500))

    drawn = opened(await edit(connect(), encoded(photo), overlays={"markup": encoded(drawing)}))

    assert ImageChops.difference(drawn.convert("RGB"), photo).getbbox() == (100, 100, 500, 500)


async def test_an_image_is_rotated_as_its_exif_data_says(connect: Connect) -> None:
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64), (9, 9, 9)).save(buffer, "JPEG", exif=exif)
    upright = BytesIO()
    Image.new("RGBA", (64, 96)).save(upright, "PNG")
    files = {
        "image": ("x.jpg", buffer.getvalue(), "image/jpeg"),
        "markup": ("m.png", upright.getvalue(), "image/png"),
    }

    answer = await connect().post("/images/edits", data={"model": FLARE, "prompt": "x"}, files=files)

    assert answer.status_code == 200


async def test_high_input_fidelity_changes_less_of_the_image(connect: Connect, png: MakePng) -> None:
    api = connect()
    grey = png("RGB", (64, 64), (90, 90, 90))
    plain = Image.new("RGB", (1024, 1024), (90, 90, 90))

    off = [
        sum(ImageStat.Stat(ImageChops.difference(drawn.convert("RGB"), plain)).mean)
        for fidelity in ("low", "high")
        for drawn in [opened(await edit(api, grey, model="gpt-image-1.5", input_fidelity=fidelity))]
    ]

    assert off[1] < off[0]

"""Pixels of generated, edited and varied images."""

from base64 import b64decode
from collections.abc import Callable
from io import BytesIO

import httpx
import pytest
from PIL import Image, ImageChops, ImageStat

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]
MakePng = Callable[..., bytes]

SMALL = {"model": "dall-e-2", "size": "256x256", "response_format": "b64_json"}


@pytest.fixture(autouse=True)
def plain_scenes() -> None:
    """Scenes are drawn as users get them: these tests look at them."""


async def generated(api: httpx.AsyncClient, **fields: object) -> list[Image.Image]:
    return images_in(await api.post("/images/generations", json=fields))


async def edited(
    api: httpx.AsyncClient, image: bytes, mask: bytes | None = None, **fields: str
) -> Image.Image:
    files = {"image": ("x.png", image, "image/png")}
    if mask is not None:
        files["mask"] = ("m.png", mask, "image/png")
    return images_in(await api.post("/images/edits", data={"prompt": "a flamingo", **fields}, files=files))[0]


def images_in(answer: httpx.Response) -> list[Image.Image]:
    assert answer.status_code == 200, answer.text
    return [Image.open(BytesIO(b64decode(item["b64_json"]))) for item in answer.json()["data"]]


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return how far two images are apart on average, from 0 to 255."""
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(ImageStat.Stat(difference).mean) / 3


@pytest.mark.parametrize("size", ["256x256", "512x512", "1024x1024"])
async def test_a_dall_e_2_image_is_a_png_of_exactly_the_requested_size(connect: Connect, size: str) -> None:
    (drawn,) = await generated(connect(), **SMALL | {"size": size}, prompt="x")

    assert (drawn.format, "{}x{}".format(*drawn.size)) == ("PNG", size)


@pytest.mark.parametrize(("output_format", "found"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_a_gpt_image_2_image_has_the_requested_format_and_size(
    connect: Connect, output_format: str, found: str
) -> None:
    (drawn,) = await generated(connect(), prompt="x", size="1040x688", output_format=output_format)

    assert (drawn.format, drawn.size) == (found, (1040, 688))


async def test_a_size_of_4k_is_drawn_in_full(connect: Connect) -> None:
    (drawn,) = await generated(connect(), prompt="x", size="2160x3840", output_format="jpeg")

    assert drawn.size == (2160, 3840)


async def test_compression_makes_an_image_smaller(connect: Connect) -> None:
    api = connect()

    sizes = [
        len((await api.post("/images/generations", json={**body, "output_compression": level})).content)
        for body in ({"prompt": "x", "output_format": "jpeg"}, {"prompt": "x", "output_format": "webp"})
        for level in (20, 90)
    ]

    assert sizes[0] < sizes[1]
    assert sizes[2] < sizes[3]


async def test_a_transparent_background_leaves_the_corners_empty(connect: Connect) -> None:
    answer = await connect().post("/images/generations", json={"prompt": "x", "background": "transparent"})

    (drawn,) = images_in(answer)
    alpha = drawn.getchannel("A")
    assert (alpha.getpixel((0, 0)), alpha.getpixel((512, 512))) == (0, 255)
    assert answer.json()["background"] == "transparent"


async def test_the_same_request_gives_the_same_pixels(connect: Connect) -> None:
    one = await generated(connect(), **SMALL, prompt="an otter", n=3)
    two = await generated(connect(), **SMALL, prompt="an otter", n=3)

    assert all(same(a, b) for a, b in zip(one, two, strict=True))


async def test_images_of_one_request_differ(connect: Connect) -> None:
    images = await generated(connect(), **SMALL, prompt="an otter", n=10)

    assert len({drawn.tobytes() for drawn in images}) == 10


async def test_another_prompt_or_seed_gives_another_image(connect: Connect) -> None:
    (one,) = await generated(connect(), **SMALL, prompt="an otter")
    (two,) = await generated(connect(), **SMALL, prompt="a cat")
    (three,) = await generated(connect(seed=1), **SMALL, prompt="an otter")

    assert len({drawn.tobytes() for drawn in (one, two, three)}) == 3


@pytest.mark.parametrize(
    "prompt", ["x", "a word " * 140, "w" * 1000, "日本 🦦 é", "\x00\x01", " ", "two\nlines", "\u202eback"]
)
async def test_any_prompt_can_be_drawn(connect: Connect, prompt: str) -> None:
    (drawn,) = await generated(connect(), **SMALL, prompt=prompt)

    assert drawn.size == (256, 256)


async def test_the_prompt_is_written_in_bright_letters_at_the_bottom(connect: Connect) -> None:
    (drawn,) = await generated(connect(), model="dall-e-2", response_format="b64_json", prompt="WWWW")

    foot = drawn.convert("L").crop((300, 900, 724, 1000))
    darkest, brightest = foot.getextrema()
    assert isinstance(darkest, int)
    assert isinstance(brightest, int)
    assert (brightest > 240, darkest < 70) == (True, True)


async def test_an_edit_repaints_only_where_the_mask_is_transparent(
    connect: Connect, encoded: MakePng
) -> None:
    photo = Image.effect_mandelbrot((256, 256), (-2, -1.2, 1, 1.2), 50).convert("RGB")
    mask = Image.new("RGBA", (256, 256), (9, 9, 9, 255))
    mask.paste((0, 0, 0, 0), (30, 40, 200, 180))
    mask.paste((0, 0, 0, 1), (60, 60, 80, 80))

    drawn = await edited(connect(), encoded(photo), encoded(mask), **SMALL)

    changed = ImageChops.difference(drawn.convert("RGB"), photo)
    holes = mask.getchannel("A").point([255, *[0] * 255])
    outside = Image.composite(Image.new("RGB", (256, 256)), changed, holes)
    assert outside.getbbox() is None
    assert changed.getbbox() == (30, 40, 200, 180)


async def test_an_edit_scales_a_larger_image_to_the_requested_size_first(
    connect: Connect, encoded: MakePng
) -> None:
    photo = Image.effect_mandelbrot((512, 512), (-2, -1.2, 1, 1.2), 50).convert("RGB")
    mask = Image.new("RGBA", (512, 512), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 256, 512))

    drawn = await edited(connect(), encoded(photo), encoded(mask), **SMALL)

    small = photo.resize((256, 256), Image.Resampling.LANCZOS)
    right = (128, 0, 256, 256)
    assert same(drawn.convert("RGB").crop(right), small.crop(right))
    assert distance(drawn.crop((0, 0, 128, 256)), small.crop((0, 0, 128, 256))) > 10


async def test_without_a_mask_the_transparent_part_of_the_image_is_repainted(
    connect: Connect, encoded: MakePng
) -> None:
    photo = Image.new("RGBA", (256, 256), (10, 200, 30, 255))
    photo.paste((10, 200, 30, 0), (0, 128, 256, 256))

    drawn = (await edited(connect(), encoded(photo), None, **SMALL)).convert("RGB")

    assert drawn.crop((0, 0, 256, 128)).getcolors() == [(256 * 128, (10, 200, 30))]
    assert drawn.crop((0, 128, 256, 256)).getcolors() != [(256 * 128, (10, 200, 30))]


async def test_an_opaque_mask_changes_nothing(connect: Connect, png: MakePng) -> None:
    drawn = await edited(
        connect(), png("RGB", (256, 256), (10, 200, 30)), png("RGBA", (256, 256), (0, 0, 0, 255)), **SMALL
    )

    assert drawn.getcolors() == [(256 * 256, (10, 200, 30))]


async def test_gpt_image_2_paints_softly_over_an_opaque_image(connect: Connect, png: MakePng) -> None:
    blue = await edited(connect(), png("RGB", (64, 64), (0, 0, 255)))
    red = await edited(connect(), png("RGB", (64, 64), (255, 0, 0)))

    assert blue.size == (1024, 1024)
    assert blue.getcolors(maxcolors=1000) is None
    top = (0, 0, 1024, 200)
    assert distance(blue.crop(top), red.crop(top)) > 60


async def test_a_variation_resembles_its_image_and_differs_from_it(
    connect: Connect, encoded: MakePng
) -> None:
    api = connect()
    red = Image.new("RGB", (256, 256), (180, 30, 30))
    red.paste((255, 255, 255), (20, 20, 90, 90))
    files = {"image": ("x.png", encoded(red), "image/png")}

    answer = await api.post("/images/variations", data={**SMALL, "n": "10"}, files=files)

    images = images_in(answer)
    assert len({drawn.tobytes() for drawn in images}) == 10
    mirrored, straight = images[0].convert("L"), images[1].convert("L")
    assert mirrored.getpixel((201, 55)) > mirrored.getpixel((55, 55))  # type: ignore[operator] # one band
    assert straight.getpixel((55, 55)) > straight.getpixel((201, 55))  # type: ignore[operator] # one band
    assert all(distance(drawn, red) > 5 for drawn in images)


async def test_a_variation_of_a_transparent_image_is_white(connect: Connect, png: MakePng) -> None:
    files = {"image": ("x.png", png("RGBA", (64, 64), (0, 0, 0, 0)), "image/png")}

    (drawn,) = images_in(await connect().post("/images/variations", data=SMALL, files=files))

    assert min(ImageStat.Stat(drawn.convert("L")).mean) > 220

"""Pixels of generated, edited and varied images."""

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.emulator.api import Api, Connect, distance, encoded, file, images_in, png

pytestmark = pytest.mark.anyio

SMALL = {"model": "dall-e-2", "size": "256x256", "response_format": "b64_json"}
TWO = {"model": "gpt-image-2"}
GREEN = (10, 200, 30)
WHOLE = (256, 256)


@pytest.fixture(autouse=True)
def plain_scenes() -> None:
    """Scenes are drawn as users get them: these tests look at them."""


async def generated(api: Api, **fields: object) -> list[Image.Image]:
    return images_in(await api.generate(response_format="b64_json", **fields))


async def edited(api: Api, image: bytes, mask: bytes | None = None, /, **fields: str) -> Image.Image:
    files = [file("image", image), *([file("mask", mask)] if mask else [])]
    return images_in(await api.edit(*files, **(fields or SMALL)))[0]


def photo_of(edge: int) -> Image.Image:
    return Image.effect_mandelbrot((edge, edge), (-2, -1.2, 1, 1.2), 50).convert("RGB")


def mask_of(edge: int, *holes: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("RGBA", (edge, edge), (9, 9, 9, 255))
    for hole in holes:
        mask.paste((0, 0, 0, 0), hole)
    return mask


PNGS = [
    ({"response_format": "b64_json", "size": size}, "PNG") for size in ("256x256", "512x512", "1024x1024")
]
OTHERS = [("png", "1040x688"), ("jpeg", "1040x688"), ("webp", "1040x688"), ("jpeg", "2160x3840")]
FORMATS = [({**TWO, "output_format": kind, "size": size}, kind.upper()) for kind, size in OTHERS]


@pytest.mark.parametrize(("fields", "kind"), [*PNGS, *FORMATS])
async def test_an_image_has_the_requested_format_and_size(
    api: Api, fields: dict[str, str], kind: str
) -> None:
    (drawn,) = images_in(await api.generate(**fields))

    assert (drawn.format, "{}x{}".format(*drawn.size)) == (kind, fields["size"])


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
async def test_compression_makes_an_image_smaller(api: Api, output_format: str) -> None:
    fields = {**TWO, "output_format": output_format}

    small, large = [await api.generate(**fields, output_compression=level) for level in (20, 90)]

    assert len(small.content) < len(large.content)


async def test_a_transparent_background_leaves_the_corners_empty(api: Api) -> None:
    answer = await api.generate(**TWO, background="transparent")

    alpha = images_in(answer)[0].getchannel("A")
    assert (alpha.getpixel((0, 0)), alpha.getpixel((512, 512))) == (0, 255)
    assert answer.json()["background"] == "transparent"


async def test_the_same_request_gives_the_same_pixels_and_any_other_request_others(connect: Connect) -> None:
    api = connect()
    one = [image.tobytes() for image in await generated(api, prompt="an otter", n=10)]

    again = [image.tobytes() for image in await generated(connect(), prompt="an otter", n=10)]
    (cat,) = await generated(api, prompt="a cat")
    (reseeded,) = await generated(connect(seed=1), prompt="an otter")

    assert one == again
    assert len({*one, cat.tobytes(), reseeded.tobytes()}) == 12


@pytest.mark.parametrize(
    "prompt", ["x", "a word " * 140, "w" * 1000, "日本 🦦 é", "\x00\x01", " ", "two\nlines", "\u202eback"]
)
async def test_any_prompt_can_be_drawn(api: Api, prompt: str) -> None:
    (drawn,) = await generated(api, prompt=prompt)

    assert drawn.size == WHOLE


async def test_the_prompt_is_written_in_bright_letters_at_the_bottom(api: Api) -> None:
    (drawn,) = await generated(api, size="1024x1024", prompt="WWWW")

    shades = drawn.convert("L").crop((300, 900, 724, 1000)).histogram()
    assert sum(shades[:70]) > 0
    assert sum(shades[241:]) > 0


async def test_an_edit_repaints_only_where_the_mask_is_transparent(api: Api) -> None:
    photo, mask = photo_of(256), mask_of(256, (30, 40, 200, 180))
    mask.paste((0, 0, 0, 1), (60, 60, 80, 80))

    drawn = await edited(api, encoded(photo), encoded(mask))

    changed = ImageChops.difference(drawn.convert("RGB"), photo)
    holes = mask.getchannel("A").point([255, *[0] * 255])
    assert Image.composite(Image.new("RGB", WHOLE), changed, holes).getbbox() is None
    assert changed.getbbox() == (30, 40, 200, 180)


async def test_an_edit_scales_a_larger_image_to_the_requested_size_first(api: Api) -> None:
    photo = photo_of(512)

    drawn = await edited(api, encoded(photo), encoded(mask_of(512, (0, 0, 256, 512))))

    small = photo.resize(WHOLE, Image.Resampling.LANCZOS)
    left, right = (0, 0, 128, 256), (128, 0, 256, 256)
    assert drawn.convert("RGB").crop(right).tobytes() == small.crop(right).tobytes()
    assert distance(drawn.crop(left), small.crop(left)) > 10


async def test_without_a_mask_the_transparent_part_of_the_image_is_repainted(api: Api) -> None:
    photo = Image.new("RGBA", WHOLE, (*GREEN, 255))
    photo.paste((*GREEN, 0), (0, 128, 256, 256))

    drawn = (await edited(api, encoded(photo))).convert("RGB")

    assert drawn.crop((0, 0, 256, 128)).getcolors() == [(256 * 128, GREEN)]
    assert drawn.crop((0, 128, 256, 256)).getcolors() != [(256 * 128, GREEN)]


async def test_an_opaque_mask_changes_nothing(api: Api) -> None:
    drawn = await edited(api, png("RGB", WHOLE, GREEN), encoded(mask_of(256)))

    assert drawn.getcolors() == [(256 * 256, GREEN)]


async def test_gpt_image_2_paints_softly_over_an_opaque_image(api: Api) -> None:
    blue = await edited(api, png("RGB", (64, 64), (0, 0, 255)), **TWO)
    red = await edited(api, png("RGB", (64, 64), (255, 0, 0)), **TWO)

    assert blue.size == (1024, 1024)
    assert blue.getcolors(maxcolors=1000) is None
    top = (0, 0, 1024, 200)
    assert distance(blue.crop(top), red.crop(top)) > 60


async def test_high_input_fidelity_changes_less_of_the_image(api: Api) -> None:
    grey, terms = (
        Image.new("RGB", (1024, 1024), (90, 90, 90)),
        {"model": "gpt-image-1.5", "size": "1024x1024"},
    )

    low, high = [await edited(api, encoded(grey), **terms, input_fidelity=level) for level in ("low", "high")]

    assert distance(high, grey) < distance(low, grey)


async def test_a_variation_resembles_its_image_and_differs_from_it(api: Api) -> None:
    red = Image.new("RGB", WHOLE, (180, 30, 30))
    red.paste((255, 255, 255), (20, 20, 90, 90))

    images = images_in(await api.vary(file("image", encoded(red)), **SMALL, n="10"))

    assert len({drawn.tobytes() for drawn in images}) == 10
    mirrored, straight = images[0].convert("L"), images[1].convert("L")
    assert mirrored.getpixel((201, 55)) > mirrored.getpixel((55, 55))  # type: ignore[operator] # one band
    assert straight.getpixel((55, 55)) > straight.getpixel((201, 55))  # type: ignore[operator] # one band
    assert all(distance(drawn, red) > 5 for drawn in images)


async def test_a_variation_of_a_transparent_image_is_white(api: Api) -> None:
    (drawn,) = images_in(await api.vary(file("image", png("RGBA")), **SMALL))

    assert min(ImageStat.Stat(drawn.convert("L")).mean) > 220


@pytest.mark.parametrize("output_format", ["png", "webp"])
async def test_a_transparent_edit_has_transparent_corners(api: Api, output_format: str) -> None:
    drawn = await edited(api, png(), **TWO, background="transparent", output_format=output_format)

    assert drawn.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index] # four bands


async def test_further_images_are_visible_in_the_result(api: Api) -> None:
    colours = [(90, 90, 90), (255, 0, 0), (0, 0, 255)]
    files = [file("image[]", png("RGB", (64, 64), colour)) for colour in colours]

    for sent in (files[:1], files):
        (drawn,) = images_in(await api.edit(*sent, **TWO))
        shown = {colour for _, colour in drawn.convert("RGB").getcolors(maxcolors=2**24) or []}
        assert shown & set(colours[1:]) == set(colours[1 : len(sent)])


async def test_with_a_mask_further_images_stay_inside_it(api: Api) -> None:
    photo, mask = photo_of(1024), mask_of(1024, (200, 300, 800, 700))
    files = [encoded(photo), *[png("RGB", (64, 64), (255, 0, 0))] * 15]

    sent = [*(file("image[]", data) for data in files), file("mask", encoded(mask))]
    (image,) = images_in(await api.edit(*sent, **TWO))

    drawn = image.convert("RGB")
    assert ImageChops.difference(drawn, photo).getbbox() == (200, 300, 800, 700)
    assert (255, 0, 0) in {colour for _, colour in drawn.getcolors(maxcolors=2**24) or []}


async def test_a_markup_changes_the_image_where_something_is_drawn(api: Api) -> None:
    photo, drawing = photo_of(1024), Image.new("RGBA", (1024, 1024))
    drawing.paste((255, 0, 0, 128), (100, 100, 500, 500))
    files = file("image", encoded(photo)), file("markup", encoded(drawing))

    (drawn,) = images_in(await api.edit(*files, model="gpt-image-2.5-flare"))

    assert ImageChops.difference(drawn.convert("RGB"), photo).getbbox() == (100, 100, 500, 500)

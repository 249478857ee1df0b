"""Each remedy of a server error can be followed, and the server then accepts the request."""

from collections.abc import Callable
from datetime import date

import PIL.Image
import pytest

from imagesdk import BadRequestError, Client, Remedy, make_mask, prepare_image
from imagesdk.emulator import Emulator
from tests.support.odd_images import encoded, halves, holed, inks
from tests.support.small_images import png

MIB = 1024 * 1024
OBLONG, SQUARE = encoded(halves(96, 64)), encoded(halves(64, 64))
JPEG, GIF = encoded(halves(64, 64), "JPEG"), encoded(halves(), "GIF")
CLEAR, BLACK = (encoded(PIL.Image.new("RGBA", (64, 64), color)) for color in ("#0000", "black"))
HUGE = png(64, 64, padding=4 * MIB)

Do = Callable[[Client], object]


def vary(image: bytes) -> Do:
    return lambda client: client.images.create_variation(image)


def edit(image: bytes, mask: bytes | None = None) -> Do:
    return lambda client: client.images.edit(image, "a lounge", mask=mask)


def edit_today(image: bytes, markup: bytes | None = None) -> Do:
    model = "gpt-image-2.5-flare"
    return lambda client: client.images.edit(image, "a lounge", model=model, markup=markup, check=False)


def small_square(image: bytes) -> bytes:
    return prepare_image(image, square="crop", max_bytes=4 * MIB)


IN_2023 = date(2023, 6, 1)
SMALL_SQUARE, NO_MASK = Remedy.PREPARE_SMALL_SQUARE.of(4 * MIB), [Remedy.PASS_MASK, Remedy.MAKE_MASK]
SQUARED: list[Do] = [vary(prepare_image(OBLONG, square=how)) for how in ("crop", "pad")]
MARKED = edit_today(SQUARE, holed(64, 64))
MASKED = edit(SQUARE, make_mask(SQUARE, boxes=[(0, 0, 9, 9)]))
CASES: dict[str, tuple[date | None, Do, list[Remedy], list[Do]]] = {
    "an image that is not square": (IN_2023, vary(OBLONG), [Remedy.PREPARE_SQUARE], SQUARED),
    "an image that is too large": (IN_2023, vary(HUGE), [SMALL_SQUARE], [vary(small_square(HUGE))]),
    "a JPEG": (IN_2023, vary(JPEG), [SMALL_SQUARE], [vary(small_square(JPEG))]),
    "neither transparency nor a mask": (IN_2023, edit(SQUARE), NO_MASK, [MASKED, edit(CLEAR)]),
    "a mask of another size": (IN_2023, edit(SQUARE, holed(32, 32)), [Remedy.MAKE_MASK], [MASKED]),
    "a mask without transparency": (IN_2023, edit(SQUARE, SQUARE), [Remedy.MAKE_MASK], [MASKED]),
    "a mask that is a JPEG": (IN_2023, edit(SQUARE, JPEG), [Remedy.MAKE_MASK], [MASKED]),
    "a JPEG in CMYK": (None, edit_today(inks()), [Remedy.CONVERT_IMAGE], [edit_today(prepare_image(inks()))]),
    "a GIF": (None, edit_today(GIF), [Remedy.CONVERT_IMAGE], [edit_today(prepare_image(GIF))]),
    **{
        f"a markup {fault}": (None, edit_today(SQUARE, markup), [Remedy.DRAW_MARKUP], [MARKED])
        for fault, markup in {
            "of another size": holed(32, 32),
            "without an alpha channel": SQUARE,
            "without a transparent pixel": BLACK,
        }.items()
    },
}


@pytest.mark.parametrize(("day", "refused", "remedies", "followed"), CASES.values(), ids=CASES)
def test_the_server_of_a_day_accepts_a_request_that_follows_its_remedies(
    day: date | None, refused: Do, remedies: list[Remedy], followed: list[Do]
) -> None:
    """The calls name no model of that day, or turn the checks off, so that only the server refuses."""
    with (
        Emulator(limit=None, as_of=day) as emulator,
        Client(base_url=emulator.base_url, api_key="", rate_limit=None) as client,
    ):
        with pytest.raises(BadRequestError) as caught:
            refused(client)
        assert caught.value.remedies == tuple(remedies)
        for call in followed:
            call(client)

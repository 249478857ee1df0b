"""Each remedy of a server error can be followed, and the server then accepts the request."""

from collections.abc import Callable, Iterator
from datetime import date

import PIL.Image
import pytest

from imagesdk import BadRequestError, Client, Remedy, make_mask, prepare_image
from imagesdk.emulator import Emulator
from tests.support.odd_images import encoded, halves, holed, inks
from tests.support.small_images import png

MIB = 1024 * 1024
OBLONG, SQUARE = encoded(halves(96, 64)), encoded(halves(64, 64))
CLEAR = encoded(PIL.Image.new("RGBA", (64, 64)))
HUGE = png(64, 64, padding=4 * MIB)
NEW = "gpt-image-2.5-flare"

Do = Callable[[Client], object]


def vary(image: bytes) -> Do:
    return lambda client: client.images.create_variation(image)


def edit(image: bytes, **options: bytes) -> Do:
    mask = options.get("mask")
    return lambda client: client.images.edit(image, "a lounge", mask=mask)


def edit_today(image: bytes, **options: bytes) -> Do:
    markup = options.get("markup")
    return lambda client: client.images.edit(image, "a lounge", model=NEW, markup=markup, check=False)


IN_2023 = [
    pytest.param(
        vary(OBLONG),
        [Remedy.PREPARE_SQUARE],
        [vary(prepare_image(OBLONG, square="crop")), vary(prepare_image(OBLONG, square="pad"))],
        id="an image that is not square",
    ),
    pytest.param(
        vary(HUGE),
        [Remedy.PREPARE_SMALL_SQUARE.of(4 * MIB)],
        [vary(prepare_image(HUGE, square="crop", max_bytes=4 * 1024 * 1024))],
        id="an image that is too large",
    ),
    pytest.param(
        vary(encoded(halves(96, 64), "JPEG")),
        [Remedy.PREPARE_SMALL_SQUARE.of(4 * MIB)],
        [vary(prepare_image(encoded(halves(96, 64), "JPEG"), square="crop", max_bytes=4 * 1024 * 1024))],
        id="a JPEG",
    ),
    pytest.param(
        edit(SQUARE),
        [Remedy.PASS_MASK, Remedy.MAKE_MASK],
        [edit(SQUARE, mask=make_mask(SQUARE, boxes=[(0, 0, 9, 9)])), edit(CLEAR)],
        id="neither transparency nor a mask",
    ),
    pytest.param(
        edit(SQUARE, mask=holed(32, 32)),
        [Remedy.MAKE_MASK],
        [edit(SQUARE, mask=make_mask(SQUARE, boxes=[(0, 0, 9, 9)]))],
        id="a mask of another size",
    ),
    pytest.param(
        edit(SQUARE, mask=SQUARE),
        [Remedy.MAKE_MASK],
        [edit(SQUARE, mask=make_mask(SQUARE, boxes=[(0, 0, 9, 9)]))],
        id="a mask without transparency",
    ),
    pytest.param(
        edit(SQUARE, mask=encoded(halves(64, 64), "JPEG")),
        [Remedy.MAKE_MASK],
        [edit(SQUARE, mask=make_mask(SQUARE, boxes=[(0, 0, 9, 9)]))],
        id="a mask that is a JPEG",
    ),
]
TODAY = [
    pytest.param(
        edit_today(inks()), [Remedy.CONVERT_IMAGE], [edit_today(prepare_image(inks()))], id="a JPEG in CMYK"
    ),
    pytest.param(
        edit_today(encoded(halves(), "GIF")),
        [Remedy.CONVERT_IMAGE],
        [edit_today(prepare_image(encoded(halves(), "GIF")))],
        id="a GIF",
    ),
    *(
        pytest.param(
            edit_today(SQUARE, markup=markup),
            [Remedy.DRAW_MARKUP],
            [edit_today(SQUARE, markup=holed(64, 64))],
            id=f"a markup {what}",
        )
        for what, markup in {
            "of another size": holed(32, 32),
            "without an alpha channel": SQUARE,
            "without a transparent pixel": encoded(PIL.Image.new("RGBA", (64, 64), "black")),
        }.items()
    ),
]


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Yield a client of a server of a day. It names no model and so checks nothing itself."""
    day: date | None = request.param
    with (
        Emulator(limit=None, as_of=day) as emulator,
        Client(base_url=emulator.base_url, api_key="", rate_limit=None) as client,
    ):
        yield client


def follow(client: Client, refused: Do, remedies: list[Remedy], followed: list[Do]) -> None:
    with pytest.raises(BadRequestError) as caught:
        refused(client)
    assert caught.value.remedies == tuple(remedies)
    for done in followed:
        done(client)


@pytest.mark.parametrize("client", [date(2023, 6, 1)], indirect=True, ids=str)
@pytest.mark.parametrize(("refused", "remedies", "followed"), IN_2023)
def test_a_server_of_2023_accepts_the_request_after_its_remedy(
    client: Client, refused: Do, remedies: list[Remedy], followed: list[Do]
) -> None:
    follow(client, refused, remedies, followed)


@pytest.mark.parametrize("client", [None], indirect=True, ids=["today"])
@pytest.mark.parametrize(("refused", "remedies", "followed"), TODAY)
def test_a_server_of_today_accepts_the_request_after_its_remedy(
    client: Client, refused: Do, remedies: list[Remedy], followed: list[Do]
) -> None:
    follow(client, refused, remedies, followed)

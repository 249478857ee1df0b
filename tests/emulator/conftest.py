"""Fixtures for the emulator's tests: a clock that tests set, small images, and clients in process.

The tests run on asyncio. Those in which the event loop of the application matters run on trio too.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import Emulator, EmulatorState, create_app
from imagesdk.emulator.drawing.painting import Painting
from tests.emulator.api import Api, Clock, Connect


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the server, under which these tests call the application."""
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state() -> EmulatorState:
    """State of the emulator behind ``connect``."""
    return EmulatorState()


@pytest.fixture
def connect(clock: Clock, state: EmulatorState) -> Connect:
    def connect(*, host: str = "127.0.0.1:8000", limit: str | None = None, **options: Any) -> Api:
        app = create_app(limit=limit, clock=clock, state=state, **options)
        return Api(transport=httpx.ASGITransport(app), base_url=f"http://{host}/v1")

    return connect


@pytest.fixture
def api(connect: Connect) -> Api:
    """A client of an emulator in process with the usual options, but without a limit."""
    return connect()


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator(limit=None) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """An emulator on a socket without a limit, as if just started."""
    shared_emulator.reset()
    return shared_emulator


@pytest.fixture
async def socket_api(emulator: Emulator) -> AsyncIterator[Api]:
    """A client of the emulator on a socket."""
    async with Api(base_url=emulator.base_url, timeout=30) as api:
        yield api


@pytest.fixture
def tiny_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw next to nothing, for tests in which pixels do not matter."""

    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """Encode an image: ``encoded(image)`` or ``encoded(image, "JPEG")``."""

    def encoded(image: Image.Image, image_format: str = "PNG") -> bytes:
        buffer = BytesIO()
        image.save(buffer, image_format)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def png(encoded: Callable[..., bytes]) -> Callable[..., bytes]:
    """Encode a plain PNG: ``png("RGBA", (64, 64), (255, 0, 0, 0))``."""

    def png(mode: str = "RGB", size: tuple[int, int] = (64, 64), colour: int | tuple[int, ...] = 0) -> bytes:
        return encoded(Image.new(mode, size, colour))

    return png

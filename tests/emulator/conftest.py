"""Fixtures for the emulator's tests: a clock that tests set, small images, and clients in process.

The tests run on asyncio. Those in which the event loop of the application matters run on trio too.
"""

from collections.abc import Callable, Iterator
from datetime import date
from io import BytesIO
from typing import Protocol

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import Emulator, EmulatorState, create_app
from imagesdk.emulator.drawing.painting import Painting


class FakeClock:
    """Seconds since the epoch. Only a test advances them."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Connect(Protocol):
    def __call__(
        self,
        *,
        limit: str | None = None,
        seed: int = 0,
        as_of: date | None = None,
        require_key: bool = False,
        done_marker: bool = False,
        verified: bool = True,
        allow_remote: bool = False,
        host: str = "127.0.0.1:8000",
    ) -> httpx.AsyncClient: ...


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the server, under which these tests call the application."""
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def state() -> EmulatorState:
    """State of the emulator behind ``connect``."""
    return EmulatorState()


@pytest.fixture
def connect(clock: FakeClock, state: EmulatorState) -> Connect:
    """A client of an emulator in process, without a limit unless a test sets one."""

    def connect(
        *,
        limit: str | None = None,
        seed: int = 0,
        as_of: date | None = None,
        require_key: bool = False,
        done_marker: bool = False,
        verified: bool = True,
        allow_remote: bool = False,
        host: str = "127.0.0.1:8000",
    ) -> httpx.AsyncClient:
        app = create_app(
            limit=limit,
            seed=seed,
            as_of=as_of,
            require_key=require_key,
            done_marker=done_marker,
            verified=verified,
            allow_remote=allow_remote,
            clock=clock,
            state=state,
        )
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}/v1")

    return connect


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

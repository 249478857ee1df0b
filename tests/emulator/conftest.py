"""Fixtures for the emulator's tests: a clock that stands still, small pictures, and clients in process."""

from collections.abc import Callable
from datetime import date
from io import BytesIO
from typing import Protocol

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import EmulatorState, create_app


class FakeClock:
    """Seconds since the epoch that pass only when a test says so."""

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
    """The memory of the emulator that ``connect`` talks to."""
    return EmulatorState()


@pytest.fixture
def connect(clock: FakeClock, state: EmulatorState) -> Connect:
    """A client of an emulator in process; no limit unless a test asks for one."""

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


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """Encode a picture: ``encoded(picture)`` or ``encoded(picture, "JPEG")``."""

    def encoded(picture: Image.Image, image_format: str = "PNG") -> bytes:
        buffer = BytesIO()
        picture.save(buffer, image_format)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def png(encoded: Callable[..., bytes]) -> Callable[..., bytes]:
    """Encode a plain PNG: ``png("RGBA", (64, 64), (255, 0, 0, 0))``."""

    def png(mode: str = "RGB", size: tuple[int, int] = (64, 64), colour: int | tuple[int, ...] = 0) -> bytes:
        return encoded(Image.new(mode, size, colour))

    return png

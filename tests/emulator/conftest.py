"""Fixtures for the emulator's tests: a clock that tests set, small images, and clients in process.

The tests run on asyncio. Those in which the event loop of the application matters run on trio too.
"""

from collections.abc import AsyncIterator
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
    return EmulatorState()


@pytest.fixture
def connect(clock: Clock, state: EmulatorState) -> Connect:
    def connect(*, host: str = "127.0.0.1:8000", limit: str | None = None, **options: Any) -> Api:
        app = create_app(limit=limit, clock=clock, state=state, **options)
        return Api(state, f"http://{host}/v1", transport=httpx.ASGITransport(app))

    return connect


@pytest.fixture
def api(connect: Connect) -> Api:
    """A client of an emulator in process with the usual options, but without a limit."""
    return connect()


@pytest.fixture
async def socket_api(emulator: Emulator) -> AsyncIterator[Api]:
    async with Api(emulator.state, emulator.base_url, timeout=30) as api:
        yield api


@pytest.fixture
def tiny_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw next to nothing, for tests in which pixels do not matter."""

    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)

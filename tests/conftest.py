"""Fixtures for the whole suite: every async test runs on asyncio and on trio, none sees the machine's settings.

Modules and tests marked ``one_loop``, which do not depend on the event loop, run on asyncio alone.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import respx
from hypothesis import settings
from PIL import Image

from imagesdk import AsyncClient, RetryPolicy
from imagesdk._ratelimit.shared import LimiterRegistry
from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from tests.support.billing_server import BillingServer, billing_server
from tests.support.certificates import Authority
from tests.support.small_images import answer, png

if TYPE_CHECKING:
    from tests.support.file_systems import Lab

# The same examples each time: chance has its place in the session of the searches, where what it finds can be looked into.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=30)
settings.register_profile("search", max_examples=5000, deadline=None)
settings.load_profile("suite")

# A shell without job control starts what it puts in the background with SIGINT ignored, and children inherit that.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Programs that tests start load our modules sooner where compiled ones are kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ("pytester",)

_SETTINGS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "IMAGESDK_RATE_LIMIT",
    "IMAGESDK_SHARED",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked ``one_loop`` on asyncio alone."""
    if "anyio_backend" in metafunc.fixturenames and metafunc.definition.get_closest_marker("one_loop"):
        metafunc.definition.add_marker(pytest.mark.parametrize("anyio_backend", ["asyncio"]))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that an async test runs on."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings that a machine may have for clients."""
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def fresh_limits(monkeypatch: pytest.MonkeyPatch) -> LimiterRegistry:
    """Give each test rate limits of its own: a port may be used again, and windows outlive their clients."""
    registry = LimiterRegistry()
    monkeypatch.setattr("imagesdk._engine.engine.PROCESS_LIMITERS", registry)
    return registry


@pytest.fixture(autouse=True)
def plain_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have emulators of this process draw scenes that are nothing but a ramp, which takes a tenth of the time."""

    def plain(key: str, palette: object, size: tuple[int, int]) -> Image.Image:
        green, blue, *_ = sha256(key.encode()).digest()
        ramp = Image.linear_gradient("L").resize(size, Image.Resampling.NEAREST)
        return Image.merge("RGB", (ramp, Image.new("L", size, green), Image.new("L", size, blue)))

    monkeypatch.setattr("imagesdk.emulator.drawing.images.landscape", plain)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that signs certificates for the servers of tests."""
    return Authority.found(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server() -> Iterator[BillingServer]:
    """A server that answers every request with images and counts what it bills."""
    with billing_server() as server:
        yield server


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A remote file system, and a folder of temporary files of the test's own."""
    from tests.support.file_systems import laboratory

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with laboratory() as lab:
        yield lab


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
def small_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have emulators of this process draw next to nothing, for tests of many images."""

    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)


@pytest.fixture
def make_client() -> Callable[..., AsyncClient]:
    """Make a client without a key, a limit or delays, unless the test names them."""

    def make(base_url: str, **options: Any) -> AsyncClient:
        terms: dict[str, Any] = {
            "api_key": "",
            "rate_limit": None,
            "retry": RetryPolicy(backoff=0),
            **options,
        }
        return AsyncClient(base_url=base_url, **terms)

    return make


@pytest.fixture
def client(emulator: Emulator, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    """A client of the emulator without a limit or delays."""
    return make_client(emulator.base_url)


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    """Servers that answer every request for images with one image, and keep the requests."""
    with respx.mock(assert_all_called=False) as wire:
        for base_url in ("https://api.openai.com/v1", "https://images.test/v1"):
            for path in ("generations", "edits", "variations"):
                wire.post(f"{base_url}/images/{path}").respond(content=answer(png(2, 2)))
        yield wire


@pytest.fixture
async def own(make_client: Callable[..., AsyncClient]) -> AsyncIterator[AsyncClient]:
    """A client of the second server of ``wire``."""
    async with make_client("https://images.test/v1") as client:
        yield client

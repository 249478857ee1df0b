"""The contenders: each library behind the same few methods, used the way its own documentation shows."""

from __future__ import annotations

import ssl
import sys
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI, OpenAI

    from imagesdk import AsyncClient, Client, RateLimit

PROMPT = "a white siamese cat"
KEY = "bench"
BASELINE, OURS = "openai", "imagesdk"
"""The contender that all are read against, and the one that has goals."""

_numbers = count()


class Unavailable(Exception):  # noqa: N818 - no error: a row of the table that says why it is empty
    """The contender cannot do this here; the text says why."""


@frozen
class Place:
    """Address of the server."""

    base_url: str
    authority: str

    def context(self) -> ssl.SSLContext | None:
        secure = self.base_url.startswith("https:")
        return ssl.create_default_context(cafile=self.authority) if secure else None


class Caller:
    """A library, ready to be called. Contenders of the small scenarios can only generate."""

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        raise NotImplementedError

    async def edit(self, images: Sequence[Path]) -> None:
        raise NotImplementedError

    async def stream(self) -> int:
        raise NotImplementedError


Opener: TypeAlias = Callable[[Place], AbstractAsyncContextManager[Caller]]


@frozen
class _Imagesdk(Caller):
    client: AsyncClient

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        if folder is not None:
            await self.client.images.generate(PROMPT, n=n, out=folder)
            return []
        return [image.bytes for image in await self.client.images.generate(PROMPT, n=n)]

    async def edit(self, images: Sequence[Path]) -> None:
        await self.client.images.edit(list(images), PROMPT, check=False)

    async def stream(self) -> int:
        async with self.client.images.generate_stream(PROMPT, partial_images=3) as stream:
            return sum([1 async for event in stream if event.image.bytes])


@asynccontextmanager
async def _imagesdk(
    place: Place, *, rate_limit: RateLimit | None = None, **options: Any
) -> AsyncGenerator[Caller, None]:
    """Open imagesdk, by default without a rate limit: then 64 calls run at once, and the others wait."""
    from imagesdk import AsyncClient

    async with AsyncClient(base_url=place.base_url, api_key=KEY, rate_limit=rate_limit, **options) as client:
        yield _Imagesdk(client)


def open_imagesdk_fast(place: Place) -> AbstractAsyncContextManager[Caller]:
    if find_spec("pybase64") is None:
        raise Unavailable("pybase64 is not installed")
    return _imagesdk(place)


def open_imagesdk_limited(place: Place) -> AbstractAsyncContextManager[Caller]:
    from imagesdk import RateLimit
    from tests.benchmarks.limits import IMAGES, MINUTE

    limit = RateLimit(IMAGES, per=MINUTE, scope="client")  # the call that warms up is not counted
    return _imagesdk(place, rate_limit=limit)


def open_imagesdk_roomy(place: Place) -> AbstractAsyncContextManager[Caller]:
    from imagesdk import RateLimit

    return _imagesdk(place, rate_limit=RateLimit(1_000_000, scope="client"))


@asynccontextmanager
async def _imagesdk_instrumented(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk with telemetry, whose spans are batched and dropped, and whose metrics are summed."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

    from imagesdk import AsyncClient, telemetry

    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(BatchSpanProcessor(SpanExporter()))
    async with AsyncClient(base_url=place.base_url, api_key=KEY, rate_limit=None) as client:
        yield _Imagesdk(telemetry.instrument(client, tracer_provider=tracers, meter_provider=meters))
    tracers.shutdown()
    meters.shutdown()


def _imagesdk_plain(place: Place) -> AbstractAsyncContextManager[Caller]:
    sys.modules["pybase64"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    return _imagesdk(place)


def _imagesdk_unbounded(place: Place) -> AbstractAsyncContextManager[Caller]:
    from imagesdk._ratelimit import unlimited

    unlimited.CONCURRENCY = sys.maxsize  # read when the first call of a loop is made
    return _imagesdk(place)


def _imagesdk_over(place: Place, *, library: str, name: str) -> AbstractAsyncContextManager[Caller]:
    return _imagesdk(place, http_client=getattr(_library(library), name))


@frozen
class _Blocking(Caller):
    """A blocking client under the methods of the others: it blocks the loop, which has nothing else to do."""

    client: Client | OpenAI

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        self.client.images.generate(prompt=PROMPT, n=n)
        return []


@asynccontextmanager
async def _imagesdk_blocking(place: Place) -> AsyncGenerator[Caller, None]:
    from imagesdk import Client

    with Client(base_url=place.base_url, api_key=KEY, rate_limit=None) as client:
        yield _Blocking(client)


@asynccontextmanager
async def _openai_blocking(place: Place) -> AsyncGenerator[Caller, None]:
    from openai import OpenAI

    with OpenAI(base_url=place.base_url, api_key=KEY) as client:
        yield _Blocking(client)


@frozen
class _OpenAI(Caller):
    client: AsyncOpenAI
    as_file: Callable[[Path], Path | IO[bytes]]

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        response = await self.client.images.generate(prompt=PROMPT, n=n)
        return _kept([entry.b64_json or "" for entry in response.data or []], folder)

    async def edit(self, images: Sequence[Path]) -> None:
        with ExitStack() as stack:
            files = [self.as_file(path) for path in images]
            for file in files:
                if not isinstance(file, Path):
                    stack.enter_context(file)
            await self.client.images.edit(image=files, prompt=PROMPT)

    async def stream(self) -> int:
        newest, number = b"", 0
        async for event in await self.client.images.generate(prompt=PROMPT, partial_images=3, stream=True):
            newest, number = b64decode(event.b64_json), number + 1
        return number if newest else 0


@asynccontextmanager
async def _openai(
    place: Place, *, as_file: Callable[[Path], Path | IO[bytes]] = Path, **options: Any
) -> AsyncGenerator[Caller, None]:
    """Open the official client, by default with its defaults; ``as_file`` makes of a path what an edit is given."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    http_client = DefaultAsyncHttpxClient(verify=context) if (context := place.context()) else None
    async with AsyncOpenAI(
        base_url=place.base_url, api_key=KEY, http_client=http_client, **options
    ) as client:
        yield _OpenAI(client, as_file)


@frozen
class _Around(Caller):
    """Another library's way to call the official client."""

    call: Callable[[int], Awaitable[list[bytes]]]

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        return await self.call(n)


@asynccontextmanager
async def _tenacity(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official client with the retries of OpenAI's cookbook: six tries, random delays of up to a minute.

    https://cookbook.openai.com/examples/how_to_handle_rate_limits
    """
    from tests.benchmarks.limits import MINUTE

    tenacity = _library("tenacity")
    wait = tenacity.wait_random_exponential(multiplier=MINUTE / 60, min=MINUTE / 60, max=MINUTE)
    retry: Any = tenacity.retry(wait=wait, stop=tenacity.stop_after_attempt(6), reraise=True)
    async with _openai(place, max_retries=0) as caller:
        yield _Around(retry(partial(caller.generate, folder=None)))


@asynccontextmanager
async def _aiolimiter(place: Place) -> AsyncGenerator[Caller, None]:
    from tests.benchmarks.limits import IMAGES, MINUTE

    limiter = _library("aiolimiter").AsyncLimiter(IMAGES, MINUTE)
    async with _openai(place) as caller:

        async def call(n: int) -> list[bytes]:
            await limiter.acquire(n)
            return await caller.generate(n, None)

        yield _Around(call)


@frozen
class _Httpx(Caller):
    client: httpx.AsyncClient

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        response = await self.client.post("images/generations", json={"prompt": PROMPT, "n": n})
        response.raise_for_status()
        return _kept([entry["b64_json"] for entry in response.json()["data"]], folder)


@asynccontextmanager
async def _httpx(place: Place) -> AsyncGenerator[Caller, None]:
    import httpx

    async with httpx.AsyncClient(
        base_url=place.base_url,
        verify=place.context() or True,
        timeout=httpx.Timeout(None),
        headers={"authorization": f"Bearer {KEY}"},
    ) as client:
        yield _Httpx(client)


@frozen
class _Aiohttp(Caller):
    session: Any
    url: str
    context: ssl.SSLContext | None

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        terms: dict[str, Any] = {"ssl": self.context} if self.context else {}
        async with self.session.post(self.url, json={"prompt": PROMPT, "n": n}, **terms) as response:
            response.raise_for_status()
            body: Any = await response.json()
        return _kept([entry["b64_json"] for entry in body["data"]], folder)


@asynccontextmanager
async def _aiohttp(place: Place) -> AsyncGenerator[Caller, None]:
    async with _library("aiohttp").ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        yield _Aiohttp(session, f"{place.base_url}/images/generations", place.context())


_OPENERS: dict[str, Opener] = {
    BASELINE: _openai,
    f"{BASELINE}, open files": partial(
        _openai, as_file=lambda path: path.open("rb")
    ),  # read on the event loop
    f"{BASELINE}, 10 retries": partial(_openai, max_retries=10),
    f"{BASELINE}, blocking": _openai_blocking,
    "tenacity": _tenacity,
    "aiolimiter": _aiolimiter,
    OURS: _imagesdk,
    f"{OURS}, blocking": _imagesdk_blocking,
    f"{OURS}, unbounded": _imagesdk_unbounded,
    f"{OURS}, instrumented": _imagesdk_instrumented,
    f"{OURS} without pybase64": _imagesdk_plain,
    f"{OURS}, httpx": partial(_imagesdk_over, library="httpx", name="AsyncClient"),
    f"{OURS}, httpx2": partial(_imagesdk_over, library="httpx2", name="AsyncClient"),
    f"{OURS}, httpx-aiohttp": partial(_imagesdk_over, library="httpx_aiohttp", name="HttpxAiohttpClient"),
    "httpx": _httpx,
    "aiohttp": _aiohttp,
}


def openers(*names: str) -> dict[str, Opener]:
    return {name: _OPENERS[name] for name in names}


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise Unavailable(f"{name} is not installed") from None


def _kept(texts: list[str], folder: Path | None) -> list[bytes]:
    """Do with base64 what the examples of the official client do."""
    if folder is None:
        return [b64decode(text) for text in texts]
    for text in texts:
        (folder / f"{next(_numbers)}.png").write_bytes(b64decode(text))
    return []

"""The contenders: each library behind the same few methods, used the way its own documentation shows.

Nothing is imported before a contender is asked for, so that a sample holds one library only. A library that
nothing but the benchmarks needs is imported by name, so that the types check where it is missing.
"""

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
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI, OpenAI

    from imagesdk import AsyncClient, Client

PROMPT = "a white siamese cat"
KEY = "bench"


_numbers = count()


class Unavailable(Exception):  # noqa: N818 - no error: a row of the table that says why it is empty
    """The contender cannot do this here; the text says why."""


@frozen
class Place:
    """Where the server is."""

    base_url: str
    authority: str
    """A PEM file with the certificate to trust."""

    def context(self) -> ssl.SSLContext | None:
        """Return what a client needs for TLS; ``None`` for plain http."""
        secure = self.base_url.startswith("https:")
        return ssl.create_default_context(cafile=self.authority) if secure else None


class Caller(Protocol):
    """A library, ready to be called."""

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        """Get ``n`` pictures: into files in ``folder``, or returned."""
        ...

    async def edit(self, pictures: Sequence[Path]) -> None:
        """Send pictures."""
        ...

    async def stream(self) -> int:
        """Get the pictures of a stream as bytes, keeping the newest; return how many came."""
        ...


Opener: TypeAlias = Callable[[Place], AbstractAsyncContextManager[Caller]]
"""Imports a library, makes a client, and closes it in the end."""


class _GeneratesOnly:
    """The methods that a contender of the small scenarios does without."""

    async def edit(self, pictures: Sequence[Path]) -> None:
        raise NotImplementedError

    async def stream(self) -> int:
        raise NotImplementedError


@frozen
class _Imagesdk:
    client: AsyncClient

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        if folder is not None:
            await self.client.images.generate(PROMPT, n=n, out=folder)
            return []
        response = await self.client.images.generate(PROMPT, n=n)
        return [image.bytes for image in response]

    async def edit(self, pictures: Sequence[Path]) -> None:
        await self.client.images.edit(list(pictures), PROMPT, check=False)

    async def stream(self) -> int:
        async with self.client.images.generate_stream(PROMPT, partial_images=3) as stream:
            return sum([1 async for event in stream if event.image.bytes])


@asynccontextmanager
async def open_imagesdk(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk without a rate limit (then 64 calls are under way at once, and the others wait in line)."""
    from imagesdk import AsyncClient

    async with AsyncClient(base_url=place.base_url, api_key=KEY, rate_limit=None) as client:
        yield _Imagesdk(client)


@asynccontextmanager
async def open_imagesdk_fast(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk, sure of its fast decoder."""
    if find_spec("pybase64") is None:
        raise Unavailable("pybase64 is not installed")
    async with open_imagesdk(place) as caller:
        yield caller


@asynccontextmanager
async def open_imagesdk_plain(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk as if pybase64 were not installed."""
    sys.modules["pybase64"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    async with open_imagesdk(place) as caller:
        yield caller


@asynccontextmanager
async def open_imagesdk_unbounded(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk with as many calls under way at once as are made."""
    from imagesdk._ratelimit import unlimited

    unlimited.CONCURRENCY = sys.maxsize  # read when the first call of a loop is made
    async with open_imagesdk(place) as caller:
        yield caller


@asynccontextmanager
async def open_imagesdk_limited(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk with the limit that the server has."""
    from imagesdk import AsyncClient, RateLimit
    from tests.benchmarks.limits import IMAGES, MINUTE

    limit = RateLimit(IMAGES, per=MINUTE, scope="client")  # the call that warms up is not counted
    async with AsyncClient(base_url=place.base_url, api_key=KEY, rate_limit=limit) as client:
        yield _Imagesdk(client)


@asynccontextmanager
async def open_imagesdk_roomy(place: Place) -> AsyncGenerator[Caller, None]:
    """Open imagesdk with a rate limit that makes no call wait."""
    from imagesdk import AsyncClient, RateLimit

    limit = RateLimit(1_000_000, scope="client")
    async with AsyncClient(base_url=place.base_url, api_key=KEY, rate_limit=limit) as client:
        yield _Imagesdk(client)


@asynccontextmanager
async def open_imagesdk_over(place: Place, *, library: str, name: str) -> AsyncGenerator[Caller, None]:
    """Open imagesdk with a client of ``library``, with its default limits, for ``http_client=``."""
    from imagesdk import AsyncClient

    http_client = getattr(_library(library), name)
    async with AsyncClient(
        base_url=place.base_url, api_key=KEY, rate_limit=None, http_client=http_client
    ) as client:
        yield _Imagesdk(client)


@frozen
class _Blocking(_GeneratesOnly):
    """A blocking client under the methods of the others: it blocks the loop, which has nothing else to do."""

    client: Client | OpenAI

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        self.client.images.generate(prompt=PROMPT, n=n)
        return []


@asynccontextmanager
async def open_imagesdk_blocking(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the blocking client of imagesdk."""
    from imagesdk import Client

    with Client(base_url=place.base_url, api_key=KEY, rate_limit=None) as client:
        yield _Blocking(client)


@frozen
class _OpenAI:
    client: AsyncOpenAI
    open: Callable[[Path], Path | IO[bytes]] = field(default=Path)

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        response = await self.client.images.generate(prompt=PROMPT, n=n)
        return _kept([entry.b64_json or "" for entry in response.data or []], folder)

    async def edit(self, pictures: Sequence[Path]) -> None:
        with ExitStack() as stack:
            files = [self.open(path) for path in pictures]
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
async def open_openai(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official client with its defaults."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    context = place.context()
    http_client = DefaultAsyncHttpxClient(verify=context) if context else None
    async with AsyncOpenAI(base_url=place.base_url, api_key=KEY, http_client=http_client) as client:
        yield _OpenAI(client)


@asynccontextmanager
async def open_openai_open_files(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official client and give it open files, which it reads on the event loop, instead of paths."""
    async with open_openai(place) as caller:
        assert isinstance(caller, _OpenAI)
        yield _OpenAI(caller.client, open=lambda path: path.open("rb"))


@asynccontextmanager
async def open_openai_persistent(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official client with ten retries instead of two."""
    async with open_openai(place) as caller:
        assert isinstance(caller, _OpenAI)
        yield _OpenAI(caller.client.with_options(max_retries=10))


@frozen
class _Around(_GeneratesOnly):
    """Another library's way to call the official client."""

    call: Callable[[int], Awaitable[list[bytes]]]

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        return await self.call(n)


@asynccontextmanager
async def open_openai_tenacity(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official client with the retries of the maker's cookbook: six tries, random delays of up to a minute.

    https://cookbook.openai.com/examples/how_to_handle_rate_limits
    """
    from tests.benchmarks.limits import MINUTE

    tenacity = _library("tenacity")
    wait = tenacity.wait_random_exponential(multiplier=MINUTE / 60, min=MINUTE / 60, max=MINUTE)
    retry: Any = tenacity.retry(wait=wait, stop=tenacity.stop_after_attempt(6), reraise=True)
    async with open_openai(place) as caller:
        assert isinstance(caller, _OpenAI)
        once = _OpenAI(caller.client.with_options(max_retries=0))
        yield _Around(retry(partial(once.generate, folder=None)))


@asynccontextmanager
async def open_openai_aiolimiter(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official client behind a limiter that is asked for as many images as the call."""
    from tests.benchmarks.limits import IMAGES, MINUTE

    limiter = _library("aiolimiter").AsyncLimiter(IMAGES, MINUTE)

    async with open_openai(place) as caller:

        async def call(n: int) -> list[bytes]:
            await limiter.acquire(n)
            return await caller.generate(n, None)

        yield _Around(call)


@asynccontextmanager
async def open_openai_blocking(place: Place) -> AsyncGenerator[Caller, None]:
    """Open the official blocking client."""
    from openai import OpenAI

    with OpenAI(base_url=place.base_url, api_key=KEY) as client:
        yield _Blocking(client)


@frozen
class _Httpx(_GeneratesOnly):
    client: httpx.AsyncClient

    async def generate(self, n: int, folder: Path | None) -> list[bytes]:
        response = await self.client.post("images/generations", json={"prompt": PROMPT, "n": n})
        response.raise_for_status()
        return _kept([entry["b64_json"] for entry in response.json()["data"]], folder)


@asynccontextmanager
async def open_httpx(place: Place) -> AsyncGenerator[Caller, None]:
    """Open bare httpx with its default limits, but with the patience that pictures need."""
    import httpx

    async with httpx.AsyncClient(
        base_url=place.base_url,
        verify=place.context() or True,
        timeout=httpx.Timeout(None),
        headers={"authorization": f"Bearer {KEY}"},
    ) as client:
        yield _Httpx(client)


@frozen
class _Aiohttp(_GeneratesOnly):
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
async def open_aiohttp(place: Place) -> AsyncGenerator[Caller, None]:
    """Open bare aiohttp with its default limits (100 connections)."""
    async with _library("aiohttp").ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        yield _Aiohttp(session, f"{place.base_url}/images/generations", place.context())


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

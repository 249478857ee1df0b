"""Runs in virtual time: nights of outages in milliseconds, without sockets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import anyio
import httpx
import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from imagesdk import AsyncClient, Outcome, Progress
from tests.support.small_images import answer, png

Handler: TypeAlias = Callable[[str, float], Awaitable[httpx.Response | None]]
"""Answers a prompt at a time, or raises; ``None`` is an image."""
_IMAGE = answer(png())
LATENCY = 0.5
"""Seconds that the server takes to answer."""


class _Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield _IMAGE


@frozen
class _Wire(httpx.AsyncBaseTransport):
    """Connects unless ``refuses`` of the time, and then lets ``handle`` answer."""

    began: float
    refuses: Callable[[float], bool]
    handle: Callable[[httpx.Request], Awaitable[httpx.Response]]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.refuses(anyio.current_time() - self.began):
            raise httpx.ConnectError("connection refused", request=request)
        await request.aread()
        return await self.handle(request)


@define
class Night:
    """A run, and what its server saw."""

    billed: Counter[str] = field(factory=Counter[str])
    asked: list[tuple[str, float]] = field(factory=list[tuple[str, float]])
    refused: list[float] = field(factory=list[float])
    """Times at which a connection was refused."""
    outcomes: list[Outcome] = field(factory=list[Outcome])
    error: BaseException | None = None
    progress: Progress | None = None
    seconds: float = 0.0

    @property
    def statuses(self) -> Counter[str]:
        return Counter(outcome.status for outcome in self.outcomes)


async def serve(prompt: str, now: float) -> None:
    """Answer every prompt with an image."""


def connect(now: float) -> bool:
    """Refuse no connection."""
    return False


def night(
    jobs: Any,
    handler: Handler = serve,
    *,
    refuses: Callable[[float], bool] = connect,
    client: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Night:
    """Make a run at time 0."""
    found = Night()
    clock = MockClock(autojump_threshold=0)
    trio.run(_run, found, jobs, handler, refuses, client, options, clock=clock)
    return found


async def _run(
    found: Night,
    jobs: Any,
    handler: Handler,
    refuses: Callable[[float], bool],
    client: Mapping[str, Any],
    options: dict[str, Any],
) -> None:
    began = anyio.current_time()

    def refuses_and_counts(now: float) -> bool:
        refused = refuses(now)
        found.refused += [now] * refused
        return refused

    async def handle(request: httpx.Request) -> httpx.Response:
        is_json = request.headers["content-type"] == "application/json"
        prompt = str(json.loads(request.content)["prompt"]) if is_json else "a form"
        found.asked.append((prompt, anyio.current_time() - began))
        await anyio.sleep(LATENCY)
        response = await handler(prompt, anyio.current_time() - began)
        if response is None:
            found.billed[prompt] += 1
            response = httpx.Response(200, stream=_Body())
        return response

    terms: dict[str, Any] = {"rate_limit": None, **client}
    async with AsyncClient(
        base_url="http://127.0.0.1:9/v1",
        api_key="",
        **terms,
        http_client=lambda: httpx.AsyncClient(transport=_Wire(began, refuses_and_counts, handle)),
    ) as made:
        try:
            async with made.images.fan_out(jobs, **options) as run:
                try:
                    async for outcome in run:
                        found.outcomes.append(outcome)
                finally:
                    found.progress = run.progress
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found.error = error
    found.seconds = anyio.current_time() - began

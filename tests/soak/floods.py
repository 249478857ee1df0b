"""Answers of many small parts: how long one of them keeps the event loop from other work.

The longest step is measured in CPU time of the loop's thread, so that other programs do not count.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import httpx
from attrs import define, frozen

from imagesdk import AsyncClient, Client, ImageSDKError, RetryPolicy

PARTS = [
    b"{}", b"[]", b'""', b"1", b",", b":", b"[", b"{", b'"', b"\\", b"\\u0041", b"\\/", b"\\\\", b"null",
    b'{"b64_json":"QUJD"}', b'{"b64_json":""}', b'{"url":"data:;base64,QQ=="}', b'"url":"', b'"b64_json":"', b'{"a":1}',
    b"data:", b"data: {}\n\n", b"data", b"\n", b"\r\n", b"\r", b":\n", b": ping\n\n", b"event: error\n", b"id: 1\n",
    b'data: {"type":"image_generation.partial_image","b64_json":"QUJD"}\n\n', b"event:", b" ", b"\x00", b"\xe7\x8c\xab",
    b"<", b"<title", b"<title>", b"</title>", b"&#65;", b"%41", b"&", b"%", b"limit: 1 ", b"try again in 1 s", b"1s ",
    b"requested: 1,234", b"images per ", b"safety_violations=[", b"model deprecated ", b"QUJD", b"=", b"data:;base64,",
]  # fmt: skip
OPENINGS = [
    b"", b'{"data":[', b'{"x":[', b'{"x":"', b'{"error":{"message":"', b'{"error":[', b'{"detail":[', b"<html>",
    b'{"data":[{"b64_json":"', b'{"data":[{"url":"', b'{"data":[{"revised_prompt":"', b'{"data":[{"url":"https://a.test/?',
    b"data: ", b'data: {"x":[', b'data: {"error":{"message":"', b"event: error\ndata: ",
]  # fmt: skip
ENDINGS = [b"", b"]}", b'"}', b'"}]}', b'"}}', b"}]}", b"\n\n", b"]}\n\n", b'"}}\n\n']
SIZES = [1000, 60_000, 70_000, 900_000, 3_000_000]


@frozen
class Flood:
    """One answer, in one chunk or many."""

    body: bytes
    status: int
    kind: str
    chunk: int
    name: str

    @classmethod
    def number(cls, seed: int, number: int) -> Flood:
        chance = Random(f"{seed} {number}")
        opening, ending = chance.choice(OPENINGS), chance.choice(ENDINGS)
        parts = chance.choices(PARTS, k=chance.randrange(1, 3))
        between, size = chance.choice([b"", b",", b",", b" "]), chance.choice(SIZES)
        piece = b"".join(part + between for part in parts)
        body = opening + (piece * (size // len(piece) + 1)).removesuffix(between) + ending
        status = chance.choice([200, 200, 200, 400, 429, 500])
        kind = chance.choice(["application/json", "text/event-stream", "text/html"])
        name = f"{number}: {size} bytes of {parts} after {opening!r} as {status} {kind}"
        return cls(body, status, kind, chance.choice([1000, 65_536, 10_000_000]), name)

    def reply(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(self.status, content=self._chunks(), headers={"content-type": self.kind})

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(self.body), self.chunk):
            yield self.body[at : at + self.chunk]


@define
class Steps:
    """The CPU time of the longest step of an event loop."""

    longest: float = 0.0

    async def measure(self) -> None:
        while True:
            start = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - start)


async def _ask(flood: Flood) -> tuple[float, str]:
    steps, outcome = Steps(), "good answers"
    async with AsyncClient(http_client=partial(_transport, flood), **_OPTIONS) as client:
        ticker = asyncio.create_task(steps.measure())
        await asyncio.sleep(0)
        try:
            if flood.kind == "text/event-stream":
                async with client.images.generate_stream("a cat") as stream:
                    await stream.final()
            else:
                await client.images.generate("a cat")
        except ImageSDKError as error:
            outcome = type(error).__name__
        await asyncio.sleep(0)
        ticker.cancel()
    return steps.longest, outcome


def _transport(flood: Flood) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(flood.reply))


_OPTIONS: dict[str, Any] = {
    "api_key": "sk-floods-0123456789",
    "base_url": "https://images.test/v1",
    "rate_limit": None,
    "retry": RetryPolicy(max_attempts=1),
}


def run(seed: int, first: int, count: int) -> Counter[str]:
    """Ask for each flood with the async client, and for some with the blocking one, which shares a loop."""
    counts, worst = Counter[str](), list[tuple[float, str]]()
    for number in range(first, first + count):
        flood = Flood.number(seed, number)
        longest, outcome = asyncio.run(_ask(flood))
        counts[outcome] += 1
        counts["steps of more than 20 ms"] += longest > 0.02
        worst = sorted([*worst, (longest, flood.name)], reverse=True)[:5]
        if number % 10 == 0:
            with (
                Client(http_client=partial(_transport, flood), **_OPTIONS) as client,
                suppress(ImageSDKError),
            ):
                client.images.generate("a cat")
    for longest, name in worst:
        counts[f"microseconds of the longest step, {name}"] = round(longest * 1e6)
    return counts

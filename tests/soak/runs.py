"""Runs that are killed at random times, and long runs whose memory is measured."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import anyio
import httpx

from imagesdk import AsyncClient, Generate, RetryPolicy
from imagesdk.policies import Delivery
from tests.support.billing_server import billing_server
from tests.support.killed_runs import check, start
from tests.support.small_images import answer, png


class _Image(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield _ANSWER


_LONGEST = 0.6
_MOST_GROWTH = 8 * 1024 * 1024
_ANSWER = answer(png())
_WARM = 2000
"""Jobs before the first measurement, in which caches are filled."""


def kills(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        chance = Random(f"{seed}/{number}")
        delivery: Delivery = "at_least_once" if number % 2 else "at_most_once"
        with billing_server() as server, tempfile.TemporaryDirectory() as folder:
            killed = 0
            for _ in range(chance.randint(1, 4)):
                program = start(server, Path(folder), delivery)
                assert program.stdout is not None
                if chance.random() < 0.8:
                    program.stdout.readline()
                time.sleep(chance.uniform(0, _LONGEST) * chance.random())
                killed += program.poll() is None
                program.kill()
                program.communicate()
            if (Path(folder) / "journal.db").exists():
                found = check(server, Path(folder), delivery, max(1, killed))
                counts += Counter({f"{what} ({delivery})": n for what, n in found.items()})
    return counts


def memory(seed: int, first: int, count: int) -> Counter[str]:
    if count <= _WARM:
        return Counter()
    with tempfile.TemporaryDirectory() as folder:
        made = anyio.run(_run, count, folder)
        known = anyio.run(_run, count, folder)
    assert max(made, known) <= _MOST_GROWTH, f"grew by {made} and {known} bytes"
    return Counter({"jobs": 2 * count, "bytes grown, made": made, "bytes grown, known": known})


async def _run(count: int, folder: str) -> int:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=_Image()))
    client = AsyncClient(
        base_url="http://127.0.0.1:9/v1",
        api_key="",
        rate_limit=None,
        retry=RetryPolicy(max_attempts=1),
        http_client=lambda: httpx.AsyncClient(transport=transport),
    )
    jobs = (Generate(f"image {number}") for number in range(count))
    done, before = 0, 0
    async with client, client.images.fan_out(jobs, out=f"{folder}/{{job}}.{{ext}}", concurrency=32) as run:
        async for outcome in run:
            outcome.unwrap()
            done += 1
            if done == _WARM:
                before = _resident()
    assert done == count
    return max(0, _resident() - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

"""The cost of the wait queue of the rate limit: without contention, and behind 100 000 other permits."""

from __future__ import annotations

from tests.benchmarks.callers import OURS
from tests.benchmarks.cases import AnyCase, ProgramCase, goals

_ACQUIRE = """
import asyncio, time
from imagesdk import RateLimit
from imagesdk._protocol.server_limits import NO_SERVER_LIMITS
from imagesdk._ratelimit.shared import LimiterRegistry

async def main():
    now = 0.0
    registry, limit = LimiterRegistry(clock=lambda: now), RateLimit(images=50)
    count, spent = 5000, 0.0
    for _ in range(count):
        now += 2.0  # room, and no gap to wait for
        began = time.perf_counter()
        limiter = registry.get(("https://images.test", "key", "gpt-image-2"), limit)
        permit = limiter.enqueue(1)
        await limiter.wait(permit, deadline=None)
        limiter.sent(permit)
        limiter.accepted(permit, NO_SERVER_LIMITS, None)
        limiter.release(permit)
        spent += time.perf_counter() - began
    print(spent / count * 1000)

asyncio.run(main())
"""

_WAITING = """
import time
from imagesdk import RateLimit
from imagesdk._ratelimit.window import SlidingWindow

count = {count}
window, now = SlidingWindow(RateLimit(images={images})), 0.0
for _ in range({images}):
    permit = window.enqueue(1)
    while not permit.granted:
        now += window.pacer.gap
        window.grant_ready(now)
    window.sent(permit, now)
began = time.perf_counter()
permits = []
for number in range(count):
    permit = window.enqueue(1 + number % 3)
    window.grant_ready(now)
    window.expected_start(permit, now)
    permits.append(permit)
for permit in permits[::2]:
    window.cancel(permit)
print((time.perf_counter() - began) / count * 1000)
"""


def cases(*, quick: bool) -> list[AnyCase]:
    lengths = ((1000, 50), (10_000 if quick else 100_000, 50), (1000, 5000), (100_000, 5000))
    return [
        ProgramCase(
            "line-free",
            "1000 grants of the rate limit, one after the other, with capacity",
            {OURS: _ACQUIRE},
            goals=goals(OURS, wall=20),
        ),
        ProgramCase(
            "line-long",
            "joining a queue of that length before a full window, estimating the start, half of them leaving: for 1000 calls",
            {
                f"{OURS}, {count} for a limit of {images}": _WAITING.format(count=count, images=images)
                for count, images in lengths
            },
        ),
    ]

"""A process of a benchmark: as ``tests.support.shared_limit_process``, with another package as the limiter."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias
from unittest.mock import patch

Acquire: TypeAlias = Callable[[int], Awaitable[object]]

RETRY_SECONDS = 0.02
"""Distance of the attempts on a limiter that cannot wait."""


async def open_pyrate(orders: dict[str, Any]) -> Acquire:
    from pyrate_limiter import Limiter, Rate, RedisBucket
    from redis.asyncio import Redis

    rates = [Rate(orders["images"], int(orders["per"] * 1000))]
    server: Any = Redis
    bucket: Any = RedisBucket
    bucket = await bucket.init(rates, server.from_url(orders["url"]), orders["key"])
    return partial(Limiter(bucket).try_acquire_async, "account")


async def open_throttled(orders: dict[str, Any], using: str) -> Acquire:
    from datetime import timedelta

    from throttled.asyncio import RedisStore, Throttled, per_duration

    quota = per_duration(timedelta(seconds=orders["per"]), orders["images"], burst=orders["images"])
    throttle = Throttled(
        key=orders["key"], using=using, quota=quota, store=RedisStore(server=orders["url"]), timeout=1000
    )
    return lambda weight: throttle.limit(cost=weight)


async def open_limits(orders: dict[str, Any]) -> Acquire:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import MovingWindowRateLimiter

    limiter = MovingWindowRateLimiter(RedisStorage(f"async+redis+{orders['url']}", implementation="redispy"))
    item = RateLimitItemPerSecond(orders["images"], int(orders["per"]))

    async def acquire(weight: int) -> None:
        while not await limiter.hit(item, orders["key"], cost=weight):  # noqa: ASYNC110 - it cannot wait itself
            await asyncio.sleep(RETRY_SECONDS)

    return acquire


OPENERS: dict[str, Callable[[dict[str, Any]], Awaitable[Acquire]]] = {
    "pyrate-limiter": open_pyrate,
    "throttled-py gcra": partial(open_throttled, using="gcra"),
    "throttled-py sliding": partial(open_throttled, using="sliding_window"),
    "limits": open_limits,
}


async def work(orders: dict[str, Any]) -> None:
    acquire = await OPENERS[orders["contender"]](orders)
    await asyncio.sleep(max(0.0, orders["start_at"] - time.monotonic()))
    await asyncio.gather(*(call(acquire, number, weight) for number, weight in enumerate(orders["weights"])))


async def call(acquire: Acquire, number: int, weight: int) -> None:
    arrived_at = time.monotonic()
    try:
        await acquire(weight)
    except Exception as error:  # noqa: BLE001 - counted
        print(f"failed: {type(error).__name__}", flush=True)
        return
    print(json.dumps([number, weight, arrived_at, time.monotonic(), 0]), flush=True)


def main() -> None:
    for name in ("pyrate_limiter", "throttled.asyncio", "limits.aio.strategies", "redis.asyncio"):
        import_module(name)
    print("ready", flush=True)
    orders = json.loads(sys.stdin.read())
    clock, skew = time.time, orders.get("skew", 0.0)
    with (
        patch("time.time", lambda: clock() + skew),
        patch("time.time_ns", lambda: int((clock() + skew) * 1e9)),
    ):
        asyncio.run(work(orders))


if __name__ == "__main__":
    main()

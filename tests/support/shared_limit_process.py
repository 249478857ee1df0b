"""A process of a fleet: ``python -m tests.support.shared_limit_process``, with its orders as JSON on stdin.

It prints a line when it is ready for them, starts at the time of the orders, and prints each grant as a line of JSON: name of the
call, images, and the times of arrival and grant of the machine's monotonic clock.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import json
import logging
import sys
import time
from importlib import import_module
from typing import Any

import anyio

from imagesdk import RateLimit, SharedStore
from imagesdk._coordination.limiter import CoordinatedLimiter
from imagesdk._coordination.store_thread import PROCESS_THREADS
from imagesdk._protocol.server_limits import ServerLimits


async def work(orders: dict[str, Any], limiter: CoordinatedLimiter) -> None:
    await anyio.sleep(max(0.0, orders["start_at"] - time.monotonic()))
    async with anyio.create_task_group() as tasks:
        for number, weight in enumerate(orders["weights"]):
            tasks.start_soon(call, orders, limiter, number, weight)


async def call(orders: dict[str, Any], limiter: CoordinatedLimiter, number: int, weight: int) -> None:
    arrived_at = time.monotonic()
    permit = limiter.enqueue(weight)
    rejections = 1 if number in orders.get("rejected", ()) else 0
    while True:
        await limiter.wait(permit, deadline=None)
        print(json.dumps([number, weight, arrived_at, time.monotonic(), rejections]), flush=True)
        limiter.sent(permit)
        if not rejections:
            break
        rejections = 0
        limiter.rejected(permit, ServerLimits(waits=(orders["pause"],)))
    limiter.accepted(permit, ServerLimits(), None)
    limiter.release(permit)


def main() -> None:
    import_module("redis")  # which takes long
    print("ready", flush=True)
    orders = json.loads(sys.stdin.read())
    logging.basicConfig(level=logging.ERROR)
    skew = orders.get("skew", 0.0)
    limit = RateLimit(orders["images"], per=orders["per"])
    thread = PROCESS_THREADS.get(SharedStore(orders["url"], orders.get("on_store_loss", "wait")))
    if skew:  # the clock of this machine is wrong
        thread._clock = lambda: time.monotonic() + skew
        limiter = CoordinatedLimiter(thread, orders["key"], limit, clock=thread._clock)
    else:
        limiter = CoordinatedLimiter(thread, orders["key"], limit)
    anyio.run(work, orders, limiter, backend=orders.get("backend", "asyncio"))


if __name__ == "__main__":
    main()

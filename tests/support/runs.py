"""Helpers of the tests of runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread

from imagesdk import AsyncClient, JobLike, Outcome


async def run_all(client: AsyncClient, jobs: list[JobLike], out: Any = None, **options: Any) -> list[Outcome]:
    """Run jobs with a client, close it, and return the outcomes in the order of the jobs."""
    async with client, client.images.fan_out(jobs, out=out, **options) as run:
        return await run.collect()


def statuses(outcomes: list[Outcome]) -> list[str]:
    """Return the status of each outcome."""
    return [outcome.status for outcome in outcomes]


async def wait_for(event: threading.Event) -> None:
    """Wait for an event that the server's thread sets."""
    assert await anyio.to_thread.run_sync(event.wait, 10)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that another task or the server's thread makes true."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await anyio.sleep(0.001)

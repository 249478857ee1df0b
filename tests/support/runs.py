"""Helpers of the tests of runs."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from attrs import define, field

from imagesdk import AsyncClient, AsyncRun, JobLike, Outcome
from imagesdk.fan_out.outcomes import Jobs
from tests.support.billing_server import BillingServer


@define
class Runs:
    """Runs of one client, its server, and a folder for files."""

    client: AsyncClient
    server: BillingServer
    out: Path
    options: dict[str, Any] = field(factory=dict[str, Any])

    @asynccontextmanager
    async def begin(self, jobs: Jobs, **options: Any) -> AsyncGenerator[AsyncRun, None]:
        async with self.client, self.client.images.fan_out(jobs, **self.options, **options) as run:
            yield run

    async def all(self, jobs: Jobs, **options: Any) -> list[Outcome]:
        async with self.begin(jobs, **options) as run:
            return await run.collect()

    async def saved(self, *jobs: JobLike, **options: Any) -> list[Outcome]:
        return await self.all(jobs, **{"out": self.out, **options})

    def pngs(self) -> set[str]:
        return {path.name for path in self.out.glob("*.png")}


def statuses(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


async def wait_for(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, 10)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await anyio.sleep(0.001)

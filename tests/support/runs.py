"""Runs from start to end, for tests that look at their outcomes."""

from __future__ import annotations

from typing import Any

from imagesdk import AsyncClient, JobLike, Outcome


async def run_all(client: AsyncClient, jobs: list[JobLike], out: Any = None, **options: Any) -> list[Outcome]:
    """Run jobs with a client, close it, and return the outcomes in the order of the jobs."""
    async with client, client.images.fan_out(jobs, out=out, **options) as run:
        return await run.collect()


def statuses(outcomes: list[Outcome]) -> list[str]:
    """Return the status of each outcome."""
    return [outcome.status for outcome in outcomes]

"""Programs that call ``images.once`` and are killed, at a chosen point or at any time."""

from __future__ import annotations

import json
import os
import signal

import anyio

from imagesdk import AsyncClient, Generate, RetryPolicy
from imagesdk._coordination import claim_ledger, claims
from imagesdk._engine.request_body import TrackedBody
from imagesdk.fan_out import output_files, worker
from imagesdk.fan_out.claim_store import ClaimStore
from tests.support import killed_programs

programs = killed_programs.Programs("tests.support.killed_calls")
"""Programs with the arguments of :func:`main`."""
LEASE = 0.5
"""Seconds of a lease in these programs."""
POINTS: dict[str, tuple[object, str, bool]] = {
    "before the claim": (ClaimStore, "claim", False),
    "after the claim": (ClaimStore, "claim", True),
    "before the commit of sending": (ClaimStore, "sending", False),
    "after the commit of sending": (ClaimStore, "sending", True),
    "when the request was sent": (TrackedBody, "__anext__", False),
    "when the response has arrived": (worker.JobRun, "receive", False),
    "after the commit of received": (ClaimStore, "received", True),
    "after the rename": (output_files, "move_if_free", True),
    "before the commit of done": (ClaimStore, "done", False),
    "after the commit of done": (ClaimStore, "done", True),
}
"""Points where a program is killed: an owner, the name of its function, and whether before or after that returns."""


def shorten_leases() -> None:
    setattr(claims, "LEASE", LEASE)  # noqa: B010 - it is final
    setattr(claim_ledger, "HEARTBEAT", LEASE / 4)  # noqa: B010


def kill_at(point: str) -> None:
    owner, name, after = POINTS[point]
    killed_programs.end_at(owner, name, after=after, end=lambda: os.kill(os.getpid(), signal.SIGKILL))


async def call(base_url: str, shared: str, out: str, prompts: list[str]) -> None:
    retry = RetryPolicy(backoff=0)
    client = AsyncClient(base_url=base_url, api_key="", rate_limit=None, retry=retry, shared=shared)
    async with client, anyio.create_task_group() as tasks:
        limit = anyio.Semaphore(4)

        async def one(prompt: str) -> None:
            async with limit:
                outcome = await client.images.once(Generate(prompt), out=out)
                print(json.dumps([prompt, outcome.status]), flush=True)

        for prompt in prompts:
            tasks.start_soon(one, prompt)


def main(base_url: str, shared: str, out: str, prompts: list[str], point: str | None = None) -> None:
    shorten_leases()
    if point is not None:
        kill_at(point)
    anyio.run(call, base_url, shared, out, prompts)


if __name__ == "__main__":
    killed_programs.serve(main)

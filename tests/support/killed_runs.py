"""Programs with a run that end at once, at a chosen point or by ``kill -9``, and checks of what they leave behind."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import anyio

from imagesdk import AsyncClient, Client, Outcome, RetryPolicy
from imagesdk._engine.request_body import TrackedBody
from imagesdk.fan_out import output_files, worker
from imagesdk.fan_out.journal import Journal, read_records
from imagesdk.policies import Delivery
from tests.support import killed_programs
from tests.support.billing_server import BillingServer

CODE = 137
JOBS = [f"{'url' if number % 4 == 3 else 'image'} {number}" for number in range(16)]
CONCURRENCY = 4
AT = 6
"""Number of times that a program reaches its point, the last of which ends it."""

_programs = killed_programs.Programs("tests.support.killed_runs")

Points = dict[str, tuple[object, str, bool]]
POINTS: Points = {
    "before the commit of sending": (Journal, "sending", False),
    "after the commit of sending": (Journal, "sending", True),
    "when the request was sent": (TrackedBody, "__anext__", False),
    "when the response has arrived": (worker.JobRun, "receive", False),
    "before the commit of received": (Journal, "received", False),
    "after the commit of received": (Journal, "received", True),
    "before the rename": (output_files, "move_if_free", False),
    "after the rename": (output_files, "move_if_free", True),
    "before the commit of done": (Journal, "done", False),
    "after the commit of done": (Journal, "done", True),
}
"""Points where a program may end: an owner, the name of its function, and whether before or after that returns."""


def end_at(point: str) -> None:
    owner, name, after = POINTS[point]
    killed_programs.end_at(owner, name, after=after, times=AT, end=lambda: os._exit(CODE))


async def run(base_url: str, out: str, delivery: Delivery) -> None:
    async with AsyncClient(base_url=base_url, api_key="", rate_limit=None) as client:
        options: dict[str, Any] = {"out": out, "delivery": delivery, "concurrency": CONCURRENCY}
        async with client.images.fan_out(JOBS, **options) as running:
            async for outcome in running:
                print(outcome.place, flush=True)


def start(server: BillingServer, out: Path, delivery: str) -> subprocess.Popen[str]:
    return _programs.start(server.base_url, str(out), delivery)


def exit_code(server: BillingServer, out: Path, delivery: str, *point: str) -> int:
    return _programs.run(server.base_url, str(out), delivery, *point)


def finish(server: BillingServer, out: Path, delivery: Delivery, **options: Any) -> list[Outcome]:
    retry = RetryPolicy(backoff=0)
    with Client(base_url=server.base_url, api_key="", rate_limit=None, retry=retry) as client:
        with client.images.fan_out(JOBS, out=out, delivery=delivery, **options) as running:
            return running.collect()


def check(server: BillingServer, out: Path, delivery: Delivery, kills: int = 1) -> Counter[str]:
    """Resume the run of a killed program, and check every promise about what the program left behind."""
    at_kill = {record.params["prompt"]: record.state for record in read_records(out / "journal.db")}
    safe = {prompt for prompt, state in at_kill.items() if state in {"received", "done"}}
    before = Counter(server.billed)
    outcomes = finish(server, out, delivery)
    assert len(outcomes) == len(JOBS)
    unknown = [outcome for outcome in outcomes if outcome.status == "unknown"]
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    assert len(unknown) + len(done) == len(JOBS), outcomes
    assert len(unknown) <= CONCURRENCY * kills
    assert all(server.billed[prompt] == before[prompt] for prompt in safe), "a finished job was sent again"
    if delivery == "at_most_once":
        assert max(server.billed.values()) == 1, server.billed
    else:
        assert not unknown
        assert server.billed.total() <= len(JOBS) + CONCURRENCY * kills
    outcomes = finish(server, out, delivery, retry_unknown=True)
    assert all(outcome.status == "done" for outcome in outcomes)
    killed_programs.check_files(out, outcomes)
    return Counter({"kills": kills, "unknown": len(unknown), "sent again": server.billed.total() - len(JOBS)})


def main(base_url: str, out: str, delivery: str, *point: str) -> None:
    if point:
        end_at(point[0])
    anyio.run(run, base_url, out, "at_least_once" if delivery == "at_least_once" else "at_most_once")


if __name__ == "__main__":
    killed_programs.serve(main)

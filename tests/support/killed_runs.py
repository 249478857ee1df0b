"""Programs with a run that end at once: at a point of their own choosing, or by ``kill -9``; and what is left by them.

``python -m tests.support.killed_runs URL OUT DELIVERY [POINT]`` is such a program.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from imagesdk import AsyncClient, Client, Outcome, RetryPolicy
from imagesdk._engine.request_body import TrackedBody
from imagesdk.fan_out import output_files as files
from imagesdk.fan_out import worker as making
from imagesdk.fan_out.journal import Journal, read_records
from imagesdk.policies import Delivery
from tests.support.billing_server import Till

CODE = 137
JOBS = [f"picture {number}" for number in range(16)]
CONCURRENCY = 4
AT = 6
"""The program ends when its point is come to for this time."""

Points = dict[str, tuple[object, str, bool]]
POINTS: Points = {
    "before the commit of sending": (Journal, "sending", False),
    "after the commit of sending": (Journal, "sending", True),
    "when the request was sent": (TrackedBody, "__anext__", False),
    "when the answer has come": (vars(making)["_JobRun"], "receive", False),
    "before the commit of received": (Journal, "received", False),
    "after the commit of received": (Journal, "received", True),
    "before the rename": (files, "move_if_free", False),
    "after the rename": (files, "move_if_free", True),
    "before the commit of done": (Journal, "done", False),
    "after the commit of done": (Journal, "done", True),
}
"""Where a program may end: an owner, the name of what it has, and whether before that or after."""


def end_at(point: str) -> None:
    """Have this process end at once when it comes to ``point`` for the time that counts."""
    owner, name, after = POINTS[point]
    function: Callable[..., Any] = getattr(owner, name)
    come = 0

    def count() -> None:
        nonlocal come
        come += 1
        if come == AT:
            os._exit(CODE)

    async def awaited(*args: Any, **options: Any) -> Any:
        if owner is TrackedBody and not args[0].complete:
            return await function(*args, **options)
        if not after:
            count()
        result = await function(*args, **options)
        if after:
            count()
        return result

    def called(*args: Any, **options: Any) -> Any:
        if not after:
            count()
        result = function(*args, **options)
        if after:
            count()
        return result

    setattr(owner, name, called if owner is files else awaited)


async def run(base_url: str, out: str, delivery: Delivery) -> None:
    """Make all jobs."""
    async with AsyncClient(base_url=base_url, api_key="", rate_limit=None) as client:
        async with client.images.fan_out(
            JOBS, out=out, delivery=delivery, concurrency=CONCURRENCY
        ) as running:
            async for outcome in running:
                print(outcome.place, flush=True)


def start(server: Till, out: Path, delivery: str, *point: str) -> subprocess.Popen[str]:
    """Start such a program."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed_runs", server.base_url, str(out), delivery, *point],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(server: Till, out: Path, delivery: Delivery, *, retry_unknown: bool = False) -> list[Outcome]:
    """Run the same list again, to its end."""
    with Client(
        base_url=server.base_url, api_key="", rate_limit=None, retry=RetryPolicy(backoff=0)
    ) as client:
        with client.images.fan_out(JOBS, out=out, delivery=delivery, retry_unknown=retry_unknown) as running:
            return running.collect()


def check(server: Till, out: Path, delivery: Delivery, kills: int = 1) -> Counter[str]:
    """Look at what a killed program has left, go on with its list, and keep to the promises of a run."""
    at_kill = {entry.params["prompt"]: entry.state for entry in read_records(out / "journal.db")}
    safe = {prompt for prompt, state in at_kill.items() if state in {"received", "done"}}
    before = Counter(server.billed)
    outcomes = finish(server, out, delivery)
    assert len(outcomes) == len(JOBS)
    unknown = [outcome for outcome in outcomes if outcome.status == "unknown"]
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    assert len(unknown) + len(done) == len(JOBS), outcomes
    assert len(unknown) <= CONCURRENCY * kills
    assert all(server.billed[prompt] == before[prompt] for prompt in safe), "what was finished was made again"
    if delivery == "at_most_once":
        assert max(server.billed.values()) == 1, server.billed
    else:
        assert not unknown
        assert server.billed.total() <= len(JOBS) + CONCURRENCY * kills
    outcomes = finish(server, out, delivery, retry_unknown=True)
    assert all(outcome.status == "done" for outcome in outcomes)
    pictures = {image.path for outcome in outcomes for image in outcome.unwrap()}
    assert len(pictures) == len(JOBS)
    for entry in read_records(out / "journal.db"):
        for image in (entry.response or {})["images"]:
            data = (out / image["file"]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == image["file"]["sha256"]
    return Counter({"kills": kills, "unknown": len(unknown), "sent again": server.billed.total() - len(JOBS)})


def main() -> None:
    """Be such a program."""
    base_url, out, delivery, *point = sys.argv[1:]
    if point:
        end_at(point[0])
    anyio.run(run, base_url, out, "at_least_once" if delivery == "at_least_once" else "at_most_once")


if __name__ == "__main__":
    main()

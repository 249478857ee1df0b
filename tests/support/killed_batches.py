"""Programs with a run on the batch lane that end at once, at a chosen point or by ``kill -9``, and checks of what they leave."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import anyio

from imagesdk import AsyncClient, Client, Generate, Outcome, RetryPolicy
from imagesdk._calls import batch_calls
from imagesdk._calls.batch_calls import BatchCalls
from imagesdk.emulator import Emulator
from imagesdk.fan_out import batch_delivery, output_files
from imagesdk.fan_out.batch_store import BatchStore
from imagesdk.fan_out.journal import Journal
from tests.support import killed_programs

CODE = 137
JOBS = [
    Generate(f"otter {number}", model="gpt-image-2", quality="low", size="1024x1024") for number in range(4)
]
_programs = killed_programs.Programs("tests.support.killed_batches")

POINTS: dict[str, tuple[object, str, bool, int]] = {
    "after the upload of the input file": (BatchCalls, "upload_input", True, 1),
    "before the commit of the intent": (BatchStore, "begin", False, 1),
    "after the commit of the intent": (BatchStore, "begin", True, 1),
    "when the batch was created and no answer was read": (BatchCalls, "create", True, 1),
    "after the commit of the id": (BatchStore, "created", True, 1),
    "when the batch was looked at": (BatchCalls, "retrieve", True, 1),
    "when a line has arrived": (batch_delivery, "take_line", False, 3),
    "before the commit of received": (Journal, "received", False, 3),
    "after the commit of received": (Journal, "received", True, 3),
    "before the rename": (output_files, "move_if_free", False, 3),
    "after the rename": (output_files, "move_if_free", True, 3),
    "after the commit of done": (Journal, "done", True, 3),
    "before the end of the batch is recorded": (BatchStore, "close", False, 1),
}
"""Points where a program may end: an owner, the name of its function, whether before or after that returns, and the number
of times that it is reached before."""


def end_at(point: str) -> None:
    owner, name, after, times = POINTS[point]
    killed_programs.end_at(owner, name, after=after, times=times, end=lambda: os._exit(CODE))


async def run(base_url: str, out: str) -> None:
    batch_calls.LOOK_SECONDS = 0.05
    async with AsyncClient(base_url=base_url, api_key="", rate_limit=None) as client:
        async with client.images.fan_out(JOBS, out=out, lane="batch", poll=0.01) as running:
            async for outcome in running:
                print(outcome.place, flush=True)


def start(emulator: Emulator, out: Path) -> subprocess.Popen[str]:
    return _programs.start(emulator.base_url, str(out))


def exit_code(emulator: Emulator, out: Path, *point: str) -> int:
    return _programs.run(emulator.base_url, str(out), *point)


def finish(emulator: Emulator, out: Path, **options: Any) -> list[Outcome]:
    retry = RetryPolicy(backoff=0)
    with Client(base_url=emulator.base_url, api_key="", rate_limit=None, retry=retry) as client:
        with client.images.fan_out(JOBS, out=out, lane="batch", poll=0.01, **options) as running:
            return running.collect()


def check(emulator: Emulator, out: Path) -> None:
    """Resume the run of a killed program, and check that each job was billed once and none is lost."""
    outcomes = finish(emulator, out)
    assert [(outcome.place, outcome.status) for outcome in outcomes] == [
        (place, "done") for place in range(len(JOBS))
    ], outcomes
    bill = emulator.state.bill
    assert max(bill.jobs.values()) == 1, bill.jobs
    assert bill.images == {"batch": len(JOBS)}
    killed_programs.check_files(out, outcomes)


def main(base_url: str, out: str, *point: str) -> None:
    if point:
        end_at(point[0])
    anyio.run(run, base_url, out)


if __name__ == "__main__":
    killed_programs.serve(main)

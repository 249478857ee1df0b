"""Programs with a run on the batch lane that end at once, at a chosen point or by ``kill -9``, and checks of what they leave."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

from imagesdk import AsyncClient, Client, Generate, Outcome, RetryPolicy
from imagesdk._calls import batch_calls
from imagesdk._calls.batch_calls import BatchCalls
from imagesdk.emulator import Emulator
from imagesdk.fan_out import batch_delivery, output_files
from imagesdk.fan_out.batch_store import BatchStore
from imagesdk.fan_out.journal import Journal, read_records

CODE = 137
JOBS = [
    Generate(f"otter {number}", model="gpt-image-2", quality="low", size="1024x1024") for number in range(4)
]
PATIENCE = 60

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
    function: Callable[..., Any] = getattr(owner, name)
    reached = 0

    def count(here: bool) -> None:
        nonlocal reached
        reached += here
        if here and reached == times:
            os._exit(CODE)

    async def awaited(*args: Any, **options: Any) -> Any:
        count(not after)
        result = await function(*args, **options)
        count(after)
        return result

    def called(*args: Any, **options: Any) -> Any:
        count(not after)
        result = function(*args, **options)
        count(after)
        return result

    setattr(owner, name, called if owner is output_files else awaited)


async def run(base_url: str, out: str) -> None:
    batch_calls.LOOK_SECONDS = 0.05
    async with AsyncClient(base_url=base_url, api_key="", rate_limit=None) as client:
        async with client.images.fan_out(JOBS, out=out, lane="batch", poll=0.01) as running:
            async for outcome in running:
                print(outcome.place, flush=True)


def start(emulator: Emulator, out: Path) -> subprocess.Popen[str]:
    return _python(emulator.base_url, str(out))


def exit_code(emulator: Emulator, out: Path, *point: str) -> int:
    process = _forking_process()
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps([emulator.base_url, str(out), *point]), file=process.stdin, flush=True)
    return int(process.stdout.readline())


@functools.cache
def _forking_process() -> subprocess.Popen[str]:
    process = _python()
    atexit.register(process.communicate)
    return process


def _python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed_batches", *arguments],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


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
    paths = {image.path for outcome in outcomes for image in outcome.unwrap()}
    assert len(paths) == len(JOBS)
    left = {path for path in out.iterdir() if not path.name.startswith("journal.db")}
    assert left == paths, "files were left over"
    for record in read_records(out / "journal.db"):
        for image in (record.response or {})["images"]:
            data = (out / image["file"]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == image["file"]["sha256"]


def main(base_url: str, out: str, *point: str) -> None:
    if point:
        end_at(point[0])
    anyio.run(run, base_url, out)


def fork_for_each_line() -> None:
    for name in ("encodings.idna", "httpcore", "imagesdk._transport.single_connection"):
        import_module(name)  # what the first request imports
    for line in sys.stdin:
        child = os.fork()
        if not child:
            signal.alarm(PATIENCE)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                main(*json.loads(line))
            except BaseException:  # noqa: BLE001 - the child must end here, whatever was raised
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(*sys.argv[1:])
    else:
        fork_for_each_line()

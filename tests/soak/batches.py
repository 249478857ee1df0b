"""Runs on the batch lane: killed at random times, and measured while they receive gigabytes."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import Mock, patch

import anyio

from imagesdk import AsyncClient, Generate, ImageSDKError, Outcome, RetryPolicy
from imagesdk._calls import batch_calls, batch_lines
from imagesdk._protocol.batch_input import ShardLimits
from imagesdk.emulator import Emulator
from imagesdk.fan_out import batch_submission, lane_setup, lanes
from imagesdk.fan_out.batch_lane import BatchLane
from imagesdk.fan_out.lanes import Lane
from tests.support.batch_servers import BatchServer
from tests.support.killed_batches import check, start
from tests.support.small_images import png

_JOBS = 18
_LONGEST = 1.2
_MOST_GROWTH = 60 * 1024 * 1024
_IMAGE = 112_000
"""Bytes of an image, so that 20 000 of them are 3 GB of results."""


def kills(seed: int, first: int, count: int) -> Counter[str]:
    """Kill a run at a random time one to four times, and check that the next run bills each job once in all."""
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        chance = Random(f"{seed}/{number}")
        with Emulator(limit=None) as emulator, tempfile.TemporaryDirectory() as folder:
            for _ in range(chance.randint(1, 4)):
                program = start(emulator, Path(folder))
                assert program.stdout is not None
                if chance.random() < 0.4:
                    program.stdout.readline()
                time.sleep(chance.uniform(0, _LONGEST))
                counts["killed"] += program.poll() is None
                program.kill()
                program.communicate()
            with patch.object(batch_calls, "LOOK_SECONDS", 0.2):
                check(emulator, Path(folder))
            counts["runs"] += 1
            counts["batches"] += len(emulator.state.batches)
    return counts


def storms(seed: int, first: int, count: int) -> Counter[str]:
    """Run jobs against batches that do several things wrong, and check that no job is lost or billed twice."""
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        chance = Random(f"{seed}/{number}")
        with Emulator(limit=None) as emulator, tempfile.TemporaryDirectory() as folder, _hurried():
            for _ in range(4):
                emulator.state.faults.batch(**_fault(chance))
            for on in ("polls", "contents", "batches", "cancels", "files"):
                if chance.random() < 0.3:
                    emulator.state.faults.http(chance.choice([429, 500, 503]), on=on)  # pyright: ignore[reportArgumentType]
                if chance.random() < 0.2:
                    drop = {"drop": True, "after_work": chance.random() < 0.5}
                    emulator.state.faults.connection(**drop, on=on)  # pyright: ignore[reportArgumentType]
            lane: Lane = "batch" if chance.random() < 0.5 else "auto"
            outcomes = anyio.run(_storm, emulator, folder, lane)
            bill = emulator.state.bill
            done = sum(outcome.status == "done" for outcome in outcomes)
            assert [outcome.place for outcome in outcomes] == list(range(_JOBS)), outcomes
            assert max(bill.jobs.values(), default=0) <= 1, bill.jobs
            assert done <= sum(bill.images.values()) <= _JOBS, (done, bill.images)
            assert lane == "auto" or not bill.images["live"]
            for outcome in outcomes:
                assert outcome.status == "done" or isinstance(outcome.error, ImageSDKError), outcome
            counts += Counter(f"{lane}: {outcome.status}" for outcome in outcomes)
    return counts


async def _storm(emulator: Emulator, folder: str, lane: Lane) -> list[Outcome]:
    retry = RetryPolicy(backoff=0)
    jobs = [_job(f"image {number}") for number in range(_JOBS)]
    async with AsyncClient(
        base_url=emulator.base_url, api_key="", rate_limit="60000/min", retry=retry
    ) as client:
        deadline = "3s"
        async with client.images.fan_out(jobs, out=folder, lane=lane, deadline=deadline, poll=0.02) as run:
            return await run.collect()


def _fault(chance: Random) -> dict[str, Any]:
    wrong: dict[str, Any] = {}
    for name, values in {
        "missing": (1, 2),
        "duplicated": (1, 3),
        "no_status": (1,),
        "failed": (1, 2),
        "counts": ({"completed": 3}, {"total": 9}),
        "no_output_file": (True,),
        "files_gone": (True,),
        "error": ("token_limit_exceeded", "invalid_request"),
        "stuck": (0, 0.3, 0.8),
        "cancel_hangs": (True,),
        "unlisted": (0.05, 1.0),
    }.items():
        if chance.random() < 0.15:
            wrong[name] = chance.choice(values)
    return wrong


@contextmanager
def _hurried() -> Generator[None, None, None]:
    """Let everything that a run waits for take moments, and put five jobs into a batch."""
    few = partial(BatchLane, shard_limits=ShardLimits(lines=5))
    with (
        patch.object(batch_calls, "LOOK_SECONDS", 0.2),
        patch.object(batch_lines, "_PAUSE", 0.001),
        patch.object(batch_submission, "token_wait", Mock(return_value=0.05)),
        patch.object(lane_setup, "BatchLane", few),
        patch.object(lanes, "CANCEL_SECONDS", 0.3),
        patch.object(lanes, "LIVE_SECONDS", 0.3),
    ):
        yield


def memory(seed: int, first: int, count: int) -> Counter[str]:
    """Receive the results of so many jobs, and measure by how much the process grows."""
    with tempfile.TemporaryDirectory() as folder:
        grown, received, seconds = anyio.run(_run, count, folder)
    assert grown <= _MOST_GROWTH, f"grew by {grown} bytes"
    return Counter({"jobs": count, "bytes received": received, "bytes grown": grown, "seconds": int(seconds)})


async def _run(count: int, folder: str) -> tuple[int, int, float]:
    server = BatchServer(png(2, 2, padding=_IMAGE))
    async with server.client() as client:
        warm = [_job(f"warm {number}") for number in range(64)]
        async with client.images.fan_out(warm, out=f"{folder}/warm", lane="batch", poll=0.01) as run:
            assert len(await run.collect()) == len(warm)
        before, done, began = _resident("VmRSS"), 0, time.monotonic()
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        jobs = (_job(f"image {number}") for number in range(count))
        async with client.images.fan_out(jobs, out=f"{folder}/many", lane="batch", poll=0.01) as run:
            async for outcome in run:
                outcome.unwrap()
                done += 1
        assert done == count
        return _resident("VmHWM") - before, server.sent_bytes, time.monotonic() - began


def _job(prompt: str) -> Generate:
    return Generate(prompt, model="gpt-image-2", quality="low", size="1024x1024")


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))

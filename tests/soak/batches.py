"""Runs on the batch lane: killed at random times, and measured while they receive gigabytes."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from unittest.mock import patch

import anyio

from imagesdk import Generate
from imagesdk._calls import batch_calls
from imagesdk.emulator import Emulator
from tests.support.batch_servers import BatchServer
from tests.support.killed_batches import check, start
from tests.support.small_images import png

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

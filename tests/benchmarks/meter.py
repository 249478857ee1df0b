"""What a piece of work cost the process that did it: time, CPU, memory, and how long the event loop stood still."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import define

TICK = 0.001
"""Seconds between the ticks that measure the lag of the event loop."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@define
class Readings:
    """What was measured. ``None`` where it could not be."""

    wall: float | None = None
    """Milliseconds."""
    cpu: float | None = None
    """Milliseconds of all threads, in user and kernel mode."""
    rss: float | None = None
    """Megabytes of resident memory at the worst moment, over what there was just before."""
    lag: float | None = None
    """Milliseconds that a tick of the event loop came late, at worst."""


@asynccontextmanager
async def measured(readings: Readings, *, ticker: bool) -> AsyncGenerator[None, None]:
    """Measure the block; ``ticker`` is for loops that are not meant to block."""
    worst = [0.0]
    ticking = asyncio.create_task(_tick(worst)) if ticker else None
    gc.collect()
    _forget_peak()
    before = _memory("VmRSS")
    await asyncio.sleep(10 * TICK)
    worst[0] = 0.0
    began, used = time.perf_counter(), time.process_time()
    yield
    readings.wall, readings.cpu = (time.perf_counter() - began) * 1e3, (time.process_time() - used) * 1e3
    peak = _memory("VmHWM")
    if before is not None and peak is not None:
        readings.rss = (peak - before) / 1e3
    if ticking is not None:
        await asyncio.sleep(10 * TICK)  # the tick that the end of the block delayed counts, too
        ticking.cancel()
        readings.lag = worst[0] * 1e3


async def _tick(worst: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        worst[0] = max(worst[0], time.perf_counter() - due)


def _memory(name: str) -> float | None:
    """Return a line of the kernel's account of this process, in kilobytes."""
    if sys.platform != "linux":
        return None
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1.024


def _forget_peak() -> None:
    with suppress(OSError):  # then the peak of the imports stands, and may hide a smaller one
        _CLEAR.write_text("5", encoding="utf-8")  # man 5 proc: resets VmHWM to VmRSS

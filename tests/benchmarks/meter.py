"""The cost of a piece of work to its process: time, CPU, memory, and how long the event loop was blocked."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import define

TICK = 0.001
"""Seconds between the ticks that measure the lag of the event loop."""


@define
class Readings:
    """Measured values. ``None`` where there is none."""

    wall: float | None = None
    """Milliseconds."""
    cpu: float | None = None
    """Milliseconds of all threads, in user and kernel mode."""
    rss: float | None = None
    """Megabytes of resident memory at the worst moment, over the value just before."""
    lag: float | None = None
    """Milliseconds that a tick of the event loop came late, at worst."""


@asynccontextmanager
async def measured(readings: Readings, *, ticker: bool) -> AsyncGenerator[None, None]:
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            worst = max(worst, time.perf_counter() - due)

    ticking = asyncio.create_task(tick()) if ticker else None
    gc.collect()
    with suppress(OSError):  # then the peak of the imports stays, and may hide a smaller one
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # man 5 proc: resets VmHWM to VmRSS
    before = _memory("VmRSS")
    await asyncio.sleep(10 * TICK)
    worst = 0.0
    began, used = time.perf_counter(), time.process_time()
    yield
    readings.wall, readings.cpu = (time.perf_counter() - began) * 1e3, (time.process_time() - used) * 1e3
    if before is not None:
        readings.rss = (_memory("VmHWM") or 0.0) - before
    if ticking is not None:
        await asyncio.sleep(10 * TICK)  # the tick that the end of the block delayed counts, too
        ticking.cancel()
        readings.lag = worst * 1e3


def _memory(name: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) * 1.024e-3
    return None

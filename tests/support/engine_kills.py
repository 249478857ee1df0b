"""What the tests that kill workers of an engine have in common: the emulator, its bill, and the verdict."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from imagesdk.emulator import Emulator, RequestRecord

ROOT = Path(__file__).parents[2]
JOBS = 60
LIMIT, WINDOW = 25, 60.0
"""Images that the account may have in any window of so many seconds."""
LATENCY = 3.0
"""Seconds that the emulator takes for an image, which it bills at once."""
KILL_AFTER = (5, 30, 55)
"""Billed images after which a worker is killed, while some of its jobs are in flight."""
JITTER = 2.0
"""Seconds between a grant and the moment at which the emulator sees the request, on a busy machine."""


class _Stamped(list[RequestRecord]):
    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, record: RequestRecord) -> None:
        self.times.append(time.monotonic())
        super().append(record)


@define(eq=False)
class Account:
    """An emulator, and how workers use it."""

    emulator: Emulator
    folder: Path
    shared: str
    killed: list[int] = field(factory=list[int])

    @property
    def requests(self) -> _Stamped:
        requests = self.emulator.state.requests
        assert isinstance(requests, _Stamped)
        return requests

    @property
    def options(self) -> dict[str, Any]:
        """Options of the workers."""
        return {
            "base_url": self.emulator.base_url,
            "api_key": "",
            "rate_limit": f"{LIMIT}/min",
            "shared": self.shared,
            "out": str(self.folder / "out"),
        }

    def kill_workers(self, workers: Callable[[], Iterable[int | None]], is_over: Callable[[], bool]) -> None:
        """Kill a worker with SIGKILL after each number of billed images."""
        for number, count in enumerate(KILL_AFTER):
            while len(self.requests) < count and not is_over():
                time.sleep(0.02)
            time.sleep(LATENCY / 2)
            while len(self.killed) == number and not is_over():
                victims = [pid for pid in workers() if pid and pid not in self.killed]
                for pid in victims:
                    with suppress(ProcessLookupError):  # it has ended
                        os.kill(pid, signal.SIGKILL)
                        self.killed.append(pid)
                        break

    def check(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Check the verdict of a run, and return its figures, with its time beside the least that the limit allows."""
        statuses = Counter(str(row["status"]) for row in rows)
        billed = Counter(
            str(record.prompt) for record in self.requests if record.path.endswith("generations")
        )
        assert len(self.killed) == len(KILL_AFTER)
        assert statuses.total() == JOBS, "a job is lost"
        assert set(statuses) <= {"done", "unknown"}, statuses
        assert max(billed.values()) == 1, f"billed twice: {billed.most_common(5)}"
        for row in rows:
            assert (row["path"] is not None) == (row["status"] == "done")
            assert row["path"] is None or Path(str(row["path"])).stat().st_size
        times = self.requests.times
        most = max(sum(at <= other < at + WINDOW - JITTER for other in times) for at in times)
        least = (len(times) - 1) // LIMIT * WINDOW
        took = times[-1] - times[0]
        starts = Counter(int((at - times[0]) // 10) * 10 for at in times)
        figures = (
            f"{dict(statuses)}, {len(billed)} billed, most in a window {most}, {took:.2f} s of {least:g} s ({took / least:.3f}), "
            f"by ten seconds {dict(starts)}"
        )
        assert most <= LIMIT, figures
        assert {record.status for record in self.requests} <= {200, None}, figures
        return figures


@contextmanager
def account(folder: Path, shared: str | None = None) -> Generator[Account, None, None]:
    """Run the emulator of an account."""
    with Emulator(limit=None) as emulator:
        emulator.state.requests = _Stamped()
        emulator.state.faults.connection(delay=LATENCY, times=10 * JOBS)
        yield Account(emulator, folder, shared or f"sqlite:///{folder}/ledger.db")


def worker_environment() -> dict[str, str]:
    """Return the environment of workers, which import the tests."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def children_of(pid: int) -> list[int]:
    """Return the child processes of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]

"""Fleets of real processes that share a limit, and what they were granted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import frozen

READY_SECONDS = 0.5
"""Time from the orders to the first call."""


@frozen
class Grant:
    """A call that was granted."""

    process: int
    number: int
    images: int
    arrived_at: float
    granted_at: float
    rejected: bool
    """Whether the server was going to answer 429."""


class FleetProcess:
    """One process, which waits for its orders."""

    def __init__(self, module: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout

    def wait(self) -> None:
        """Wait until the process is ready."""
        assert self._stdout.readline() == "ready\n"

    def order(self, orders: dict[str, Any]) -> None:
        self._stdin.write(json.dumps(orders))
        self._stdin.close()

    def read(self, number: int) -> list[Grant]:
        """Return the grants, when the process has ended."""
        lines = self._stdout.read().splitlines()
        self.process.wait()
        self._stdout.close()
        rows = (json.loads(line) for line in lines if line.startswith("["))
        return [
            Grant(number, at, images, arrived, granted, bool(bad))
            for at, images, arrived, granted, bad in rows
        ]


def run_fleet(
    orders: Sequence[dict[str, Any]],
    *,
    module: str = "tests.support.shared_limit_process",
    in_the_middle: Iterable[tuple[float, Callable[[list[FleetProcess]], object]]] = (),
) -> list[Grant]:
    """Start a process for each of the orders, let all of them call at one time, and return all grants.

    ``in_the_middle`` has what happens so many seconds after the start.
    """
    processes = [FleetProcess(module) for _ in orders]
    for process in processes:
        process.wait()
    start_at = time.monotonic() + READY_SECONDS + len(orders) / 50
    for process, order in zip(processes, orders, strict=True):
        process.order({"start_at": start_at, **order})
    try:
        for seconds, happen in in_the_middle:
            time.sleep(max(0.0, start_at + seconds - time.monotonic()))
            happen(processes)
        grants = [grant for number, process in enumerate(processes) for grant in process.read(number)]
    finally:
        for process in processes:
            process.process.kill()
            process.process.wait()
    return sorted(grants, key=lambda grant: grant.granted_at)


def most_in_a_window(grants: Sequence[Grant], per: float) -> int:
    """Return the most images that were granted within a window."""
    counted = [grant for grant in grants if not grant.rejected]
    most = images = first = 0
    for grant in counted:
        images += grant.images
        while counted[first].granted_at <= grant.granted_at - per:
            images -= counted[first].images
            first += 1
        most = max(most, images)
    return most


def last_grant(grants: Sequence[Grant]) -> float:
    """Return the seconds from the first call to the last grant."""
    return grants[-1].granted_at - min(grant.arrived_at for grant in grants)


def optimum(grants: Sequence[Grant], images: int, per: float) -> float:
    """Return the seconds until the last grant under a limiter without any delay."""
    return (sum(grant.images for grant in grants) - 1) // images * per


def fairness(grants: Sequence[Grant], processes: int) -> float:
    """Return Jain's index of the images that each process had when half of them were granted."""
    half, images = sum(grant.images for grant in grants) / 2, [0] * processes
    for grant in grants:
        if sum(images) >= half:
            break
        images[grant.process] += grant.images
    return sum(images) ** 2 / (processes * sum(each**2 for each in images))


def overtaken(grants: Sequence[Grant], *, after: float = 0.15) -> int:
    """Return by how many calls a call was overtaken at most that arrived so many seconds after it or more."""
    return max(
        sum(earlier.arrived_at > grant.arrived_at + after for earlier in grants[:place])
        for place, grant in enumerate(grants)
    )

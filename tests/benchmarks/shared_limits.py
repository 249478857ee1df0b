"""``python -m tests.benchmarks.shared_limits``: one limit for four processes, beside other packages, and for a hundred.

It needs ``redis-server``. The times of grants are those of the clients, on one clock. The optimum is the last grant under
a limiter without any delay: (images - 1) // limit windows.
"""

from __future__ import annotations

import argparse
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from attrs import define

from imagesdk import RateLimit, SharedStore
from imagesdk._coordination.limiter import CoordinatedLimiter
from imagesdk._coordination.store_thread import StoreThread
from tests.benchmarks.shared_limit_contender import OPENERS
from tests.support.redis_servers import RedisServer
from tests.support.shared_limit_runs import (
    FleetProcess,
    Grant,
    fairness,
    last_grant,
    most_in_a_window,
    optimum,
    overtaken,
    run_fleet,
)

IMAGES, PER = 50, 3.0
OURS = ("imagesdk Redis", "imagesdk SQLite")
PROCESSES = 4
CALLS = 240
MIXED_IMAGES = 329


@define
class CallCounter:
    """Counts the commands that clients send to Redis; those inside scripts are none."""

    server: RedisServer
    calls: int = 0

    @contextmanager
    def running(self) -> Generator[None]:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.server.socket))
        connection.sendall(b"MONITOR\r\n")

        def count() -> None:
            with connection.makefile("rb") as lines:
                self.calls = sum(b" lua]" not in line for line in lines) - 1

        thread = threading.Thread(target=count)
        thread.start()
        yield
        time.sleep(0.2)
        connection.shutdown(socket.SHUT_RDWR)
        thread.join()
        connection.close()


def orders_of(
    contender: str,
    server: RedisServer,
    folder: Path,
    weights: Sequence[int],
    processes: int = PROCESSES,
    **more: Any,
) -> list[dict[str, Any]]:
    url = f"sqlite:///{folder / 'shared.sqlite'}" if contender.endswith("SQLite") else server.url
    shared = {
        "contender": contender,
        "url": url,
        "key": f"limit-{uuid.uuid4().hex}",
        "images": IMAGES,
        "per": PER,
    }
    return [{**shared, **more, "weights": weights[at::processes]} for at in range(processes)]


def run(
    orders: Sequence[dict[str, Any]],
    *middle: tuple[float, Callable[[list[FleetProcess]], object]],
    ready: float = 3.0,
) -> list[Grant]:
    ours = orders[0]["contender"] in OURS
    module = "tests.support.shared_limit_process" if ours else "tests.benchmarks.shared_limit_contender"
    return run_fleet(orders, module=module, in_the_middle=middle)


def row(name: str, grants: list[Grant], calls: int, expected: int, processes: int = PROCESSES) -> list[str]:
    if not grants:
        return [name, str(expected), *["-"] * (len(HEAD) - 2)]
    best = optimum(grants, IMAGES, PER)
    return [
        name,
        str(expected - len(grants)),
        str(most_in_a_window(grants, PER)),
        f"{last_grant(grants):.2f}",
        f"{last_grant(grants) / best:.3f}" if best else "-",
        f"{calls / len(grants):.2f}" if calls else "-",
        f"{fairness(grants, processes):.3f}",
        str(overtaken(grants)),
        str(overtaken(grants, after=0.0)),
    ]


HEAD = (
    "limiter",
    "failed",
    "most in a window",
    "last grant s",
    "by optimum",
    "calls a grant",
    "Jain",
    "overtaken",
    "by any arrival",
)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n## {title}\n\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for each in rows:
        print("| " + " | ".join(each) + " |")
    sys.stdout.flush()


def compare(
    server: RedisServer, folder: Path, contenders: Sequence[str], weights: Sequence[int], title: str
) -> None:
    rows: list[list[str]] = []
    for contender in contenders:
        counter = CallCounter(server)
        with counter.running():
            grants = run(orders_of(contender, server, folder, weights))
        rows.append(
            row(contender, grants, 0 if contender.endswith("SQLite") else counter.calls, len(weights))
        )
    table(title, HEAD, rows)


def disturb(server: RedisServer, folder: Path, contenders: Sequence[str]) -> None:
    """Let clocks differ by seconds, and restart the server in the middle."""

    def restart(_: object) -> None:
        server.stop()
        server.start()

    rows: list[list[str]] = []
    for contender in contenders:
        orders = orders_of(contender, server, folder, [1] * CALLS)
        for order, skew in zip(orders, (0.0, 5.0, -5.0, 1.0), strict=True):
            order["skew"] = skew
        middle = () if contender.endswith("SQLite") else ((4.5, restart),)
        rows.append(row(contender, run(orders, *middle), 0, CALLS))
    table(
        "240 images; clocks 0, +5, -5 and +1 s wrong; Redis restarts after 4.5 s without its data", HEAD, rows
    )


def pause(server: RedisServer, folder: Path) -> None:
    """Let one process receive a 429, and measure when the last of the others sends."""
    rows: list[list[str]] = []
    for contender in OURS:
        orders = orders_of(contender, server, folder, [1] * CALLS, pause=2.0)
        orders[0]["rejected"] = [2]
        grants = run(orders)
        (at,) = (grant.granted_at for grant in grants if grant.rejected)
        later = [grant.granted_at - at for grant in grants if at < grant.granted_at < at + 1.9]
        rows.append([contender, f"{max(later, default=0.0) * 1000:.0f}", str(len(later))])
    table(
        "A 429 with a pause of 2 s in one of four processes",
        ["limiter", "last grant after it, ms", "grants"],
        rows,
    )


def latency(server: RedisServer, folder: Path, number: int) -> None:
    """Measure grants that wait for nobody: one after the other, of one process."""
    rows: list[list[str]] = []
    for contender, url in zip(OURS, (server.url, f"sqlite:///{folder / 'one.sqlite'}"), strict=True):
        thread = StoreThread(SharedStore(url))
        limiter = CoordinatedLimiter(thread, "limit-latency", RateLimit(1_000_000, per=1.0))
        seconds: list[float] = []

        async def work(limiter: CoordinatedLimiter = limiter, seconds: list[float] = seconds) -> None:
            for _ in range(number):
                begin = time.perf_counter()
                permit = limiter.enqueue(1)
                await limiter.wait(permit, deadline=None)
                seconds.append(time.perf_counter() - begin)
                limiter.sent(permit)
                limiter.release(permit)

        anyio.run(work)
        thread.end(5)
        cuts = statistics.quantiles(seconds, n=100)
        rows.append([contender, f"{cuts[49] * 1000:.2f}", f"{cuts[98] * 1000:.2f}"])
    table("A grant that waits for nobody", ["limiter", "p50 ms", "p99 ms"], rows)


def many(server: RedisServer, folder: Path, processes: int) -> None:
    rows: list[list[str]] = []
    for contender in OURS:
        counter = CallCounter(server)
        orders = orders_of(contender, server, folder, [1] * 300, processes)
        with counter.running():
            grants = run(orders)
        calls = 0 if contender.endswith("SQLite") else counter.calls
        rows.append(row(contender, grants, calls, 300, processes))
    table(f"300 images of {processes} processes", HEAD, rows)


PARTS = ("single", "mixed", "disturbed", "pause", "latency", "many")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shared_limits", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--ours", action="store_true", help="without the other packages")
    parser.add_argument("--processes", type=int, default=100, help="for the last part")
    options = parser.parse_args()
    contenders = OURS if options.ours else (*OURS, *OPENERS)
    chance = random.Random(1)
    mixed: list[int] = []
    while sum(mixed) < MIXED_IMAGES:
        mixed.append(min(chance.choice([1, 4, 10]), MIXED_IMAGES - sum(mixed)))
    parts = options.parts or PARTS
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name)) as server:
        folder = Path(name)
        if "single" in parts:
            compare(server, folder, contenders, [1] * CALLS, "240 images, n=1, 4 processes, 50 per 3 s")
        if "mixed" in parts:
            compare(server, folder, contenders, mixed, "329 images, n of 1, 4 and 10")
        if "disturbed" in parts:
            disturb(server, folder, [*OURS, *contenders[2:3]])
        if "pause" in parts:
            pause(server, folder)
        if "latency" in parts:
            latency(server, folder, 500)
        if "many" in parts:
            many(server, folder, options.processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())

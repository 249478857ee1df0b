"""Processes that share a ledger and 60 jobs, and are killed at random times: none is billed twice, none is lost."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from imagesdk import Client, Generate, SharedStore
from imagesdk._coordination.claim_list import open_claims
from tests.support.billing_server import BillingServer, billing_server
from tests.support.killed_calls import LEASE, programs, shorten_leases
from tests.support.redis_servers import RedisServer

JOBS = [f"image {number}" for number in range(60)]
PROCESSES = 3
AT_ONCE = 4
"""Jobs that a process has under way at once."""
KILLS = 6
_LONGEST = 0.5


def kills(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    has_redis = shutil.which("redis-server") is not None
    for number in range(first, first + count):
        with_redis = has_redis and bool(number % 2)
        with billing_server() as server, _ledger(with_redis=with_redis) as (shared, out):
            found = _run(server, shared, out, Random(f"{seed}/{number}"))
        counts += Counter({f"{what} ({'redis' if with_redis else 'sqlite'})": n for what, n in found.items()})
    return counts


@contextmanager
def _ledger(*, with_redis: bool) -> Generator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        if not with_redis:
            yield f"sqlite:///{folder}/ledger.db", f"{folder}/out"
            return
        with RedisServer(Path(folder)) as server:
            yield server.url, f"{folder}/out"


def _run(server: BillingServer, shared: str, out: str, chance: Random) -> Counter[str]:
    server.delay = 0.3

    def begin() -> subprocess.Popen[str]:
        return programs.start(server.base_url, shared, out, chance.sample(JOBS, len(JOBS)))

    processes = [begin() for _ in range(PROCESSES)]
    for _ in range(KILLS):
        victim = chance.randrange(PROCESSES)
        stdout = processes[victim].stdout
        assert stdout is not None
        stdout.readline()
        time.sleep(_LONGEST * chance.random() ** 2)
        processes[victim].kill()
        processes[victim].communicate()
        processes[victim] = begin()
    for each in processes:
        each.communicate()
        assert each.returncode == 0
    assert not server.billed or max(server.billed.values()) == 1, server.billed
    server.delay = 0.0
    shorten_leases()
    time.sleep(LEASE)  # of the last process that was killed
    with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
        outcomes = [client.images.once(Generate(prompt), out=out) for prompt in JOBS]
        unknown = sum(outcome.status == "unknown" for outcome in outcomes)
        assert {outcome.status for outcome in outcomes} <= {"done", "unknown"}, outcomes
        assert unknown <= AT_ONCE * KILLS
        assert max(server.billed.values()) == 1, server.billed
        outcomes = [client.images.once(Generate(prompt), out=out, retry_unknown=True) for prompt in JOBS]
    assert all(outcome.status == "done" for outcome in outcomes), outcomes
    paths = {image.path for outcome in outcomes for image in outcome.unwrap()}
    assert len(paths) == len(JOBS)
    assert all(path is not None and path.exists() for path in paths)
    with open_claims(SharedStore(shared)) as claims:
        assert all(each.claim is not None and each.claim.state == "done" for each in claims)
    assert server.billed.total() <= len(JOBS) + unknown
    return Counter(
        {"jobs": len(JOBS), "kills": KILLS, "unknown": unknown, "lost": 0, "billed twice unasked": 0}
    )

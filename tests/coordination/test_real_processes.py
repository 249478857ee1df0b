"""Real processes that share a limit in a file or in a real Redis, some of which are killed, stopped or set wrong."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis_servers import RedisServer
from tests.support.shared_limit_runs import (
    FleetProcess,
    Grant,
    last_grant,
    most_in_a_window,
    overtaken,
    run_fleet,
)

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

IMAGES, PER = 20, 2.0


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.sqlite'}"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


def orders(url: str, **changes: Any) -> dict[str, Any]:
    return {"url": url, "key": "limit-test", "images": IMAGES, "per": PER, "weights": [1] * 20, **changes}


def check(grants: list[Grant], calls: int) -> None:
    assert len(grants) == calls
    assert most_in_a_window(grants, PER) <= IMAGES


def test_four_processes_on_both_event_loops_keep_to_one_limit(url: str) -> None:
    backends = ["asyncio", "trio", "asyncio", "trio"]
    grants = run_fleet([orders(url, backend=backend) for backend in backends])
    check(grants, 80)
    assert most_in_a_window(grants, PER) == IMAGES
    assert overtaken(grants) == 0


def test_clocks_that_differ_by_seconds_play_no_part(url: str) -> None:
    grants = run_fleet([orders(url, skew=skew) for skew in (0.0, 5.0, -5.0)])
    check(grants, 60)
    assert overtaken(grants) == 0


def test_large_and_small_requests_share_the_window(url: str) -> None:
    grants = run_fleet([orders(url, weights=[1, 4, 10, 1, 4]) for _ in range(4)])
    check(grants, 20)


def test_a_429_in_one_process_pauses_all(url: str) -> None:
    grants = run_fleet([orders(url, rejected=[5], pause=1.5), *(orders(url) for _ in range(3))])
    check(grants, 81)
    (rejected_at,) = (grant.granted_at for grant in grants if grant.rejected)
    later = [grant.granted_at - rejected_at for grant in grants if grant.granted_at > rejected_at]
    assert not [seconds for seconds in later if 0.1 < seconds < 1.4]


def kill(number: int, kind: signal.Signals) -> Callable[[list[FleetProcess]], object]:
    return lambda processes: processes[number].process.send_signal(kind)


def test_a_killed_process_costs_its_grants_and_nothing_else(url: str) -> None:
    grants = run_fleet([orders(url) for _ in range(4)], in_the_middle=[(1.0, kill(0, signal.SIGKILL))])
    others = [grant for grant in grants if grant.process]
    assert len(others) == 60
    assert most_in_a_window(grants, PER) <= IMAGES
    assert last_grant(grants) < 25  # a lease of 10 s for what the killed process was granted


def test_a_stopped_process_holds_up_nobody_for_long_and_keeps_to_the_limit_later(url: str) -> None:
    grants = run_fleet(
        [orders(url) for _ in range(3)],
        in_the_middle=[(1.0, kill(0, signal.SIGSTOP)), (14.0, kill(0, signal.SIGCONT))],
    )
    check(grants, 60)


def test_scripts_that_are_flushed_and_data_that_is_flushed_are_restored(redis_server: RedisServer) -> None:
    def flush(_: object) -> None:
        with redis_server.client() as client:
            client.script_flush()
            client.flushall()

    grants = run_fleet([orders(redis_server.url) for _ in range(4)], in_the_middle=[(1.0, flush)])
    check(grants, 80)


def test_a_server_that_restarts_without_its_data_ends_no_call(redis_server: RedisServer) -> None:
    def restart(_: object) -> None:
        redis_server.stop()
        redis_server.start()

    grants = run_fleet(
        [orders(redis_server.url, skew=skew) for skew in (0.0, 5.0, -5.0, 0.0)],
        in_the_middle=[(2.5, restart)],
    )
    check(grants, 80)
    assert overtaken(grants) == 0


def test_a_process_that_starts_after_a_restart_sends_nothing_too_much(redis_server: RedisServer) -> None:
    def restart(_: object) -> None:
        redis_server.stop()
        redis_server.start()

    late = orders(redis_server.url, key=f"limit-{uuid.uuid4().hex}")
    first = orders(redis_server.url, key=late["key"])
    grants = run_fleet([first, {**late, "start_at": 0.0}], in_the_middle=[(0.5, restart)])
    check(grants, 40)

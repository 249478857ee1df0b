"""Runs whose process ends at once, at any point. Kills at random times are a soak (tests/soak/runs.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesdk.fan_out.journal import read_records
from imagesdk.policies import Delivery
from tests.support.billing_server import BillingServer
from tests.support.killed_runs import CODE, JOBS, POINTS, check, exit_code

SEVERAL = ("after the commit of received", "after the commit of sending")


@pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])
@pytest.mark.parametrize("points", [*((point,) for point in POINTS), SEVERAL], ids=", ".join)
def test_a_run_is_resumed_after_its_process_ended_once_or_several_times(
    server: BillingServer, tmp_path: Path, points: tuple[str, ...], delivery: Delivery
) -> None:
    for point in points:
        assert exit_code(server, tmp_path, delivery, point) == CODE
    check(server, tmp_path, delivery, kills=len(points))


def test_a_program_that_is_not_killed_finishes_its_run(server: BillingServer, tmp_path: Path) -> None:
    assert exit_code(server, tmp_path, "at_most_once") == 0
    assert [record.state for record in read_records(tmp_path / "journal.db")] == ["done"] * len(JOBS)

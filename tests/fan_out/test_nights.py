"""A nightly batch with everything in its way. One of 2 000 jobs is a soak (tests/soak/nights.py)."""

from __future__ import annotations

from pathlib import Path

from tests.support.nights import TROUBLES, night


def test_after_a_night_of_troubles_no_job_is_lost_and_none_is_paid_twice(tmp_path: Path) -> None:
    with night(60, tmp_path) as batch:
        for trouble in TROUBLES:
            batch.run(trouble, 3)
        batch.check(TROUBLES)

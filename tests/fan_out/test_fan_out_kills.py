"""A run whose process ends at once, anywhere: nothing is lost, nothing corrupt, nothing finished is made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from imagesdk.policies import Delivery
from tests.support.billing_server import Till, till
from tests.support.killed_runs import CODE, JOBS, POINTS, check, start

both = pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])


@pytest.fixture
def server() -> Iterator[Till]:
    with till() as server:
        yield server


@pytest.mark.parametrize(
    ("point", "delivery"),
    [
        *((point, "at_most_once") for point in POINTS),
        *((point, "at_least_once") for point in list(POINTS)[:5]),  # later it makes no difference
    ],
)
def test_a_run_goes_on_after_its_process_ended(
    server: Till, tmp_path: Path, point: str, delivery: Delivery
) -> None:
    program = start(server, tmp_path, delivery, point)
    _, said = program.communicate(timeout=60)
    assert program.returncode == CODE, said
    check(server, tmp_path, delivery)


@both
def test_a_run_goes_on_after_it_was_killed_again_and_again(
    server: Till, tmp_path: Path, delivery: Delivery
) -> None:
    chance, kills = Random(delivery), 0
    for _ in range(3):
        program = start(server, tmp_path, delivery)
        assert program.stdout is not None
        for _ in range(chance.randint(1, 3)):
            program.stdout.readline()
        kills += program.poll() is None
        program.kill()
        program.communicate(timeout=60)
    check(server, tmp_path, delivery, kills)


def test_a_program_that_is_left_alone_ends_well(server: Till, tmp_path: Path) -> None:
    program = start(server, tmp_path, "at_most_once")
    out, said = program.communicate(timeout=60)
    assert (program.returncode, said) == (0, "")
    assert sorted(map(int, out.split())) == list(range(len(JOBS)))

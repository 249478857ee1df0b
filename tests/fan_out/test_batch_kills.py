"""Runs on the batch lane whose process ends at once, at any point. Kills at random times are a soak (tests/soak/batches.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from imagesdk._calls import batch_calls
from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from tests.support.killed_batches import CODE, POINTS, check, exit_code


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(limit=None) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    """The emulator of the module, as if it were new."""
    running.reset()
    return running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw next to nothing, and look for a batch for moments."""

    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)
    monkeypatch.setattr(batch_calls, "LOOK_SECONDS", 0.05)


@pytest.mark.parametrize("point", POINTS)
def test_a_run_is_resumed_after_its_process_ended_and_every_job_is_billed_once(
    emulator: Emulator, tmp_path: Path, point: str
) -> None:
    assert exit_code(emulator, tmp_path, point) == CODE
    check(emulator, tmp_path)


def test_a_run_is_resumed_after_its_process_ended_at_one_point_after_the_other(
    emulator: Emulator, tmp_path: Path
) -> None:
    points = [
        "after the commit of the intent",
        "when the batch was created and no answer was read",
        "after the commit of received",
        "before the end of the batch is recorded",
    ]
    ends = [exit_code(emulator, tmp_path, point) for point in points]
    assert CODE in ends
    check(emulator, tmp_path)

"""Progress of a batch: a live display on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from argparse import Namespace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagesdk import APIConnectionError, Generate, Outcome, Progress, RateLimit
from imagesdk.cli.batch_display import duration, line, show_progress, summary
from tests.support.commands import environment_of


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")],
)
def test_a_duration_has_at_most_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_line_shows_progress_rate_cost_and_remaining_time() -> None:
    progress = Progress(
        total=1000,
        done=300,
        failed=2,
        images=300,
        cost=Decimal("4.80"),
        images_per_minute=50,
        limit=RateLimit(50),
        seconds_left=840,
    )
    assert line(progress) == "302/1000, 300 done, 2 failed, 50 of 50 images/min, $4.80, about 14 min 0 s left"
    assert line(Progress()) == "0/?, 0 done, 0 images/min"


def test_the_summary_counts_jobs_from_an_earlier_run() -> None:
    progress = Progress(total=3, done=2, unknown=1, resumed=1, images=1, seconds=61)
    assert summary(progress) == "2 done, 1 unknown (1 from an earlier run); 1 image in 1 min 1 s"


@pytest.mark.parametrize(
    ("cost", "unpriced", "words"),
    [("0", 2, "cost unknown"), ("0.40", 1, "at least $0.40"), ("0.40", 0, "$0.40")],
)
def test_an_unknown_cost_is_not_shown_as_zero(cost: str, unpriced: int, words: str) -> None:
    progress = Progress(total=2, done=2, images=2, cost=Decimal(cost), unpriced=unpriced)
    assert summary(progress) == f"2 done; 2 images in 0 s, {words}"
    assert line(progress) == f"2/2, 2 done, 0 images/min, {words}"


def test_an_equal_error_is_printed_five_times_and_then_counted(capsys: pytest.CaptureFixture[str]) -> None:
    running: Any = SimpleNamespace(progress=Progress())
    with show_progress(Namespace(), running) as report:
        for place in range(41):
            error = APIConnectionError("It is down." if place < 40 else "It is up.")
            outcome = Outcome(Generate("a"), f"id{place}", place, "failed", error=error)
            report(outcome, lambda place: place + 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        *(f"imagesdk: line {place + 1} (id{place}) failed: It is down." for place in range(5)),
        "imagesdk: line 41 (id40) failed: It is up.",
        "imagesdk: and 35 more: failed: It is down.",
    ]


def test_a_terminal_shows_a_live_display(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    ours, theirs = pty.openpty()
    options = ("--emulator", "--out", "out", "--model", "dall-e-2", "--size", "256x256")
    terminal = {"TERM": "xterm", "COLUMNS": "100", "IMAGESDK_RATE_LIMIT": "50/min"}
    done = subprocess.run(
        [sys.executable, "-m", "imagesdk", "batch", "prompts.txt", *options],
        cwd=tmp_path,
        env=environment_of("") | terminal,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=60,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the end of a terminal
        pass
    finally:
        os.close(ours)
    assert done.returncode == 0
    assert len(done.stdout.split()) == 2
    text = shown.decode()
    assert "of 50 images/min" in text
    assert "in progress" in text
    assert "2 done; 2 images" in text

"""``imagesdk batch --lane`` and ``imagesdk batches``, against an emulator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from imagesdk import BatchCounts, Client, Generate, LaneProgress, Progress
from imagesdk.cli.batch_display import lane_lines
from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from imagesdk.reports import Batch
from tests.support.commands import environment_of, run_command

Run = Callable[..., "subprocess.CompletedProcess[str]"]
LOW = ("--model", "gpt-image-2", "--quality", "low", "--size", "1024x1024", "--poll", "0.01")


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
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)


@pytest.fixture
def run(tmp_path: Path, emulator: Emulator) -> Run:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = environment_of(emulator.base_url)
        done = run_command(arguments, folder=tmp_path, environment=environment)
        out, err = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return call


def test_a_file_of_jobs_goes_into_a_batch_and_is_resumed_like_any_other(
    run: Run, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    first, second = (run("batch", "prompts.txt", "-o", "images", "--lane", "batch", *LOW) for _ in range(2))
    for done in (first, second):
        assert (done.returncode, len(done.stdout.split())) == (0, 2), done.stderr
    assert emulator.state.bill.images == {"batch": 2}
    assert "2 done (2 from an earlier run)" in second.stderr


def test_a_deadline_is_met_and_a_notice_says_at_once_if_it_cannot_be(
    run: Run, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    late = ("--lane", "auto", "--deadline", "60s")  # less than a cancellation takes: all jobs go live
    done = run("batch", "prompts.txt", "-o", "images", *late, *LOW)
    wrong = run("batch", "prompts.txt", "-o", "images", "--deadline", "20h", *LOW[:-2])

    assert (done.returncode, len(done.stdout.split())) == (0, 2), done.stderr
    assert emulator.state.bill.images == {"live": 2}
    assert "Give a later --deadline to make more of them." in done.stderr
    assert wrong.returncode == 2
    assert "Add --lane auto" in wrong.stderr


def test_batches_are_listed_shown_waited_for_cancelled_and_fetched(
    run: Run, emulator: Emulator, tmp_path: Path
) -> None:
    cat = Generate("a cat", model="gpt-image-2", quality="low", size="1024x1024")
    with Client(base_url=emulator.base_url, api_key="") as client:
        done = client.batches.create([cat, cat])
        emulator.state.faults.batch(stuck=0.5)
        stuck = client.batches.create([cat, cat])

    listed = run("batches", "list", "--limit", "5")
    assert [row.split()[0] for row in listed.stdout.splitlines()[1:]] == [stuck.id, done.id]
    shown = run("batches", "show", done.id, "--json")
    assert (json.loads(shown.stdout)["status"], json.loads(shown.stdout)["completed"]) == ("completed", 2)
    assert run("batches", "wait", done.id).returncode == 0
    fetched = run("batches", "fetch", done.id, "-o", "images")
    assert (fetched.returncode, len(fetched.stdout.split())) == (0, 2)
    assert all((tmp_path / name).is_file() for name in fetched.stdout.split())
    assert "status" in run("batches", "cancel", stuck.id).stdout
    assert run("batches", "wait", stuck.id, "--poll", "0.01").returncode == 1
    part = run("batches", "fetch", stuck.id, "-o", "images", "--json")
    assert part.returncode == 3
    assert sorted(json.loads(line)["status"] for line in part.stdout.splitlines()) == ["done", "failed"]
    missing = run("batches", "show", "batch_nothing")
    assert (missing.returncode, missing.stdout) == (1, "")


def test_the_display_shows_states_counts_tokens_and_the_clock() -> None:
    assert lane_lines(Progress()) == []
    batches = (
        Batch("a", "in_progress", counts=BatchCounts(10, 4, 1)),
        Batch("b", "validating", counts=BatchCounts(5)),
    )
    soon = datetime.now(UTC) + timedelta(hours=3, minutes=1, seconds=30)
    lane = LaneProgress(batches=batches, waiting=7, enqueued_tokens=900, deadline=soon, cut=True)
    assert lane_lines(Progress(lane=lane)) == [
        "batches: 1 in_progress, 1 validating, 5/15 requests, about 900 tokens enqueued, 7 jobs wait for a batch",
        "3 h 1 min to the deadline, batches are cut off",
    ]

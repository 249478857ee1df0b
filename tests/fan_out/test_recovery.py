"""Recovery of a run that was killed or could not write its journal: images, left-over files and responses set aside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from imagesdk import AsyncClient, Generate, JournalError
from imagesdk.fan_out import output_files
from imagesdk.fan_out.journal import Journal, open_journal
from imagesdk.fan_out.recovery import owner_of
from tests.support.runs import Runs, statuses
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def left_over(runs: Runs, name: str = "f" * 16) -> Path:
    """Write what a killed process of the run leaves behind: an image that has half arrived."""
    path = runs.out / f".imagesdk-{owner_of(runs.out / 'journal.db', runs.out)}-{name}.part"
    path.write_bytes(b"half an image")
    return path


async def received(runs: Runs, *jobs: Any, **options: Any) -> None:
    """Run jobs in a program that ends after it has recorded their responses, and before it moves a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_files, "move_if_free", Mock(side_effect=OSError("the program ends")))
        await runs.saved(*jobs, **options)
    for path in runs.out.glob(".imagesdk-*.part"):
        os.utime(path, (0, 0))


@both_loops
async def test_a_received_image_is_put_in_place_however_long_ago_the_run_was_killed(runs: Runs) -> None:
    await received(runs, "a", "b")
    assert len(hidden(runs.out)) == 2
    async with runs.client:
        await runs.client.images.generate("single", out=runs.out)
    assert statuses(await runs.saved("c", "b", "a")) == ["done"] * 3
    assert runs.server.billed == {"a": 1, "b": 1, "c": 1, "single": 1}
    assert hidden(runs.out) == []
    assert len(runs.pngs()) == 4


async def test_a_received_image_is_put_in_place_though_its_job_is_no_longer_in_the_list(runs: Runs) -> None:
    await received(runs, "a")
    await runs.saved("b")
    assert len(runs.pngs()) == 2
    assert hidden(runs.out) == []


async def test_a_received_image_is_named_before_new_jobs_take_its_name(runs: Runs) -> None:
    template = runs.out / "{slug}.{ext}"
    await received(runs, "a", out=template)
    assert statuses(await runs.saved("a!", "a", out=template)) == ["done", "done"]
    assert runs.pngs() == {"a.png", "a-2.png"}
    assert runs.server.billed == {"a": 1, "a!": 1}


async def test_a_received_image_whose_name_another_program_took_gets_a_free_one(runs: Runs) -> None:
    template = runs.out / "{slug}.{ext}"
    await received(runs, "a", out=template)
    (runs.out / "a.png").write_bytes(b"theirs")
    [outcome] = await runs.saved("a", out=template)
    assert outcome.unwrap()[0].path == runs.out / "a-2.png"
    assert (runs.out / "a.png").read_bytes() == b"theirs"
    assert runs.server.billed == {"a": 1}


@both_loops
async def test_left_over_files_of_a_killed_process_are_removed_at_once_and_no_others(runs: Runs) -> None:
    await runs.saved("a")
    path = left_over(runs)
    others = [runs.out / f".imagesdk-{name}.part" for name in ("0" * 16, f"00000000-{'0' * 16}")]
    for other in others:
        other.write_bytes(b"of another program")
        os.utime(other, (0, 0))
    async with runs.client:
        await runs.client.images.generate("single", out=runs.out)
        assert path.exists()
    await runs.saved("a")
    assert hidden(runs.out) == sorted(other.name for other in others)


async def test_files_are_removed_only_by_the_holder_of_the_lock(runs: Runs) -> None:
    await runs.saved("a")
    async with open_journal(runs.out / "journal.db"):
        path = left_over(runs)
        with pytest.raises(JournalError, match="Another run uses"):
            await runs.saved("a")
    assert path.exists()


async def test_left_over_files_are_found_after_folder_and_journal_were_moved(
    runs: Runs, tmp_path: Path
) -> None:
    await runs.saved("a")
    left_over(runs)
    runs.out.rename(tmp_path / "moved")
    await runs.saved("a", out=tmp_path / "moved")
    assert hidden(tmp_path / "moved") == []


@both_loops
async def test_a_downloaded_image_is_recorded_before_it_has_its_final_name(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Generate("urls please", n=2)
    monkeypatch.setattr(Journal, "done", Mock(side_effect=JournalError("The program ends.")))
    with pytest.raises(JournalError, match="The program ends"):
        await runs.saved(job)
    monkeypatch.undo()
    downloads = len(runs.server.downloads)
    [outcome] = await runs.saved(job)
    assert [image.bytes for image in outcome.unwrap()] == [png(2, 2)] * 2
    assert [(image.width, image.height) for image in outcome.unwrap()] == [(2, 2)] * 2
    assert len(runs.server.downloads) == downloads
    assert {image.path.name for image in outcome.unwrap() if image.path} == runs.pngs()
    assert len(runs.pngs()) == 2


async def test_a_download_that_was_not_moved_is_not_made_again(runs: Runs) -> None:
    await received(runs, "url please")
    downloads = len(runs.server.downloads)
    [outcome] = await runs.saved("url please")
    assert outcome.unwrap()[0].bytes == png(2, 2)
    assert len(runs.server.downloads) == downloads == 1


FULL = JournalError("The disk is full.")


async def unrecorded(runs: Runs, *jobs: Any) -> Path:
    """Run jobs until their journal is full. Return the file with the response."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "received", Mock(side_effect=FULL))
        with pytest.raises(JournalError, match="The disk is full"):
            await runs.saved(*jobs, concurrency=1)
    [aside] = runs.out.glob(".imagesdk-*.json")
    return aside


async def test_a_response_set_aside_is_private_and_holds_no_key(
    runs: Runs, make_client: Callable[..., AsyncClient]
) -> None:
    key = "sk-the-sentinel-of-these-tests"
    runs.client = make_client(runs.server.base_url, api_key=key)
    aside = await unrecorded(runs, "a")
    assert aside.stat().st_mode & 0o077 == 0
    assert key not in aside.read_text("utf-8")


@pytest.mark.parametrize("change", ["not JSON", "another attempt", "gone image"])
async def test_a_response_set_aside_is_used_only_for_its_attempt(runs: Runs, change: str) -> None:
    aside = await unrecorded(runs, "a")
    facts = json.loads(aside.read_text("utf-8"))
    if change == "not JSON":
        aside.write_text("{", "utf-8")
    elif change == "another attempt":
        aside.write_text(json.dumps({**facts, "idempotency_key": "another"}), "utf-8")
    else:
        for name in runs.pngs():
            (runs.out / name).unlink()
    assert statuses(await runs.saved("a")) == ["unknown"]
    assert runs.server.billed == {"a": 1}


def test_a_journal_of_another_drive_has_a_name_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("imagesdk.fan_out.recovery.os.path.relpath", Mock(side_effect=ValueError("drives")))
    assert len(owner_of(tmp_path / "journal.db", tmp_path / "out")) == 8

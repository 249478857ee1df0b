"""Places of images that cannot be used: found before anything is sent, or the paid image is kept and named."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from imagesdk import AsyncClient, Generate, Outcome
from imagesdk._calls import file_names
from imagesdk._media import atomic
from imagesdk.fan_out import output_files
from tests.support.billing_server import BillingServer
from tests.support.runs import Runs, statuses
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])

SUBFOLDERS = "{slug}/{id}.{ext}"


def file(path: Path) -> None:
    path.write_bytes(b"mine")


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def link_loop(path: Path) -> None:
    path.symlink_to(path.name)


obstacles = pytest.mark.parametrize("obstacle", [file, dangling_link, link_loop])


@both_loops
@obstacles
async def test_a_job_whose_folder_cannot_be_made_fails_unsent_and_the_others_continue(
    runs: Runs, obstacle: Callable[[Path], None]
) -> None:
    runs.out.mkdir()
    obstacle(runs.out / "a")
    first, second = await runs.saved("a", "b", out=runs.out / SUBFOLDERS)
    assert statuses([first, second]) == ["failed", "done"]
    assert isinstance(first.error, OSError)
    assert first.error.filename == str(runs.out / "a")
    assert runs.server.asked == ["b"]
    (runs.out / "a").unlink()
    assert statuses(await runs.saved("a", "b", out=runs.out / SUBFOLDERS)) == ["done", "done"]


@obstacles
async def test_a_call_whose_folder_cannot_be_made_is_not_sent(
    client: AsyncClient, server: BillingServer, tmp_path: Path, obstacle: Callable[[Path], None]
) -> None:
    obstacle(tmp_path / "a")
    async with client:
        with pytest.raises(OSError, match="a"):
            await client.images.generate("a", out=tmp_path / SUBFOLDERS)
        assert server.asked == []
        [image] = await client.images.generate("b", out=tmp_path / SUBFOLDERS)
    assert image.path is not None
    assert image.path.parent == tmp_path / "b"


def kept_in(error: BaseException | None) -> Path:
    found = re.search(r"The image is kept in (\S+)\.", str(error))
    assert found is not None, error
    return Path(found[1])


@pytest.fixture
def obstructed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Obstructs a folder after it was checked, just before the first image is moved to it."""

    def obstruct(folder: Path) -> None:
        def obstructing(module: object, name: str) -> None:
            move: Callable[..., None] = getattr(module, name)

            def late(temporary: Path, final: Path, *, fsync: bool) -> None:
                if folder.is_dir():
                    shutil.rmtree(folder)
                    file(folder)
                move(temporary, final, fsync=fsync)

            monkeypatch.setattr(module, name, late)

        obstructing(output_files, "move_if_free")
        obstructing(file_names, "move_into_place")

    return obstruct


@both_loops
async def test_an_image_whose_place_is_gone_is_kept_named_and_put_in_place_by_the_next_run(
    runs: Runs, obstructed: Callable[[Path], None]
) -> None:
    obstructed(runs.out / "a")
    first, second = await runs.saved("a", "b", out=runs.out / SUBFOLDERS, concurrency=1)
    assert statuses([first, second]) == ["unknown", "done"]
    data = kept_in(first.error).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert statuses(await runs.saved("a", "b", out=runs.out / SUBFOLDERS)) == ["unknown", "done"]
    (runs.out / "a").unlink()
    again = await runs.saved("a", "b", out=runs.out / SUBFOLDERS)
    assert statuses(again) == ["done", "done"]
    assert again[0].unwrap()[0].bytes == data
    assert runs.server.billed == {"a": 1, "b": 1}


async def test_an_image_of_a_call_whose_place_is_gone_is_kept_and_named(
    client: AsyncClient, tmp_path: Path, obstructed: Callable[[Path], None]
) -> None:
    obstructed(tmp_path / "a")
    async with client:
        with pytest.raises(NotADirectoryError) as caught:
            await client.images.generate("a", out=tmp_path / SUBFOLDERS)
    assert kept_in(caught.value).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE]
)
async def test_only_an_error_that_every_image_would_meet_ends_a_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    move = atomic.move_if_free

    def failing(temporary: Path, final: Path, *, fsync: bool) -> None:
        if final.name.startswith("a"):
            raise OSError(code, os.strerror(code), str(final))
        move(temporary, final, fsync=fsync)

    monkeypatch.setattr(output_files, "move_if_free", failing)
    taken = list[Outcome]()
    ends = code not in {errno.EACCES, errno.EIO}
    message = "run the same list again"
    with pytest.raises(OSError, match=message) if ends else nullcontext():
        async with runs.begin(["a", "b"], out=runs.out, concurrency=1) as run:
            async for outcome in run:
                taken.append(outcome)
    assert statuses(taken) == (["unknown"] if ends else ["unknown", "done"])
    assert kept_in(taken[0].error).exists()


async def test_an_image_that_cannot_be_read_for_its_hash_is_kept_under_a_name_that_no_run_removes(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(output_files, "hash_of", failing)
    [outcome] = await runs.saved("a")
    monkeypatch.undo()
    kept = kept_in(outcome.error)
    assert statuses(await runs.saved("a")) == ["unknown"]
    assert kept.read_bytes().startswith(b"\x89PNG")
    assert runs.server.billed == {"a": 1}


async def test_a_name_that_other_programs_always_take_first_is_not_tried_for_ever(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rival(_temporary: Path, final: Path, *, fsync: bool) -> None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final), fsync)

    monkeypatch.setattr(output_files, "move_if_free", rival)
    [outcome] = await runs.saved("a")
    assert isinstance(outcome.error, FileExistsError)
    assert kept_in(outcome.error).exists()


async def test_after_an_error_the_folder_of_the_run_is_checked_again_before_the_next_job_is_sent(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = atomic.move_if_free

    def closing(_temporary: Path, final: Path, *, fsync: bool) -> None:
        monkeypatch.setattr(output_files, "move_if_free", move)
        monkeypatch.setattr("imagesdk._media.output.create_temporary", closed)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(final), fsync)

    def closed(folder: Path, owner: str) -> tuple[int, Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder), owner)

    monkeypatch.setattr(output_files, "move_if_free", closing)
    assert statuses(await runs.saved("a", "b", concurrency=1)) == ["unknown", "failed"]
    assert runs.server.asked == ["a"]


async def test_other_images_of_a_response_are_put_in_place_though_one_cannot_be(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = atomic.move_if_free

    def failing(temporary: Path, final: Path, *, fsync: bool) -> None:
        if final.stem.endswith("-0"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(final))
        move(temporary, final, fsync=fsync)

    monkeypatch.setattr(output_files, "move_if_free", failing)
    job = Generate("pair", n=2)
    [outcome] = await runs.saved(job)
    assert len(runs.pngs()) == 1
    assert kept_in(outcome.error).exists()
    monkeypatch.undo()
    [again] = await runs.saved(job)
    assert [image.bytes for image in again.unwrap()] == [png(1, 1), png(2, 2)]
    assert runs.server.billed == {"pair": 1}

"""Worker threads: what is left behind by a cancelled call, and what happens when no thread can be had."""

from __future__ import annotations

import threading

import anyio
import pytest

from imagesdk._runtime.reading import run_abandonable
from imagesdk._runtime.threads import run_blocking
from tests.support.forked_programs import Start, server, start

__all__ = ["server", "start"]

_THREADS = 16
"""Threads of one folder."""


class HangingDisk:
    """A disk that answers only after it was mended."""

    def __init__(self) -> None:
        self.reads = threading.Semaphore(0)
        self.is_mended = threading.Event()

    def read(self) -> str:
        self.reads.release()
        self.is_mended.wait(30)
        return "read"


@pytest.mark.anyio
async def test_a_disk_that_hangs_stops_no_other_folder_and_is_read_again_when_it_answers() -> None:
    disk = HangingDisk()
    try:
        for number in (_THREADS, 0):
            async with anyio.create_task_group() as tasks:
                for _ in range(2 * _THREADS):
                    tasks.start_soon(run_abandonable, "/hanging", disk.read)
                await anyio.wait_all_tasks_blocked()
                for _ in range(number):
                    assert disk.reads.acquire(timeout=30)
                assert await run_abandonable("/healthy", str, 1) == "1"
                assert await run_blocking(str, 2) == "2"
                tasks.cancel_scope.cancel()
        assert not disk.reads.acquire(blocking=False)
    finally:
        disk.is_mended.set()
    assert await run_abandonable("/hanging", disk.read) == "read"


@pytest.mark.anyio
async def test_an_error_of_the_function_is_raised_as_itself_and_frees_its_place() -> None:
    def fail() -> None:
        raise RuntimeError("mine")

    for _ in range(2 * _THREADS):
        with pytest.raises(RuntimeError, match="mine"):
            await run_abandonable("/healthy", fail)


def test_a_thread_that_cannot_be_started_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def call() -> None:
        monkeypatch.setattr("threading.Thread.start", fail)
        monkeypatch.setattr("_thread.start_new_thread", fail)
        monkeypatch.setattr("imagesdk._runtime.reading._readers._idle", [])
        for _ in range(2 * _THREADS):
            with pytest.raises(RuntimeError, match="new thread"):
                await run_abandonable("/healthy", str, 1)
        monkeypatch.undo()
        assert await run_abandonable("/healthy", str, 1) == "1"

    anyio.run(call)


def test_a_disk_that_hangs_does_not_delay_the_exit(start: Start) -> None:
    program = start(
        """
        import anyio
        from imagesdk._runtime.reading import run_abandonable

        async def main():
            with anyio.move_on_after(0.01):
                await run_abandonable("/hanging", threading.Event().wait)

        anyio.run(main)
        print("ended")
        """
    )
    assert program.end() == (0, "ended", "")


def test_a_forked_child_has_threads_of_its_own(start: Start) -> None:
    program = start(
        """
        import anyio
        from imagesdk._runtime.reading import run_abandonable

        anyio.run(run_abandonable, "/healthy", str, 1)
        if child := os.fork():
            os.waitpid(child, 0)
        print(anyio.run(run_abandonable, "/healthy", str, 2), flush=True)
        if not child:
            os._exit(0)
        """
    )
    assert program.end() == (0, "2\n2", "")

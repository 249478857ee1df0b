"""Blocking clients and their blocks, interrupted at random instants, forked with busy threads, and first called in races."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import anyio
import anyio.lowlevel

from imagesdk import Client
from imagesdk._sync import portal
from imagesdk._sync.lease import Lease, lease
from tests.soak.answering import PICTURE, answering

PATIENCE = 60
"""Seconds after which a thread that should have ended has hung."""
_RACERS = 32
_BUSY = 8
_PASSES = 100_000
"""Passes of the event loop after which a coroutine that should have ended has hung."""


class Stub:
    """An asynchronous client whose calls are short, with counters of their starts and ends."""

    begun = ended = 0

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def work(self) -> None:
        Stub.begun += 1
        try:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        finally:
            Stub.ended += 1

    async def quiet(self) -> None:
        if not await _holds(lambda: Stub.begun == Stub.ended):
            raise AssertionError(f"{Stub.begun - Stub.ended} coroutines have not ended")

    async def is_alone(self) -> bool:
        """Whether no other call or task runs on the loop soon."""
        process: Any = portal.join
        running = process.__self__._portal._running
        return await _holds(lambda: len(running) == 1)


async def _holds(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds within some passes of the event loop."""
    for _ in range(_PASSES):
        if condition():
            return True
        await anyio.lowlevel.checkpoint()
    return False


class Alarm:
    """A timer that raises ``KeyboardInterrupt`` in the main thread at random instants."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._armed = False
        signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._armed and frame is not None and frame.f_code is not Alarm.interrupts.__code__:
            while frame is not None:
                if frame.f_code.co_name == "__del__":  # Python prints and ignores exceptions there
                    return
                frame = frame.f_back
            raise KeyboardInterrupt

    def interrupts(self, work: Callable[[], object], latest: float, again: float) -> bool:
        interrupted, self._armed = False, True
        try:
            signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(1e-6, latest), again)
            work()
        except KeyboardInterrupt:
            interrupted = True
        self._armed = False  # a signal that another thread received may arrive late
        signal.setitimer(signal.ITIMER_REAL, 0)
        return interrupted


def interrupts(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    gc.disable()  # Python prints and ignores exceptions in finalisers
    try:
        _interrupt_stubs(Random(f"{seed}/{first}"), count, counts)
        _interrupt_clients(Random(f"{seed}/{first}"), max(1, count // 5), counts)
    finally:
        gc.enable()
    return counts


def _interrupt_stubs(chance: Random, count: int, counts: Counter[str]) -> None:
    alarm, handle = Alarm(chance), lease(Stub)
    handle.call(Stub.work)

    def work(chosen: Lease[Stub]) -> None:
        chosen.call(Stub.work)
        chosen.call(Stub.work)
        if chosen is not handle:
            chosen.close()

    for number in range(count):
        call = partial(work, handle if number % 4 else lease(Stub))
        counts["interrupted"] += alarm.interrupts(call, 1e-3, 5e-5)
        del call
        if number % 100 == 0:
            gc.collect()
    gc.collect()
    handle.call(Stub.quiet)
    _close(handle.close)


def _interrupt_clients(chance: Random, count: int, counts: Counter[str]) -> None:
    alarm = Alarm(chance)
    with answering() as base_url, Client(base_url=base_url, api_key="", rate_limit=None) as client:
        call = partial(client.images.generate, "a cat")
        for number in range(count):
            counts["calls of a client, interrupted"] += alarm.interrupts(call, 8e-3, 1e-3)
            if number % 50 == 0:
                gc.collect()
                assert call()[0].bytes == PICTURE
    _close(client.close)


def blocks(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    chance = Random(f"{seed}/{first}")
    alarm, handle = Alarm(chance), lease(Stub)
    with TemporaryDirectory() as folder, answering() as base_url, _own(base_url) as client:
        for number in range(first, first + count):
            kind, work = "stream", partial(_stream, client)
            began = time.monotonic()
            if number % 2:
                _run(client, f"{folder}/{number} before")
                kind, work = "run", partial(_run, client, f"{folder}/{number}")
            else:
                _stream(client)
            longest = time.monotonic() - began
            interrupted = alarm.interrupts(work, chance.choice([1e-3, longest]), 0)
            counts[f"{kind}, {'interrupted' if interrupted else 'ended before'}"] += 1
            if not handle.call(Stub.is_alone):
                counts[f"{kind}, left running"] += 1
            if number % 2 and interrupted:
                _run(client, f"{folder}/{number}")  # nobody holds its journal
    _close(handle.close)
    _close(client.close)
    assert not [what for what in counts if "left" in what], counts
    return counts


def _stream(client: Client) -> None:
    with client.images.generate_stream("a cat", partial_images=1) as stream:
        for _ in stream:
            pass


def _run(client: Client, folder: str) -> None:
    with client.images.fan_out(["a cat", "a dog", "a fox"], out=folder, concurrency=2) as run:
        for _ in run:
            break


def forks(seed: int, first: int, count: int) -> Counter[str]:
    handle, stop = lease(Stub), threading.Event()
    handle.call(Stub.work)

    def busy() -> None:
        while not stop.is_set():
            handle.call(Stub.work)

    counts: Counter[str] = Counter()
    threads = [threading.Thread(target=busy) for _ in range(_BUSY)]
    for thread in threads:
        thread.start()
    for _ in range(count):
        if (child := os.fork()) == 0:
            signal.alarm(PATIENCE)  # kills a child that hangs
            handle.call(Stub.work)
            second = lease(Stub)
            second.call(Stub.work)
            second.close()
            os._exit(3)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 3, f"a child ended with {code}"
        counts["children"] += 1
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    _close(handle.close)
    return counts


def races(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    with answering() as base_url, ThreadPoolExecutor(_RACERS) as pool:
        for number in range(count):
            start = threading.Barrier(_RACERS)
            client = Client(base_url=base_url, api_key="", rate_limit=None)
            clients = [client] * _RACERS if number % 2 else [_own(base_url) for _ in range(_RACERS)]

            def call(raced: Client, start: threading.Barrier = start) -> bytes:
                start.wait(PATIENCE)
                return raced.images.generate("a cat")[0].bytes

            assert set(pool.map(call, clients, timeout=PATIENCE)) == {PICTURE}
            assert len(_loops()) == 1
            for each in clients:
                each.close()
            counts["races"] += 1
    for thread in _loops():
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return counts


def _own(base_url: str) -> Client:
    return Client(base_url=base_url, api_key="", rate_limit=None)


def _loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "imagesdk"]


def _close(close: Callable[[], None]) -> None:
    threads = _loops()
    close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()

"""Ctrl-C at every step of entering and leaving the block of a stream or a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from types import FrameType
from typing import Any, Self

import anyio.lowlevel
import pytest

from imagesdk._sync.context import ContextHandle
from imagesdk._sync.latch import Latch
from imagesdk._sync.lease import Lease, lease
from imagesdk._sync.portal import finalise

_PATIENCE = 30
"""Seconds after which a Ctrl-C has been lost."""
_PASSES = 10_000
"""Passes of the event loop after which a block that should have ended is left running."""


class Stub:
    """An asynchronous client whose blocks count how many of them are open."""

    opened = open = 0

    async def aclose(self) -> None:
        pass

    def block(self) -> Block:
        return Block(self)

    async def quiet(self) -> int:
        for _ in range(_PASSES):
            if not self.open:
                break
            await anyio.lowlevel.checkpoint()
        return self.open


class Block:
    """An asynchronous context manager that takes some passes of the loop to be entered and left."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    async def __aenter__(self) -> Self:
        self._stub.open += 1
        self._stub.opened += 1
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            self._stub.open -= 1
            raise
        return self

    async def __aexit__(self, *details: object) -> None:
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            self._stub.open -= 1


@pytest.fixture
def handle() -> Iterator[Lease[Stub]]:
    handle = lease(Stub)
    yield handle
    handle.close()


def is_finaliser(frame: FrameType | None) -> bool:
    """Whether a frame is a part of a finaliser: what Python ignores there is passed on, as another test shows."""
    while frame is not None and frame.f_globals["__name__"] != __name__:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def interrupted_at(step: int, work: Callable[[], object]) -> bool:
    """Run ``work``; raise ``KeyboardInterrupt`` before that instruction of ``imagesdk._sync`` in this thread."""
    left = step

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if not frame.f_globals["__name__"].startswith("imagesdk._sync") or is_finaliser(frame):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_before_any_instruction_of_entry_and_exit_leaves_no_block_running(
    handle: Lease[Stub],
) -> None:
    def new() -> AbstractContextManager[ContextHandle[Block]]:
        return handle.context(lambda entered: entered, Stub.block)

    def work() -> None:
        with new():
            pass

    work()
    steps = 0
    for steps in count():
        if not interrupted_at(steps, work):
            break
        assert handle.call(Stub.quiet) == 0, f"after an interrupt at step {steps}"
    assert steps > 300
    assert handle.async_object.opened > steps // 2


def test_ctrl_c_that_strikes_a_finaliser_is_raised_after_it_and_the_finaliser_has_done_its_work(
    ctrl_c: None,
) -> None:
    done = list[str]()

    def work() -> None:
        done.append("begun")
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append("ended")

    def finalised() -> None:
        finalise(work)
        Latch().wait(_PATIENCE)

    with pytest.raises(KeyboardInterrupt):
        finalised()
    assert done == ["begun", "begun", "ended"]

"""One blocking call: a coroutine that is run on the portal's loop, and what its waiting thread gets of it.

When a call is begun, cancelled or given up is decided in ``portal.py``. Rule: what the coroutine raises,
``SystemExit`` included, reaches its own caller and nobody else.
"""

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc

from imagesdk._runtime import callsite as _calling_line
from imagesdk._sync.latch import Latch

_T = TypeVar("_T")

Guest = object
"""What stands for a client in its portal: any object, told apart by identity."""


class Call(Generic[_T]):
    """One coroutine on its way through the portal, and the thread that waits for it."""

    __slots__ = ("_context", "_error", "_scope", "_start", "_value", "guest", "latch", "over")

    def __init__(self, guest: Guest | None, start: Callable[[], Awaitable[_T]]) -> None:
        self.guest = guest
        self.latch = Latch()
        """Opens for the waiting thread when there is an outcome."""
        self.over: anyio.Event | None = None
        """Made when the coroutine is started, set when it has ended."""
        self._start = start
        self._context = _context_for_asyncio()
        self._context.run(_calling_line.carry)
        self._scope: anyio.CancelScope | None = None
        self._error: BaseException | None = None

    # Called on the loop:

    def begin(self, tasks: anyio.abc.TaskGroup, ended: Callable[["Call[Any]"], None]) -> None:
        """Start the coroutine as a task that sees the context variables of the waiting thread."""
        self.over = anyio.Event()
        self._scope = anyio.CancelScope()
        self._context.run(tasks.start_soon, self._run, self._scope, self.over, ended)

    def cancel(self, reason: BaseException | None = None) -> None:
        """Cancel the coroutine; ``reason`` is what the waiting thread then raises."""
        self._error = self._error or reason
        if self._scope is None:
            self.latch.open()  # interrupted before it got as far as the inbox
        else:
            self._scope.cancel()

    def fail(self, error: BaseException) -> None:
        """Settle a call whose coroutine will not be heard of again."""
        self._error = self._error or error
        self.latch.open()

    async def _run(
        self, scope: anyio.CancelScope, over: anyio.Event, ended: Callable[["Call[Any]"], None]
    ) -> None:
        try:
            with scope:
                self._value = await self._start()
                self._error = None
        except asyncio.CancelledError:
            # Not our scope: the loop is being torn down, or the coroutine cancelled its own task.
            self._error = self._error or RuntimeError("the call was cancelled on its event loop")
        except BaseException as error:  # noqa: BLE001 - the caller gets whatever it was
            self._error = error
        finally:
            over.set()
            ended(self)

    # Called in the thread that waits:

    def outcome(self) -> _T:
        """The coroutine's result; raises what it raised."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: no cycle through it


def _context_for_asyncio() -> contextvars.Context:
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # a caller under trio would make the coroutine believe that it is, too
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context

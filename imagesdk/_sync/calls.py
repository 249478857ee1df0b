"""One blocking call: a coroutine on the portal's event loop, and its result for the waiting thread.

``portal.py`` decides when a call starts, and when it is cancelled or abandoned.
Rule: an exception of the coroutine, ``SystemExit`` included, is raised in the thread that made the call only.
"""

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc

from imagesdk._runtime import callsite
from imagesdk._sync.latch import Latch

_T = TypeVar("_T")

ClientId = object
"""The key of a client in its portal: any object, compared by identity."""


class Result(Generic[_T]):
    """The value or the exception of a coroutine, for one reader."""

    __slots__ = ("_error", "_value")
    _value: _T

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def take(self) -> _T:
        """Return the value, or raise the exception."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: no cycle through it


class Call(Result[_T]):
    """One coroutine, and the thread that waits for its result. All methods but ``take`` are called on the loop."""

    __slots__ = ("_context", "_function", "_scope", "client", "finished", "latch")

    def __init__(self, client: ClientId | None, function: Callable[[], Awaitable[_T]]) -> None:
        super().__init__()
        self.client = client
        self.latch = Latch()  # opens for the waiting thread when there is a result
        self.finished: anyio.Event | None = None  # created when the coroutine starts, set when it has ended
        self._function = function
        self._context = _context_for_asyncio()
        self._context.run(callsite.carry)
        self._scope: anyio.CancelScope | None = None

    def start(self, tasks: anyio.abc.TaskGroup, on_end: Callable[["Call[Any]"], None]) -> None:
        """Start the coroutine as a task that sees the context variables of the waiting thread."""
        self.finished = anyio.Event()
        self._scope = anyio.CancelScope()
        self._context.run(tasks.start_soon, self._run, self._scope, self.finished, on_end)

    def cancel(self, reason: BaseException | None = None) -> None:
        """Cancel the coroutine; the waiting thread then raises ``reason``."""
        self._error = self._error or reason
        if self._scope is None:
            self.latch.open()  # interrupted before it reached the inbox
        else:
            self._scope.cancel()

    def fail(self, error: BaseException) -> None:
        """Fail a call whose coroutine never runs again."""
        self._error = self._error or error
        self.latch.open()

    async def _run(
        self, scope: anyio.CancelScope, finished: anyio.Event, on_end: Callable[["Call[Any]"], None]
    ) -> None:
        try:
            with scope:
                self._value = await self._function()
                self._error = None
        except asyncio.CancelledError:
            # Not our scope: the loop shuts down, or the coroutine cancelled its own task.
            self._error = self._error or RuntimeError("the call was cancelled on its event loop")
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            self._error = error
        finally:
            finished.set()
            on_end(self)


def _context_for_asyncio() -> contextvars.Context:
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # a caller under trio would make the coroutine believe that trio runs it
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context

"""Blocking ``with`` blocks over asynchronous context managers: streams and runs.

One task must enter, use and exit an asynchronous context manager, because the manager may hold cancel scopes. So each
block has a host task on the loop. The host task is an actor: it receives commands and executes them one at a time.
Each command is sent by one call of the portal. A caller that is interrupted cancels its command.
Rules: whatever happens to the caller, the host task exits the context manager once; an exception that strikes while a
block is entered or left, at any instant (Ctrl-C), cancels the host task without waiting. The finaliser of the block is
there for the few instants in which no ``try`` is open.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar

import anyio

from imagesdk._calls.context import entering_hint
from imagesdk._sync import portal
from imagesdk._sync.calls import Result
from imagesdk._sync.membership import Membership

_A = TypeVar("_A")
_T = TypeVar("_T")
_W = TypeVar("_W")
_P = ParamSpec("_P")


class _Command(Result[_T]):
    """One operation for a host task, and its result."""

    def __init__(
        self, operation: Callable[[], Awaitable[_T]], host_scope: anyio.CancelScope | None = None
    ) -> None:
        super().__init__()
        self._operation = operation
        # Commands that enter and exit have the scope of the host task: they may open or close scopes around the rest.
        self._scope = host_scope or anyio.CancelScope()
        self._own_scope = contextlib.nullcontext() if host_scope else self._scope
        self._finished = anyio.Event()

    async def execute(self) -> None:
        """Run the operation, in the host task."""
        try:
            with self._own_scope:
                self._value = await self._operation()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's task
            self._error = error
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._finished.set()

    def reject(self) -> None:
        """Fail the command, because the host task has ended."""
        self._error = _ended_error()
        self._finished.set()

    async def result(self) -> _T:
        """Wait for the result, in the caller's task. If the wait is cancelled, cancel the operation."""
        try:
            await self._finished.wait()
        except BaseException:
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._finished.wait()
            raise
        return self.take()


class _HostTask(Generic[_A]):
    """The task that enters, uses and exits one context manager. Created on the loop."""

    def __init__(self, manager: AbstractAsyncContextManager[_A]) -> None:
        self._manager = manager
        self._scope = anyio.CancelScope()
        self._sender, self._receiver = anyio.create_memory_object_stream[_Command[Any]](math.inf)
        self._entered = False
        self.ended = False

    async def run(self) -> None:
        """Execute commands until the context manager is exited or the task is cancelled."""
        with self._scope, self._sender, self._receiver:
            try:
                async for command in self._receiver:
                    await command.execute()
                    if not self._entered:
                        return
            finally:
                self.ended = True
                await self._clean_up()

    async def _clean_up(self) -> None:
        try:
            if self._entered:  # cancelled: the client was closed, or the interpreter exits
                await self._manager.__aexit__(*sys.exc_info())
        finally:
            with contextlib.suppress(anyio.WouldBlock):
                while True:
                    self._receiver.receive_nowait().reject()

    def cancel(self) -> None:
        """Cancel what the task does, and exit the context manager."""
        self._scope.cancel()

    # Called in the task of a portal's call:

    async def enter(self) -> _A:
        """Enter the context manager and return its value."""

        async def enter() -> _A:
            value = await self._manager.__aenter__()
            self._entered = True
            return value

        return await self._send(_Command(enter, self._scope))

    async def execute(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        """Run ``operation()`` in the host task and return its result."""
        return await self._send(_Command(operation))

    async def exit(self, error: BaseException | None) -> bool | None:
        """Exit the context manager with the exception of the caller's block."""
        details = (None, None, None) if error is None else (type(error), error, error.__traceback__)

        async def exit_() -> bool | None:
            self._entered = False
            return await self._manager.__aexit__(*details)

        return await self._send(_Command(exit_, self._scope))

    async def _send(self, command: _Command[_T]) -> _T:
        if self.ended:
            raise _ended_error()
        self._sender.send_nowait(command)
        return await command.result()


def _ended_error() -> RuntimeError:
    return RuntimeError("this has ended, because its block was left or its client was closed")


class BlockingContext(Generic[_A, _W]):
    """A blocking context manager over an asynchronous one. Created by :meth:`Lease.context`."""

    _handle: ContextHandle[_A] | None = None  # for the finaliser, if a Ctrl-C interrupts ``__init__``

    def __init__(
        self,
        membership: Membership,
        open_: Callable[[], AbstractAsyncContextManager[_A]],
        wrap: Callable[[ContextHandle[_A]], _W],
        name: str,
    ) -> None:
        self._membership = membership
        self._open = open_
        self._wrap = wrap
        self._name = name

    def __enter__(self) -> _W:
        if self._handle is not None:
            raise RuntimeError("this was entered before: make a new one")
        handle = self._handle = ContextHandle(self._membership)
        try:
            handle.enter(self._open)
            return self._wrap(handle)
        except BaseException:
            handle.abandon()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return None if self._handle is None else self._handle.exit(exc_value)
        finally:
            self._abandon()

    def __del__(self, _finalise: Callable[[Callable[[], object]], None] = portal.finalise) -> None:
        _finalise(self._abandon)

    def _abandon(self) -> None:
        if self._handle is not None:
            self._handle.abandon()

    if not TYPE_CHECKING:  # type checkers report both as errors

        def __iter__(self) -> NoReturn:
            raise TypeError(f"{entering_hint(self._name, blocking=True)}.")

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"There is no {name} here: {entering_hint(self._name, blocking=True)}.")


class ContextHandle(Generic[_A]):
    """A handle on the value of an entered context manager, for the blocking class that users see."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._forks = portal.forks()
        self._abandoned = False
        self._host: _HostTask[_A] | None = None
        self._async_object: _A | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream or a run cannot be copied or pickled: make a new one where it is needed")

    @property
    def async_object(self) -> _A:
        """The asynchronous object, for members that need no event loop."""
        assert self._async_object is not None  # noqa: S101 - users get the handle after entering
        return self._async_object

    def call(
        self, method: Callable[Concatenate[_A, _P], Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run ``method(async_object, *args, **kwargs)`` in the host task and wait for its result."""
        if self._forks != portal.forks():
            raise RuntimeError("this belongs to the process that forked: make a new one here")
        host = self._host
        assert host is not None  # noqa: S101 - users get the handle after entering
        return self._membership.call(lambda: host.execute(lambda: method(self.async_object, *args, **kwargs)))

    def next(self, method: Callable[[_A], Awaitable[_T]]) -> _T:
        """Call ``method``, the ``__anext__`` of an iterator."""
        try:
            return self.call(method)
        except StopAsyncIteration:
            raise StopIteration from None

    def enter(self, open_: Callable[[], AbstractAsyncContextManager[_A]]) -> None:
        """Start a host task for the context manager ``open_()``, and enter it."""

        async def enter() -> _A:
            if self._abandoned:
                raise _ended_error()
            host = self._host = _HostTask(open_())
            self._membership.start_task(host.run)
            return await host.enter()

        self._async_object = self._membership.call(enter)

    def exit(self, error: BaseException | None) -> bool | None:
        """Exit the context manager with the exception of the caller's block; return whether it handles that."""
        host = self._host
        if host is None or self._forks != portal.forks():
            return None  # it was not entered, or it belongs to the parent process
        try:
            return None if host.ended else self._membership.call(lambda: host.exit(error))
        except RuntimeError:
            if host.ended:  # the client was closed meanwhile
                return None
            raise

    def abandon(self) -> None:
        """Cancel the host task, also one that starts later, and do not wait. Safe in a finaliser."""
        if self._host is None or not self._host.ended:
            self._membership.post(self._cancel)

    def _cancel(self) -> None:
        self._abandoned = True
        if self._host is not None:
            self._host.cancel()

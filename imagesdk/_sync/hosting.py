"""What a blocking caller enters with ``with``: a stream or a run, hosted by one task of the loop.

An asynchronous context manager must be entered, used and left by the same task, for it may hold cancel scopes. So a
host task enters it, makes its steps one after the other (each a call of the portal, interrupted like any other), and
leaves it with what the caller's block ended with. Rule: whatever happens to the caller, the host leaves it once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar

import anyio

from imagesdk._calls.context import entering_hint
from imagesdk._sync import portal

if TYPE_CHECKING:
    from imagesdk._sync.lease import Stay

_A = TypeVar("_A")
_T = TypeVar("_T")
_W = TypeVar("_W")
_P = ParamSpec("_P")


class _Step:
    """One thing that the host does for its caller.

    To enter or leave may open or close scopes around all further steps, so that neither can have a scope of its own: what
    cancels them is ``around``, the scope of the host.
    """

    def __init__(self, work: Callable[[], Awaitable[Any]], around: anyio.CancelScope | None = None) -> None:
        self._work = work
        self._scope = around or anyio.CancelScope()
        self._own = around is None
        self._over = anyio.Event()
        self._error: BaseException | None = None
        self._value: Any = None

    async def make(self) -> bool:
        """Do it, in the host's task, and say whether it was done; what it raises is for the caller."""
        done = False
        try:
            with self._scope if self._own else contextlib.nullcontext():
                self._value = await self._work()
                done = True
        except Exception as error:  # noqa: BLE001 - the caller gets whatever it was
            self._error = error
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._over.set()
        return done

    def refuse(self) -> None:
        """Tell the caller that nobody is there any more to do it."""
        self._error = _ended()
        self._over.set()

    async def outcome(self) -> Any:
        """Wait for its end, in the caller's task; to cancel that cancels it."""
        try:
            await self._over.wait()
        except BaseException:
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._over.wait()
            raise
        return self.result()

    def result(self) -> Any:
        """Return what came of it, or raise that."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error


class _Host(Generic[_A]):
    """The task that enters, uses and leaves one context manager. Made on the loop."""

    def __init__(self, manager: AbstractAsyncContextManager[_A]) -> None:
        self._manager = manager
        self._steps, self._received = anyio.create_memory_object_stream[_Step](1)
        self._leaves: _Step | None = None
        self._scope = anyio.CancelScope()
        self.ended = False

    async def run(self) -> None:
        """Make the steps as they come, until the last one or a cancellation."""
        with self._scope:
            await self._run()

    async def _run(self) -> None:
        inside = False
        try:
            async for step in self._received:
                if step is self._leaves:
                    inside = False
                    await step.make()
                    return
                inside = await step.make() or inside
        finally:
            self.ended = True
            if inside:  # cancelled: the client was closed, or the interpreter exits
                await self._manager.__aexit__(*sys.exc_info())
            with contextlib.suppress(anyio.WouldBlock, anyio.EndOfStream):
                while True:
                    self._received.receive_nowait().refuse()
            self._received.close()
            self._steps.close()

    async def enter(self) -> _A:
        """Enter it."""
        entering = _Step(self._manager.__aenter__, self._scope)
        try:
            entered: _A = await self._make(entering)
        except BaseException:
            self._steps.close()  # there is nothing to leave
            raise
        return entered

    async def use(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Make a step."""
        value: _T = await self._make(_Step(work))
        return value

    async def leave(self, error: BaseException | None) -> bool | None:
        """Leave it with what the caller's block raised."""
        kind = None if error is None else type(error)
        traceback = None if error is None else error.__traceback__
        self._leaves = _Step(lambda: self._manager.__aexit__(kind, error, traceback), self._scope)
        handled: bool | None = await self._make(self._leaves)
        return handled

    async def _make(self, step: _Step) -> Any:
        if self.ended:
            raise _ended()
        try:
            await self._steps.send(step)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise _ended() from None
        return await step.outcome()


def _ended() -> RuntimeError:
    return RuntimeError("this has ended, because its block was left or its client was closed")


class Hosting(Generic[_A, _W]):
    """A blocking context manager over an asynchronous one. Made by :meth:`Lease.host`."""

    def __init__(
        self,
        stay: Stay,
        open_: Callable[[], AbstractAsyncContextManager[_A]],
        wrap: Callable[[Hosted[_A]], _W],
        name: str,
    ) -> None:
        self._stay = stay
        self._open = open_
        self._wrap = wrap
        self._name = name
        self._hosted: Hosted[_A] | None = None

    def __enter__(self) -> _W:
        if self._hosted is not None:
            raise RuntimeError("this was entered before: make a new one")
        hosted = self._hosted = Hosted(self._stay)
        hosted.enter(self._open)
        try:
            return self._wrap(hosted)
        except BaseException as error:
            hosted.leave(error)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return None if self._hosted is None else self._hosted.leave(exc_value)

    if not TYPE_CHECKING:  # for whom it has neither

        def __iter__(self) -> NoReturn:
            raise TypeError(f"{entering_hint(self._name, blocking=True)}.")

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"There is no {name} here: {entering_hint(self._name, blocking=True)}.")


class Hosted(Generic[_A]):
    """Access to what a host has entered, for the wrapper that users see."""

    def __init__(self, stay: Stay) -> None:
        self._stay = stay
        self._forks = portal.forks()
        self._host: _Host[_A] | None = None
        self._twin: _A | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream or a run cannot be copied or pickled: make a new one where it is needed")

    @property
    def twin(self) -> _A:
        """The asynchronous object, for what needs no event loop."""
        assert self._twin is not None  # noqa: S101 - only made by entering
        return self._twin

    def call(
        self,
        method: Callable[Concatenate[_A, _P], Awaitable[_T]],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run ``method(twin, *args, **kwargs)`` in the host task and wait for its result."""
        host = self._present()
        return self._stay.call(lambda: host.use(lambda: method(self.twin, *args, **kwargs)))

    def next(self, method: Callable[[_A], Awaitable[_T]]) -> _T:
        """Do as ``call`` with ``__anext__``, for an iterator."""
        try:
            return self.call(method)
        except StopAsyncIteration:
            raise StopIteration from None

    def enter(self, open_: Callable[[], AbstractAsyncContextManager[_A]]) -> None:
        """Enter what ``open_`` makes."""

        async def enter() -> _A:
            host = self._host = _Host(open_())
            self._stay.host(host.run)
            return await host.enter()

        self._twin = self._stay.call(enter)

    def leave(self, error: BaseException | None) -> bool | None:
        """Leave it; what the caller's block raised goes on unless the context manager takes it."""
        host = self._host
        if host is None or self._forks != portal.forks():
            return None  # there is nothing to leave, or it is the parent's
        try:
            return None if host.ended else self._stay.call(lambda: host.leave(error))
        except RuntimeError:
            if host.ended:  # its client was closed meanwhile
                return None
            raise

    def _present(self) -> _Host[_A]:
        if self._forks != portal.forks():
            raise RuntimeError("this belongs to the process that forked: make a new one here")
        assert self._host is not None  # noqa: S101 - only made by entering
        return self._host

"""The event-loop thread behind the blocking clients, and how a call gets into it and back.

One ``Portal`` is one thread with one asyncio loop; a process has at most one that takes calls (``_Process`` sees
to that). It starts with the first blocking call and ends with the last guest; a guest is what a blocking
client is to its portal. One call is in ``calls.py``; what a client holds, and when it joins and leaves, in
``lease.py``.

Rules:
- A waiting thread gives up its call by any exception at any instant (Ctrl-C), and the coroutine is cancelled.
- Other threads only append to the inbox and ring; every decision is taken on the loop, in one task.
- No ``threading.Condition`` and nothing made of one (events, queues, futures): not safe against signals.
"""

import _thread
import asyncio
import atexit
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import anyio

from imagesdk._sync.calls import Call, Guest
from imagesdk._sync.latch import Latch
from imagesdk._sync.lookups import LookupThreads

# anyio would import it on the loop's thread, at the first call. A fork just then would leave the child with a
# module lock that nobody releases.
with contextlib.suppress(ImportError):
    import_module("anyio._backends._asyncio")

_T = TypeVar("_T")
_log = logging.getLogger("imagesdk")

GRACE = 5.0
"""Seconds that an interrupted thread waits for its coroutine to end, and a closing client for its connections."""

EXIT_GRACE = 1.0
"""Seconds that the exit of the interpreter waits for cancelled coroutines to clear up."""


class PortalEndedError(Exception):
    """The portal takes no calls any more and has not begun this one: a new portal can."""


class Portal:
    """One thread with one event loop, started by the constructor."""

    def __init__(self, process: "_Process") -> None:
        self.ended = Latch()
        """Opens when the thread is about to end: no coroutine of ours runs from then on."""
        self._process = process
        self._forks = process.forks
        self._inbox: deque[Callable[[], None]] = deque()
        # A call is in one of these two sets; whoever takes it out of ``_posted`` decides about it.
        self._posted: set[Call[Any]] = set()
        self._running: set[Call[Any]] = set()
        self._guests: dict[Guest, Callable[[], Awaitable[None]]] = {}
        self._exiting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ident: int | None = None
        # In two steps, because ``Thread.start`` waits on a condition: where no signal can strike.
        _thread.start_new_thread(self._launch, ())

    # Called in any thread:

    @property
    def usable(self) -> bool:
        """Whether it takes calls: not in a forked child, not at exit, not after its end."""
        return not (self._exiting or self.ended.is_open) and self._forks == self._process.forks

    def admit(self, guest: Guest, aclose: Callable[[], Awaitable[None]]) -> None:
        """Live at least as long as this guest; ``aclose`` is run on the loop when it leaves."""
        self._guests[guest] = aclose

    def call(self, guest: Guest | None, start: Callable[[], Awaitable[_T]]) -> _T:
        """Run ``start()`` on the loop and wait for its result.

        Raises:
            PortalEndedError: the coroutine was not started, because the portal has ended.
            RuntimeError: this is the loop's own thread, or the client was closed meanwhile.
        """
        if threading.get_ident() == self._ident:
            raise RuntimeError(
                "a blocking client was called on the event-loop thread of the blocking clients "
                "(by an observer?), where it would wait for itself: hand the call to another thread"
            )
        call = Call(guest, start)
        try:
            self._posted.add(call)
            self._post(partial(self._begin, call))
            if self.usable or not self._withdraw(call):
                call.latch.wait()
            else:
                call.fail(PortalEndedError())
        except BaseException:
            self._give_up(call)
            raise
        return call.outcome()

    def close_guest(self, guest: Guest) -> None:
        """Cancel the guest's calls, close its connections and wait for that (at most ``GRACE`` seconds)."""
        with contextlib.suppress(PortalEndedError):  # then there is nothing left to close
            self.call(None, partial(self._part_with, guest))

    def dismiss(self, guest: Guest) -> bool:
        """Do as ``close_guest``, without waiting: safe in a finaliser, whatever it interrupts.

        Return whether the guest was here.
        """
        here = self.usable and guest in self._guests
        if here:
            self._post(partial(self._dismiss, guest))
        return here

    def exit(self) -> None:
        """Cancel everything because the interpreter exits; give it a moment to clear up."""
        self._exiting = True
        self._post(self._dismiss_all)
        self.ended.wait(EXIT_GRACE)

    def _post(self, message: Callable[[], None]) -> None:
        self._inbox.append(message)
        loop = self._loop
        if loop is not None:  # else it looks into the inbox when it starts
            with contextlib.suppress(RuntimeError):  # closed meanwhile: ``_live`` settles what is left
                loop.call_soon_threadsafe(self._ring)

    def _withdraw(self, call: Call[Any]) -> bool:
        try:
            self._posted.remove(call)
        except KeyError:
            return False
        return True

    def _give_up(self, call: Call[Any]) -> None:
        cancel = partial(self._cancel, call)
        try:
            self._post(cancel)
        except BaseException:  # the next Ctrl-C: see to it that the coroutine ends, and do not wait
            self._post(cancel)
            raise
        if not self.ended.is_open:
            call.latch.wait(GRACE)

    def _launch(self) -> None:
        try:
            threading.Thread(target=self._live, name="imagesdk", daemon=True).start()
        except RuntimeError as cause:
            self._end_all(cause)

    def _end_all(self, cause: BaseException | None) -> None:
        def broken() -> RuntimeError:
            error = RuntimeError("the event loop of the blocking clients broke down during the call")
            error.__cause__ = cause
            return error

        self._process.retire(self)
        self.ended.open()
        self._settle_all(self._running, broken)
        # What was not begun goes to the next portal, unless that would end as this one did.
        self._settle_all(self._posted, broken if self._loop is None else PortalEndedError)

    def _settle_all(self, calls: set[Call[Any]], error: Callable[[], BaseException]) -> None:
        while calls:
            with contextlib.suppress(KeyError):  # its thread took it out itself
                call = calls.pop()
                if not self._exiting:  # else the waiting thread would wake only to die with a traceback
                    call.fail(error())

    # Called on the loop's thread:

    def _live(self) -> None:
        self._ident = threading.get_ident()
        cause: BaseException | None = None
        try:
            anyio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - told to those who wait; nobody else could use it
            cause = error
        self._end_all(cause)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(LookupThreads())
        async with anyio.create_task_group() as self._tasks:
            while True:
                self._bell = anyio.Event()
                self._loop = loop
                while self._inbox:
                    self._inbox.popleft()()
                if self._process.retire(self, unless=self._guests):
                    return
                await self._bell.wait()

    def host(self, guest: Guest, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task of a guest for which no thread waits."""
        task = Call(guest, run)
        self._running.add(task)
        task.begin(self._tasks, self._end)

    def _ring(self) -> None:
        self._bell.set()

    def _begin(self, call: Call[Any]) -> None:
        if not self._withdraw(call):
            return
        if call.guest is None or call.guest in self._guests:
            self._running.add(call)
            call.begin(self._tasks, self._end)
        else:
            call.fail(closed())

    def _cancel(self, call: Call[Any]) -> None:
        self._posted.discard(call)
        call.cancel()

    def _end(self, call: Call[Any]) -> None:
        self._running.discard(call)
        if not self._exiting:
            call.latch.open()

    def _dismiss(self, guest: Guest) -> None:
        self._tasks.start_soon(self._part_quietly, guest)

    def _dismiss_all(self) -> None:
        for guest in list(self._guests):
            self._dismiss(guest)

    async def _part_quietly(self, guest: Guest) -> None:
        try:
            await self._part_with(guest)
        except Exception:  # noqa: BLE001 - nobody is there to be told
            _log.debug("closing an abandoned client failed", exc_info=True)

    async def _part_with(self, guest: Guest) -> None:
        try:
            with anyio.move_on_after(GRACE):
                calls = [call for call in self._running if call.guest is guest]
                for call in calls:
                    call.cancel(RuntimeError("the client was closed during the call"))
                for call in calls:
                    if call.over is not None:
                        await call.over.wait()
                aclose = self._guests.get(guest)
                if aclose is not None:
                    await aclose()
        finally:
            self._guests.pop(guest, None)
            self._ring()


class _Process:
    """What this process has: the portal that takes calls, and what a fork or the exit does to it."""

    def __init__(self) -> None:
        self.forks = 0
        self._lock = threading.Lock()
        self._portal: Portal | None = None
        self._inherited: list[Portal] = []
        self._hooked = False
        self._exited = False

    def enter(self, guest: Guest, aclose: Callable[[], Awaitable[None]]) -> Portal:
        """Let a guest into the portal, starting one if need be."""
        if self._exited and threading.current_thread() is not threading.main_thread():
            Latch().wait()  # a daemon thread: it would only spoil the end with a traceback
        with self._lock:
            if not self._hooked:
                atexit.register(self.exit)
                self._hooked = True
            if self._portal is None or not self._portal.usable:
                # If a Ctrl-C strikes before the guest is in, the new portal finds nobody and ends by itself.
                self._portal = Portal(self)
            self._portal.admit(guest, aclose)
            return self._portal

    def dismiss(self, guest: Guest) -> bool:
        """See a guest off that was forgotten; return whether it was here and the program goes on."""
        portal = self._portal
        return portal is not None and portal.dismiss(guest) and not self._exited

    def retire(self, portal: Portal, *, unless: dict[Guest, Any] | None = None) -> bool:
        """Let nobody else into this portal, unless it has guests; say whether it has ended."""
        with self._lock:
            if unless:
                return False
            if self._portal is portal:
                self._portal = None
            return True

    def forget(self) -> None:
        """In the child of a fork, where there is no such thread; the lock's owner may be missing, too."""
        self.forks += 1
        self._lock = threading.Lock()
        if self._portal is not None:
            # Kept for good: to finalise its tasks and sockets here would act on what belongs to the parent.
            self._inherited.append(self._portal)
            self._portal = None

    def exit(self) -> None:
        """At exit: only daemon threads are left, and calls that were given up."""
        self._exited = True
        portal = self._portal
        if portal is not None:
            portal.exit()


_process = _Process()
enter = _process.enter
dismiss = _process.dismiss

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forget)


def closed() -> RuntimeError:
    """What a call of a closed client raises."""
    return RuntimeError("this client is closed: make a new one")


def forks() -> int:
    """How many forks lie between the import of this module and this process.

    What was made at another count and is bound to a loop or its sockets belongs to another process.
    """
    return _process.forks

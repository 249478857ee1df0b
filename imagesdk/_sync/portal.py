"""The event-loop thread behind the blocking clients, and the way of a call into it and back.

One ``Portal`` is one thread with one asyncio loop. A process has at most one portal that takes calls; ``_Process``
ensures that. The thread starts with the first blocking call and ends when the last client leaves.

Rules:

- Any exception in a waiting thread, at any instant (Ctrl-C), ends its call and cancels the coroutine.
- Other threads only append to the inbox and wake the loop; one task on the loop takes every decision.
- Nothing here uses ``threading.Condition``, or events, queues and futures built on it: signals can break them.
"""

import _thread
import asyncio
import atexit
import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import anyio

from imagesdk._runtime.threads import lacking, nothing_sent
from imagesdk._sync.calls import Call, ClientId
from imagesdk._sync.dns_threads import LookupThreads
from imagesdk._sync.latch import Latch
from imagesdk.errors import APIConnectionError

# Otherwise anyio imports it on the loop's thread, at the first call. A fork at that moment would leave the child with
# a module lock that no thread releases.
with contextlib.suppress(ImportError):
    import_module("anyio._backends._asyncio")

_T = TypeVar("_T")
_log = logging.getLogger("imagesdk")

GRACE = 5.0
"""Seconds that an interrupted thread waits for its coroutine, and a closing client for its connections."""

EXIT_GRACE = 1.0
"""Seconds that the exit of the interpreter waits for cancelled coroutines."""


class PortalEndedError(Exception):
    """The portal has ended and did not start this call; a new portal can."""


class Portal:
    """One thread with one event loop, started by the constructor."""

    def __init__(self, process: "_Process") -> None:
        self.ended = Latch()
        """Opens when the thread is about to end: no coroutine runs from then on."""
        self._process = process
        self._forks = process.forks
        self._inbox: deque[Callable[[], None]] = deque()
        # A call is in one of these two sets. Whichever side removes it from ``_posted`` decides about it.
        self._posted: set[Call[Any]] = set()
        self._running: set[Call[Any]] = set()
        self._clients: dict[ClientId, Callable[[], Awaitable[None]]] = {}
        self._exiting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ident: int | None = None
        # ``Thread.start`` waits on a condition, so it runs in a thread that receives no signals.
        with nothing_sent("for the blocking clients"):
            _thread.start_new_thread(self._launch, ())

    # Called in any thread:

    @property
    def usable(self) -> bool:
        """Whether the portal takes calls: not in a forked child, not at exit, not after its end."""
        return not (self._exiting or self.ended.is_open) and self._forks == self._process.forks

    def add_client(self, client: ClientId, aclose: Callable[[], Awaitable[None]]) -> None:
        """Keep the portal alive until this client leaves; ``aclose`` runs on the loop when it does."""
        self._clients[client] = aclose

    def call(self, client: ClientId | None, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run ``function()`` on the loop and wait for its result."""
        if threading.get_ident() == self._ident:
            raise RuntimeError(
                "a blocking client was called on the event-loop thread of the blocking clients "
                "(by an observer?), where it would wait for itself: hand the call to another thread"
            )
        call = Call(client, function)
        try:
            self._posted.add(call)
            self.post(partial(self._start, call))
            if self.usable or not self._withdraw(call):
                call.latch.wait()
            else:
                call.fail(PortalEndedError())
        except BaseException:
            self._abandon(call)
            raise
        return call.take()

    def close_client(self, client: ClientId) -> None:
        """Cancel the client's calls, close its connections and wait for that (at most ``GRACE`` seconds)."""
        with contextlib.suppress(PortalEndedError):  # then nothing is left to close
            self.call(None, partial(self._remove_client, client))

    def remove_client(self, client: ClientId) -> bool:
        """Start ``close_client`` and return whether the client was registered. Safe in a finaliser."""
        registered = self.usable and client in self._clients
        if registered:
            self.post(partial(self._start_removal, client))
        return registered

    def exit(self) -> None:
        """Cancel all calls because the interpreter exits, and wait a moment for their cleanup."""
        self._exiting = True
        self.post(self._start_removals)
        self.ended.wait(EXIT_GRACE)

    def post(self, message: Callable[[], None]) -> None:
        """Run ``message()`` on the loop soon. Safe in a finaliser."""
        self._inbox.append(message)
        if (loop := self._loop) is not None:  # otherwise the loop reads the inbox when it starts
            with contextlib.suppress(RuntimeError):  # closed meanwhile: ``_end_all`` fails the calls
                loop.call_soon_threadsafe(self._wake)

    def _withdraw(self, call: Call[Any]) -> bool:
        with contextlib.suppress(KeyError):
            self._posted.remove(call)
            return True
        return False

    def _abandon(self, call: Call[Any]) -> None:
        cancel = partial(self._cancel, call)
        try:
            self.post(cancel)
        except BaseException:  # the next Ctrl-C: cancel the coroutine all the same, and do not wait
            self.post(cancel)
            raise
        if not self.ended.is_open:
            call.latch.wait(GRACE)

    def _launch(self) -> None:
        try:
            threading.Thread(target=self._run_loop, name="imagesdk", daemon=True).start()
        except RuntimeError as error:
            self._end_all(error)

    def _end_all(self, cause: BaseException | None) -> None:
        def broken() -> Exception:
            if self._loop is None and cause is not None and (lack := lacking(cause)):
                return APIConnectionError(
                    f"This machine has {lack} for the blocking clients. Nothing was sent."
                )
            error = RuntimeError("the event loop of the blocking clients broke down during the call")
            error.__cause__ = cause
            return error

        self._process.retire(self)
        self.ended.open()
        self._fail_all(self._running, broken)
        # The next portal starts the calls that this one did not, unless it would end in the same way.
        self._fail_all(self._posted, broken if self._loop is None else PortalEndedError)

    def _fail_all(self, calls: set[Call[Any]], error: Callable[[], BaseException]) -> None:
        while calls:
            with contextlib.suppress(KeyError):  # its own thread removed it
                call = calls.pop()
                if not self._exiting:  # at exit, the waiting thread would only print a traceback
                    call.fail(error())

    # Called on the loop's thread:

    def _run_loop(self) -> None:
        self._ident = threading.get_ident()
        try:
            anyio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - the cause of the errors of the waiting threads
            self._end_all(error)
        else:
            self._end_all(None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(LookupThreads())
        async with anyio.create_task_group() as self._tasks:
            while True:
                self._wakeup = anyio.Event()
                self._loop = loop
                while self._inbox:
                    self._inbox.popleft()()
                if self._process.retire(self, unless=self._clients):
                    return
                await self._wakeup.wait()

    def start_task(self, client: ClientId, function: Callable[[], Awaitable[None]]) -> None:
        """Start a task of a client for which no thread waits."""
        task = Call(client, function)
        self._running.add(task)
        task.start(self._tasks, self._end)

    def _wake(self) -> None:
        self._wakeup.set()

    def _start(self, call: Call[Any]) -> None:
        if not self._withdraw(call):
            return
        if call.client is None or call.client in self._clients:
            self._running.add(call)
            call.start(self._tasks, self._end)
        else:
            call.fail(closed_error())

    def _cancel(self, call: Call[Any]) -> None:
        self._posted.discard(call)
        call.cancel()

    def _end(self, call: Call[Any]) -> None:
        self._running.discard(call)
        if not self._exiting:
            call.latch.open()

    def _start_removal(self, client: ClientId) -> None:
        self._tasks.start_soon(self._remove_quietly, client)

    def _start_removals(self) -> None:
        for client in list(self._clients):
            self._start_removal(client)

    async def _remove_quietly(self, client: ClientId) -> None:
        try:
            await self._remove_client(client)
        except Exception:  # noqa: BLE001 - no caller waits for it
            _log.debug("closing an abandoned client failed", exc_info=True)

    async def _remove_client(self, client: ClientId) -> None:
        try:
            with anyio.move_on_after(GRACE):
                calls = [call for call in self._running if call.client is client]
                for call in calls:
                    call.cancel(RuntimeError("the client was closed during the call"))
                for call in calls:
                    if call.finished is not None:
                        await call.finished.wait()
                if aclose := self._clients.get(client):
                    await aclose()
        finally:
            self._clients.pop(client, None)
            self._wake()


class _Process:
    """The portals of this process: which one takes calls, and the effects of a fork and of the exit."""

    def __init__(self) -> None:
        self.forks = 0
        self._lock = threading.Lock()
        self._portal: Portal | None = None
        self._inherited: list[Portal] = []
        self._registered = False
        self._exited = False

    def join(self, client: ClientId, aclose: Callable[[], Awaitable[None]]) -> Portal:
        """Add a client to the portal, and start a portal if there is none."""
        if self._exited and (thread := threading.current_thread()) is not threading.main_thread():
            if thread.daemon:
                Latch().wait()  # a call could only end in a traceback at exit
            raise exiting_error()
        with self._lock:
            if not self._registered:
                atexit.register(self.exit)
                self._registered = True
            if self._portal is None or not self._portal.usable:
                # If a Ctrl-C strikes before the client is added, the new portal has no client and ends by itself.
                try:
                    self._portal = Portal(self)
                except RuntimeError as error:
                    raise (exiting_error() if self._exited else error) from error.__cause__
            self._portal.add_client(client, aclose)
            return self._portal

    def remove_client(self, client: ClientId) -> bool:
        """Remove a client that was garbage-collected; return whether it was registered before the exit."""
        portal = self._portal
        return portal is not None and portal.remove_client(client) and not self._exited

    def retire(self, portal: Portal, *, unless: dict[ClientId, Any] | None = None) -> bool:
        """Add no further client to this portal, unless it has clients; return whether it is retired."""
        with self._lock:
            if unless:
                return False
            if self._portal is portal:
                self._portal = None
            return True

    def after_fork(self) -> None:
        """Drop the parent's portal in a forked child, where its thread and perhaps the lock's owner are missing."""
        self.forks += 1
        self._lock = threading.Lock()
        if self._portal is not None:
            # Kept for good: to finalise its tasks and sockets here would act on those of the parent.
            self._inherited.append(self._portal)
            self._portal = None

    def exit(self) -> None:
        """End the portal at exit, when only daemon threads and abandoned calls are left. Ctrl-C ends the wait."""
        with contextlib.suppress(KeyboardInterrupt):
            self._exited = True
            if (portal := self._portal) is not None:
                portal.exit()


_process = _Process()
join = _process.join
remove_client = _process.remove_client

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def closed_error() -> RuntimeError:
    """Return the error of a call on a closed client."""
    return RuntimeError("this client is closed: make a new one")


def exiting_error() -> RuntimeError:
    """Return the error of a call for which no event loop can be had any more."""
    return RuntimeError("the interpreter is exiting, and no call can be made any more: make it before")


def finalise(work: Callable[[], object]) -> None:
    """Run ``work()`` in a finaliser. A Ctrl-C that strikes there is raised after it: Python would print and drop it."""
    try:
        work()
    except KeyboardInterrupt:
        work()
        with contextlib.suppress(RuntimeError):  # the interpreter is exiting
            _thread.start_new_thread(_interrupt_soon, ())


def _interrupt_soon() -> None:
    time.sleep(0.001)  # a signal wakes a thread that waits, but not one that is about to
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def forks() -> int:
    """Return the number of forks since the import. An object made at another count belongs to another process."""
    return _process.forks

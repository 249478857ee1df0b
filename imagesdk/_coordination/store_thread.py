"""The thread that works on a store: one for each process and store, for calls on any event loop or none.

The clients of both stores block. So asyncio, trio and blocking callers are served alike, none of them waits for a slow
store, and calls that end together share one operation.
"""

from __future__ import annotations

import atexit
import heapq
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

import anyio

from imagesdk._coordination.store import DocumentStore, Notice, OnNotice, StoreUnavailable
from imagesdk._coordination.stores import open_store
from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk.errors import CoordinationError
from imagesdk.policies import SharedStore

T = TypeVar("T")

_logger = logging.getLogger("imagesdk")
_IDLE_SECONDS = 10.0
"""Time without a task after which the thread ends."""
_EXIT_SECONDS = 2.0
"""How long the exit of the process waits for the last writes."""


class StoreThread:
    """Runs tasks on one store, in the order of their times."""

    def __init__(self, shared: SharedStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.shared = shared
        self.owner = secrets.token_hex(6)
        """Name of this process among those that use the store."""
        self.store: DocumentStore = open_store(shared)
        """Only tasks may use it."""
        self._clock = clock
        self._condition = threading.Condition()
        self._tasks: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._watchers: dict[str, OnNotice] = {}
        self._last_tasks: dict[str, Callable[[], object]] = {}
        self._polled: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_ending = False

    def call_at(self, when: float, task: Callable[[], object]) -> None:
        """Run ``task`` on the thread, at a time of the clock. What it raises is logged."""
        with self._condition:
            heapq.heappush(self._tasks, (when, next(self._numbers), task))
            if self._thread is None and not self._is_ending:
                self._thread = threading.Thread(target=self._run, name="imagesdk-store", daemon=True)
                self._thread.start()
            self._condition.notify()

    def call_soon(self, task: Callable[[], object]) -> None:
        """Run ``task`` on the thread."""
        self.call_at(self._clock(), task)

    async def run(self, work: Callable[[DocumentStore], T]) -> T:
        """Call ``work`` with the store on the thread, and return or raise what it does.

        Work that has begun is finished even if the caller is cancelled.
        """
        loop, done = running_loop(), anyio.Event()
        results: list[T] = []
        errors: list[Exception] = []

        def task() -> None:
            try:
                results.append(work(self.store))
            except Exception as error:  # noqa: BLE001 - raised in the caller
                errors.append(error)
            call_soon(loop, done.set)

        self.call_soon(task)
        await done.wait()
        if errors:
            raise errors[0]
        return results[0]

    def watch(self, key: str, on_notice: OnNotice, *, at_exit: Callable[[], object] | None = None) -> None:
        """Call ``on_notice`` on the thread for notices about a document, and ``at_exit`` before the process ends."""
        with self._condition:
            self._watchers[key] = on_notice
            if at_exit is not None:
                self._last_tasks[key] = at_exit
        self.call_soon(self._listen)

    def poll(self, key: str, *, wanted: bool) -> None:
        """Ask for notices about a document regularly, where the store does not send them, or no longer."""
        if wanted:
            self._polled.add(key)
        else:
            self._polled.discard(key)

    def unwatch(self, key: str) -> None:
        """Ignore notices about a document."""
        with self._condition:
            self._polled.discard(key)
            self._watchers.pop(key, None)
            self._last_tasks.pop(key, None)

    def end(self, seconds: float) -> None:
        """Run the last tasks and end the thread, waiting at most so long."""
        with self._condition:
            thread, self._is_ending = self._thread, True
            self._condition.notify()
        if thread is not None:
            thread.join(seconds)

    def _listen(self) -> None:
        self.store.listen(self.owner, lambda notice: self.call_soon(lambda: self._notify(notice)))

    def _notify(self, notice: Notice) -> None:
        for key, watcher in list(self._watchers.items()):
            if notice.key in {key, ""}:
                watcher(notice)

    def _run(self) -> None:
        poll_seconds, polls = self.store.poll_seconds, False
        if self._watchers:
            self._do(self._listen)
        while True:
            with self._condition:
                now = self._clock()
                due: list[Callable[[], object]] = []
                while self._tasks and self._tasks[0][0] <= now:
                    due.append(heapq.heappop(self._tasks)[2])
                if not due:
                    if self._is_ending:
                        break
                    polls = poll_seconds is not None and bool(self._polled)
                    times = [self._tasks[0][0] - now] if self._tasks else []
                    times += [poll_seconds] if polls and poll_seconds is not None else []
                    is_idle = not times
                    if (
                        not self._condition.wait(min(times, default=_IDLE_SECONDS))
                        and is_idle
                        and not self._tasks
                    ):
                        self._thread = None
                        self.store.close()
                        return
            for task in due:
                self._do(task)
            if not due and polls:
                self._do(self._poll)
        for task in list(self._last_tasks.values()):
            self._do(task)
        self.store.close()

    def _poll(self) -> None:
        try:
            for key in self.store.notices(self.owner):
                self._notify(Notice(key, None))
        except (StoreUnavailable, CoordinationError) as error:
            _logger.debug("the shared store gives no notices: %s", error)

    def _do(self, task: Callable[[], object]) -> None:
        try:
            task()
        except Exception:
            _logger.exception("a task for the shared store %s failed", self.shared.name)


class StoreThreads:
    """The threads of this process, by store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[SharedStore, StoreThread] = {}
        self._of_parent: list[
            dict[SharedStore, StoreThread]
        ] = []  # never closed: the parent uses the connections
        self._is_registered = False

    def get(self, shared: SharedStore) -> StoreThread:
        """Return the thread for a store.

        Raises:
            ConfigurationError: If the URL cannot be used.
        """
        with self._lock:
            if shared not in self._threads:
                self._threads[shared] = StoreThread(shared)
            if not self._is_registered:
                self._is_registered = True
                atexit.register(self.end)
            return self._threads[shared]

    def end(self) -> None:
        """Write what is left, at the exit of the process."""
        deadline = time.monotonic() + _EXIT_SECONDS
        for thread in list(self._threads.values()):
            thread.end(max(0.0, deadline - time.monotonic()))

    def after_fork(self) -> None:
        """Start anew in a child process, as another owner."""
        self._lock = threading.Lock()
        self._of_parent.append(self._threads)
        self._threads = {}


PROCESS_THREADS: Final = StoreThreads()
"""The threads that all clients of the process share."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS_THREADS.after_fork)

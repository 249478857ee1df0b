"""Threads for host name lookups on the portal's loop: one short-lived daemon thread per lookup.

asyncio runs ``getaddrinfo`` in a thread pool that the interpreter joins before it exits, and that accepts no work
from then on. With it, a hanging resolver would delay the exit. Also, a thread that outlives the main thread could
not open connections any more. Nothing else in this package uses the loop's thread pool.
Rule: no lookup outlives the process, and none delays its exit.
"""

import _thread
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LookupThreads(ThreadPoolExecutor):
    """An executor that runs each function in a new daemon thread and never waits for one."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Start ``fn(*args, **kwargs)`` at once in a new thread."""
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the future raises it where its result is awaited
                future.set_exception(error)

        _thread.start_new_thread(work, ())
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: there is no pool to shut down."""

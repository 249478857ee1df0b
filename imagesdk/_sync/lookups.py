"""Where the portal's loop resolves host names: one short-lived daemon thread for each lookup.

asyncio sends ``getaddrinfo`` to a thread pool that the interpreter joins before it exits and that takes no work
from then on. So a resolver that hangs would hold up the exit, and a thread that still works after the main
thread has ended could not open a connection any more. Nothing else of ours uses the pool.
Rule: no lookup outlives the process and none delays its end.
"""

import _thread
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LookupThreads(ThreadPoolExecutor):
    """An executor that gives every piece of work a daemon thread of its own and never waits for any."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Start ``fn(*args, **kwargs)`` at once in a new thread."""
        future: Future[_T] = Future()
        _thread.start_new_thread(_work, (future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: there is nothing kept and nothing to wait for."""


def _work(
    future: "Future[Any]", fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - a future carries whatever was raised to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)

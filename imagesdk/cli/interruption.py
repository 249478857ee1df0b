"""Signals that end a batch, and the time that its jobs get.

===============================  ========================================================================
event                            effect
===============================  ========================================================================
first SIGINT (Ctrl-C)            no further job starts; the jobs that were sent finish
first SIGTERM or SIGHUP          the same, for ``--grace`` seconds at most
end of that time, second signal  the jobs in flight are cancelled
===============================  ========================================================================

A signal that the parent process ignores, as ``nohup`` does, stays ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Protocol

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_WAITING: Final = "\nwaiting for the jobs that were sent{limit}; {again} to abort them\n"
"""It starts with a line break because a terminal shows ``^C`` first."""


class Interrupted(KeyboardInterrupt):
    """A signal that cancels the jobs in flight."""


class Stoppable(Protocol):
    """A run that can be stopped."""

    def stop(self) -> None:
        """Start no further job."""
        ...


class Interruption:
    """The signals that arrived so far. Created by :func:`handle_signals`."""

    def __init__(self, grace: float, *, quiet: bool) -> None:
        self.signal: int | None = None
        """The number of the first signal; ``None`` if none arrived."""
        self._grace = grace
        self._quiet = quiet
        self._run: Stoppable | None = None
        self._timed = False
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """The exit code for the first signal: 128 and its number, as in a shell."""
        return 128 + (self.signal or 0)

    def watch(self, run: Stoppable) -> None:
        """Stop ``run`` at the first signal."""
        self._run = run

    def handle(self, number: int, _: FrameType | None = None) -> None:
        """Stop the run, or cancel its jobs. Called by the interpreter in the main thread."""
        if self.signal is not None or self._run is None:
            self.signal = self.signal or number
            raise Interrupted
        self.signal = number
        self._run.stop()
        if number == signal.SIGINT:
            self._announce("", "press Ctrl-C again")
            return
        self._announce(f", for {self._grace:g} s at most", "send a second signal")
        if self._grace <= 0 or not hasattr(signal, "setitimer"):
            raise Interrupted
        self._timed = True
        self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self.handle)
        signal.setitimer(signal.ITIMER_REAL, self._grace)

    def _announce(self, limit: str, again: str) -> None:
        """Write to stderr. The signal may have interrupted ``print()``, and the terminal may be gone."""
        if not self._quiet:
            with suppress(OSError):
                os.write(2, _WAITING.format(limit=limit, again=again).encode())

    def install(self) -> None:
        """Handle the signals that are not ignored."""
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self.handle)

    def uninstall(self) -> None:
        """Restore the handlers that were there before."""
        if self._timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def handle_signals(grace: float, *, quiet: bool = False) -> Generator[Interruption, None, None]:
    """Handle signals until the block ends. Outside the main thread nothing is handled."""
    interruption = Interruption(grace, quiet=quiet)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    try:
        interruption.install()
        yield interruption
    finally:
        interruption.uninstall()

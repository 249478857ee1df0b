"""Circuit breaker of a run: when it pauses, probes, continues and ends. Pure: the caller passes the time.

Each failed attempt has one meaning:

=========  ======================================================================  ==================================
meaning    failures                                                                pauses the run
=========  ======================================================================  ==================================
away       not sent: no connection                                                 :data:`IN_A_ROW` without an answer
lost       sent without a response, or 502, 503, 504, 52x                          the same, of two jobs
broken     another 5xx, or a success that cannot be read                           the same, of :data:`IN_A_ROW` jobs
fatal      401, 403, quota used up; a model that does not exist, if no job         at once
           has succeeded before
answered   any other                                                               never
=========  ======================================================================  ==================================

A job whose attempts are all used up without a connection also pauses the run. A rate limit that never has room, so that a
call stops waiting for it (``max_limit_wait``), ends the run at once. Two jobs, because one bad job must not pause
all others.

While the run is paused, no attempt starts except one probe at a time:

=================================================  ====================================================================
event                                              effect
=================================================  ====================================================================
a success or an answer                             the run continues; after a fatal answer only that of the probe
the probe fails                                    another job probes after a longer pause, :data:`FIRST_PAUSE` to
                                                   :data:`LONGEST_PAUSE` seconds
a fatal answer to the probe, the second in a row   the run ends with that error
``give_up_after`` seconds since the pause began    the run ends with ``RunStoppedError``
=================================================  ====================================================================
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import define, field

from imagesdk import errors
from imagesdk._protocol.retry import Failure
from imagesdk.remedies import Remedy

Meaning: TypeAlias = Literal["away", "lost", "broken", "fatal", "answered"]

IN_A_ROW = 5
"""Failures without an answer in between that pause a run."""
FIRST_PAUSE = 1.0
"""Seconds before the first probe. The pause doubles with each failed probe."""
LONGEST_PAUSE = 30.0
"""Maximum pause between two probes, in seconds."""

_GATEWAY = frozenset({502, 503, 504, *range(520, 531)})
_FATAL = (errors.AuthenticationError, errors.PermissionDeniedError, errors.QuotaExceededError)
_ENDLESS_LIMIT = "raise_limit_wait"
"""Kind of the remedy of a call that has waited for ``max_limit_wait``."""
_JOBS_NEEDED = {"away": 1, "lost": 2, "broken": IN_A_ROW}


def meaning(error: errors.APIError) -> Meaning:
    """Return what a failed attempt says about the server."""
    if isinstance(error, _FATAL) or is_missing_model(error):
        return "fatal"
    if isinstance(error, errors.APIStatusError):
        if error.status_code in _GATEWAY:
            return "lost"
        if error.status_code == 402:
            return "fatal"
        return "broken" if error.status_code >= 500 else "answered"
    if isinstance(error, errors.OutcomeUnknownError):
        return "lost"
    return "away" if isinstance(error, errors.APIConnectionError) else "broken"


def is_missing_model(error: errors.APIError) -> bool:
    """Return whether the server has no such model or endpoint. Other jobs may name other models."""
    missing = isinstance(error, errors.NotFoundError) and error.param in {None, "", "model"}
    return missing or (isinstance(error, errors.APIStatusError) and error.code == "model_not_found")


@define(eq=False)
class Breaker:
    """State of the breaker. Jobs are named by their places; a job has at most one attempt at a time."""

    give_up_after: float | None = 900.0
    """Seconds without a success after which a paused run ends; ``None`` for no end."""
    stop_on_fatal: bool = True
    """Whether a confirmed fatal answer ends the run."""
    error: Exception | None = field(default=None, init=False)
    """Error that ended the run."""
    probe: int | None = field(default=None, init=False)
    """Job that probes now."""
    reason: errors.APIError | None = field(default=None, init=False)
    """Failure that paused the run, or its latest one; ``None`` while the run is not paused."""
    _paused_at: float = field(default=0.0, init=False)
    _probe_at: float = field(default=0.0, init=False)
    _pause: float = field(default=0.0, init=False)
    _suspected: bool = field(default=False, init=False)
    """Whether a fatal answer waits for its confirmation."""
    _succeeded: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)
    _failed_jobs: set[int] = field(factory=set[int], init=False)
    _waiting: dict[int, None] = field(factory=dict[int, None], init=False)
    """Jobs that wait for the end of the pause, the longest wait first."""
    _probed: set[int] = field(factory=set[int], init=False)
    """Jobs that have probed in this pause."""

    @property
    def paused(self) -> bool:
        """Whether only a probe may start."""
        return self.reason is not None

    def admits(self, job: int) -> bool:
        """Return whether an attempt of the job may start that :meth:`enter` has let in before."""
        return self.error is None and (not self.paused or self.probe == job)

    def enter(self, job: int, now: float) -> float | None:
        """Let a job in and return ``None``, or return the seconds until it may ask again, at most infinity."""
        if self.error is None and not self.paused:
            self._waiting.pop(job, None)
            return None
        self._waiting.setdefault(job)
        if self.reason is None or self.error is not None:
            return float("inf")
        end = self._end()
        if end is not None and now >= end:
            seconds = f"{now - self._paused_at:.0f} s"
            summary = (
                f"No job succeeded in {seconds}, so the run ended. The last failure: {self.reason.summary}"
            )
            self.error = _stopped(summary, self.reason)
        elif self.probe is None and now >= self._probe_at and job == self._next():
            self.probe = job
            self._probed.add(job)
            del self._waiting[job]
            return None
        until = end if self.probe is not None or now >= self._probe_at else self._probe_at
        until = float("inf") if until is None else until if end is None else min(until, end)
        return max(0.0, until - now)

    def leave(self, job: int, now: float) -> None:
        """Forget a job that has ended. If it was a probe without a result, another one follows."""
        self._waiting.pop(job, None)
        if self.probe == job:
            self._end_probe(now)

    def succeeded(self, job: int) -> None:
        """Record an attempt that succeeded."""
        self._succeeded = True
        if not self._suspected or self.probe == job:
            self._resume()

    def failed(self, job: int, failure: Failure, now: float) -> bool:
        """Record a failed attempt. Return whether the call may make another attempt by itself."""
        error, what = failure.error, meaning(failure.error)
        if what == "fatal" and (not self.stop_on_fatal or (self._succeeded and is_missing_model(error))):
            what = "answered"
        if what == "fatal":
            self._record_fatal(job, error, now)
        elif what == "answered":
            limited = isinstance(error, errors.RateLimitError)
            if not self._suspected or (self.probe == job and not limited):
                self._resume()
            return True
        elif self.paused:
            if self.probe == job:
                self.reason = error
                self._end_probe(now)
        else:
            self._failures += 1
            self._failed_jobs.add(job)
            if self._failures >= IN_A_ROW and len(self._failed_jobs) >= _JOBS_NEEDED[what]:
                self._pause_run(error, now, FIRST_PAUSE)
        return not self.paused

    def gave_up(self, error: errors.APIError, now: float) -> None:
        """Record that a job has used up its attempts, or its patience with a rate limit."""
        if isinstance(error, errors.LimitWaitError):
            if any(remedy.kind == _ENDLESS_LIMIT for remedy in error.remedies):
                self.error = self.error or _stopped(f"{error.summary} So the run ended.", error)
        elif not self.paused and meaning(error) == "away":
            self._pause_run(error, now, FIRST_PAUSE)

    def _record_fatal(self, job: int, error: errors.APIError, now: float) -> None:
        if self.paused and self.probe != job:
            return  # sent before the run paused
        if self._suspected:
            self.error = error
            return
        self._pause_run(error, now, 0.0)
        self._suspected = True

    def _pause_run(self, error: errors.APIError, now: float, pause: float) -> None:
        if not self.paused:
            self._paused_at = now
        self.reason, self._pause, self._probe_at, self.probe = error, pause, now + pause, None

    def _end_probe(self, now: float) -> None:
        self.probe = None
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._probe_at = now + self._pause

    def _resume(self) -> None:
        self.reason = self.probe = None
        self._suspected = False
        self._failures = 0
        self._failed_jobs.clear()
        self._probed.clear()

    def _next(self) -> int:
        """Return the job that probes next: one that has not probed in this pause, if there is any."""
        fresh = (job for job in self._waiting if job not in self._probed)
        return next(fresh, next(iter(self._waiting)))

    def _end(self) -> float | None:
        return None if self.give_up_after is None else self._paused_at + self.give_up_after


def _stopped(summary: str, error: errors.APIError) -> errors.RunStoppedError:
    remedies = (Remedy.RESUME_RUN, Remedy.RAISE_GIVE_UP_AFTER)
    return errors.RunStoppedError(summary, reason="server_away", last_error=error, remedies=remedies)

"""A warning before a model ends, and after: once for each model in a process, and only where its maker is asked."""

from __future__ import annotations

from datetime import UTC, date, datetime

from imagesdk import models
from imagesdk._protocol.hosts import Host
from imagesdk._runtime import callsite as _calling_line
from imagesdk.jobs import Job
from imagesdk.remedies import Remedy, worded

_warned: set[tuple[str | None, str | None]] = set()


class RetirementWarning(UserWarning):
    """The maker has shut down a model or an endpoint, or will do so soon. The text says when, and what to use instead.

    ``warnings.simplefilter("ignore", RetirementWarning)`` silences it; ``"error"`` makes an error of it, before
    anything is sent.
    """

    def __init__(self, summary: str, remedies: tuple[Remedy, ...] = ()) -> None:
        super().__init__(summary, remedies)
        self.summary = summary
        self.remedies = remedies

    def __str__(self) -> str:
        """Return what ends, and the remedies in the words of Python."""
        return worded(self.summary, self.remedies)


def warn_if_retired(job: Job, host: Host, *, today: date | None = None) -> None:
    """Warn where the model or the endpoint of a job ends, unless it was done before or another host is asked."""
    if not host.is_openai:
        return
    key = (job.endpoint if job.endpoint in models.RETIRED_ENDPOINTS else None, job.model)
    if key in _warned:
        return
    found = models.retirement_of(models.lookup(job.model), today or _today(), endpoint=job.endpoint)
    if found is not None:
        _calling_line.warn(RetirementWarning(*found))
        _warned.add(key)  # and not before: a filter that makes it an error does so each time


def _today() -> date:
    return datetime.now(UTC).date()


RetirementWarning.__module__ = "imagesdk"

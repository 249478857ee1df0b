"""Warnings about models and endpoints that OpenAI retires: once per model and process, for OpenAI only."""

from __future__ import annotations

from datetime import UTC, date, datetime

from imagesdk import models
from imagesdk._protocol.requests import RequestPlan
from imagesdk._runtime import callsite
from imagesdk.models.catalog import RETIRED_ENDPOINTS
from imagesdk.remedies import Remedy, worded

_warned: set[tuple[str | None, str | None]] = set()


class RetirementWarning(UserWarning):
    """OpenAI has shut down a model or an endpoint, or will do so soon. The text names the date and the replacement.

    ``warnings.simplefilter("ignore", RetirementWarning)`` silences the warning. ``"error"`` turns it into an error,
    which is raised before anything is sent.
    """

    def __init__(self, summary: str, remedies: tuple[Remedy, ...] = ()) -> None:
        super().__init__(summary, remedies)
        self.summary = summary
        self.remedies = remedies

    def __str__(self) -> str:
        """Return what ends, and the remedies in the words of Python."""
        return worded(self.summary, self.remedies)


def warn_if_retired(plan: RequestPlan, *, today: date | None = None) -> None:
    """Warn if OpenAI retires the model or the endpoint of a request, once per model and process."""
    endpoint, profile = plan.job.endpoint, plan.profile
    if endpoint not in RETIRED_ENDPOINTS and (profile is None or profile.shut_down is None):
        return
    if not plan.host.is_openai:
        return
    key = (endpoint if endpoint in RETIRED_ENDPOINTS else None, plan.job.model)
    if key in _warned:
        return
    retirement = models.retirement_of(profile, today or _today(), endpoint=endpoint)
    if retirement is not None:
        callsite.warn(RetirementWarning(*retirement))
        _warned.add(key)  # after the warning: a filter that turns it into an error does so for each call


def _today() -> date:
    return datetime.now(UTC).date()


RetirementWarning.__module__ = "imagesdk"

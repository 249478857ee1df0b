"""Warnings about models and endpoints that OpenAI retires: once per model and process, for OpenAI only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Final

from imagesdk import models
from imagesdk._protocol.requests import RequestPlan
from imagesdk._runtime import callsite
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models.catalog import RETIRED_ENDPOINTS

_ENDPOINTS: Final[Mapping[type[Job], str]] = {
    Generate: "generations",
    Edit: "edits",
    Variation: "variations",
}

_warned: set[tuple[str | None, str | None]] = set()


class RetirementWarning(UserWarning):
    """OpenAI has shut down a model or an endpoint, or will do so soon. The text names the date and the replacement.

    ``warnings.simplefilter("ignore", RetirementWarning)`` silences the warning. ``"error"`` turns it into an error,
    which is raised before anything is sent.
    """


def warn_if_retired(plan: RequestPlan, *, today: date | None = None) -> None:
    """Warn if OpenAI retires the model or the endpoint of a request, once per model and process."""
    if not plan.host.is_openai:
        return
    endpoint = _ENDPOINTS[type(plan.job)]
    key = (endpoint if endpoint in RETIRED_ENDPOINTS else None, plan.job.model)
    if key in _warned:
        return
    notice = models.retirement_notice(plan.profile, today or _today(), endpoint=endpoint)
    if notice is not None:
        callsite.warn(notice, RetirementWarning)
        _warned.add(key)  # after the warning: a filter that turns it into an error does so for each call


def _today() -> date:
    return datetime.now(UTC).date()


RetirementWarning.__module__ = "imagesdk"

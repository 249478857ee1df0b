"""What goes into a run and what comes out of it, as frozen data: the same for the async and the blocking client."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from decimal import Decimal
from typing import Literal, TypeAlias

from attrs import field, frozen

from imagesdk.jobs import Job, Variation
from imagesdk.policies import RateLimit
from imagesdk.types import ImagesResponse

__all__ = ["JobLike", "Jobs", "Labelled", "Outcome", "Progress", "Status"]

Status: TypeAlias = Literal["done", "refused", "failed", "unknown"]
"""How a job has ended.

- ``"done"``: its pictures are there.
- ``"refused"``: it cannot be done as it stands. Here or by the server, by a rule or the content filter. Not billed.
- ``"failed"``: it was not done, and another run may do it. Not billed, unless the error is a ``DownloadError``: then its
  pictures were made, and another run fetches them.
- ``"unknown"``: it was sent, and may have been done and billed, but the pictures did not come.
"""


@frozen
class Labelled:
    """A job with a name of yours, which its outcome and its files (``{id}``) have, too."""

    id: str
    """One line of up to 200 characters; in a run no two jobs have the same."""
    job: Job | str
    """A job, or the prompt of one."""


JobLike: TypeAlias = Job | str | Labelled
"""A job, the prompt of one, or either with a name."""
Jobs: TypeAlias = Iterable[JobLike] | AsyncIterable[JobLike]
"""What a run takes: read one by one as there is room, so that it may be longer than memory."""


@frozen
class Outcome:
    """How one job of a run has ended."""

    job: Job
    """As it was given; a prompt with the defaults of the run."""
    id: str
    """The name that it was given, or else one of ours, which is the same in every run of the same jobs."""
    place: int
    """Its place among the jobs, from 0."""
    status: Status
    response: ImagesResponse | None = None
    """The pictures; ``None`` unless it is done."""
    error: Exception | None = None
    """Why it is not done; ``None`` if it is. Of this package, or an ``OSError``."""
    cost: Decimal | None = None
    """What it cost in US dollars; ``None`` when that is not known. Of an unknown outcome, ``None``."""
    attempts: int = 0
    """How often it was sent in this run; 0 for one that was not."""
    resumed: bool = False
    """Whether this was found in the journal, from a run before."""

    @property
    def prompt(self) -> str | None:
        """The prompt of its job; ``None`` for a variation, which has none."""
        return None if isinstance(self.job, Variation) else self.job.prompt

    def unwrap(self) -> ImagesResponse:
        """Return the response, or raise the error.

        Raises:
            ImageSDKError: it is not done.
            OSError: a file could not be read or written.
        """
        if self.error is not None:
            raise self.error
        assert self.response is not None  # noqa: S101 - without an error there is one
        return self.response


@frozen(kw_only=True)
class Progress:
    """How far a run has come at one moment."""

    total: int | None = None
    """Jobs in all; ``None`` while that is not known, because they are read as they come."""
    in_flight: int = 0
    """Jobs that are under way; one of them may be waiting for the rate limit."""
    done: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    resumed: int = 0
    """How many of those four were found in the journal."""
    images: int = 0
    """Pictures that this run has made."""
    cost: Decimal = field(default=Decimal(0))
    """What this run has spent in US dollars, as far as it is known: at least this, where some is ``unpriced``."""
    seconds: float = 0.0
    """Since the run began."""
    images_per_minute: int = 0
    """Pictures of the last minute; of the run so far, while that is shorter."""
    limit: RateLimit | None = None
    """The rate limit that the jobs wait for."""
    seconds_left: float | None = None
    """About how long the rest will take; ``None`` while that cannot be told."""
    unpriced: int = 0
    """Jobs that this run has sent and that were or may have been billed, of which it is not known what they cost."""

    @property
    def finished(self) -> int:
        """Jobs that have ended, one way or another."""
        return self.done + self.refused + self.failed + self.unknown

    @property
    def waiting(self) -> int | None:
        """Jobs that have not begun; ``None`` while that is not known."""
        return None if self.total is None else max(0, self.total - self.finished - self.in_flight)


for _type in (Labelled, Outcome, Progress):
    _type.__module__ = "imagesdk"


@frozen
class JobResult:
    """What came of a job: its outcome, and whether the run cannot go on."""

    outcome: Outcome
    fatal: Exception | None = None

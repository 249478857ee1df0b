"""Input and output of a run, as frozen data: jobs, outcomes and progress. The blocking client uses the same types."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from attrs import field, frozen

from imagesdk.errors import ImageSDKError
from imagesdk.jobs import Edit, Generate, Job
from imagesdk.policies import RateLimit
from imagesdk.remedies import Remedy, worded
from imagesdk.reports import Batch
from imagesdk.types import ImagesResponse

__all__ = ["DryRun", "JobLike", "Jobs", "Labelled", "LaneProgress", "Notice", "Outcome", "Progress", "Status"]

Status: TypeAlias = Literal["done", "refused", "failed", "unknown", "missing"]
"""Result of a job.

- ``"done"``: the images have arrived.
- ``"refused"``: a rule of the model or the content filter refused the job, or it is not a valid job. It was not billed.
- ``"failed"``: the job was not done, and another run sends it again. It was not billed, except with a ``DownloadError``:
  then the server has generated the images, and another run fetches them.
- ``"unknown"``: the job was sent and may have been billed, but no image has arrived.
- ``"missing"``: an earlier run has done the job, but a file of it is gone or was changed. ``retry_unknown=True`` makes it
  again.
"""


@frozen
class Labelled:
    """Job with an id of yours. Its outcome and its files (``{id}``) use that id."""

    id: str
    """One line of at most 200 characters, unique in the run."""
    job: Job | str
    """Job, or the prompt of one."""


JobLike: TypeAlias = Job | str | Labelled
"""Job, prompt, or either with an id."""
Jobs: TypeAlias = Iterable[JobLike] | AsyncIterable[JobLike]
"""Jobs of a run. The run reads them one by one, so memory does not grow with their number."""


@frozen
class Outcome:
    """Result of one job of a run."""

    job: Job
    """The job as given. A prompt has become a ``Generate`` with the defaults of the run. A refused job may be any object
    that was given in the place of a job."""
    id: str
    """The id from ``Labelled``, or a generated one that is the same in every run of the same jobs."""
    place: int
    """Index of the job in the list, from 0."""
    status: Status
    response: ImagesResponse | None = None
    """The images; ``None`` unless the job is done."""
    error: Exception | None = None
    """The error of a job that is not done: an error of this package or an ``OSError``."""
    cost: Decimal | None = None
    """Cost in US dollars; ``None`` if it is unknown."""
    attempts: int = 0
    """Number of attempts in this run; 0 if the job was not sent."""
    resumed: bool = False
    """Whether the outcome is that of an earlier run, from the journal, or of another call, from the ledger."""
    acknowledged: bool = False
    """Whether ``imagesdk log --ack`` lets the job rest: it was refused or has failed, and is not sent again."""
    unrecorded: ImageSDKError | None = None
    """Why the ledger of ``client.images.once`` has not recorded this outcome; ``None`` if it has."""

    @property
    def prompt(self) -> str | None:
        """Prompt of the job; ``None`` for a variation."""
        return self.job.prompt if isinstance(self.job, (Generate, Edit)) else None

    @property
    def missing(self) -> int:
        """Number of requested images that a done job has not received."""
        return 0 if self.response is None else self.response.missing

    def unwrap(self) -> ImagesResponse:
        """Return the response, or raise the error.

        Raises:
            ImageSDKError: If the job is not done.
            OSError: If a file could not be read or written.
        """
        if self.error is not None:
            raise self.error
        assert self.response is not None  # noqa: S101 - without an error there is a response
        return self.response


@frozen(kw_only=True)
class LaneProgress:
    """Batches of a run on the lanes ``"batch"`` and ``"auto"``."""

    batches: tuple[Batch, ...] = ()
    """The open batches, as the server described them last."""
    waiting: int = 0
    """Jobs that wait for their batch to be created."""
    enqueued_tokens: int = 0
    """Estimated input tokens of the open batches, which the server limits for each model."""
    deadline: datetime | None = None
    """The end of the time of the run."""
    cut: bool = False
    """Whether the open batches were cancelled to meet the deadline."""


@frozen(kw_only=True)
class Progress:
    """Snapshot of a run."""

    total: int | None = None
    """Number of jobs; ``None`` until it is known, because jobs may come from an iterator."""
    in_flight: int = 0
    """Jobs that have started and not finished. One of them may wait for the rate limit."""
    done: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    missing: int = 0
    resumed: int = 0
    """Jobs among these five whose outcome is from the journal."""
    images: int = 0
    """Images that this run has received."""
    cost: Decimal = field(default=Decimal(0))
    """Known cost of this run in US dollars. The real cost is higher if there are ``unpriced`` jobs."""
    seconds: float = 0.0
    """Seconds since the run began."""
    images_per_minute: int = 0
    """Images of the last minute, or of the run so far if it is shorter."""
    limit: RateLimit | None = None
    """The rate limit that the jobs wait for."""
    seconds_left: float | None = None
    """Estimated seconds until the run ends; ``None`` if there is no estimate yet."""
    unpriced: int = 0
    """Jobs of this run that were or may have been billed at an unknown cost."""
    lane: LaneProgress | None = None
    """The batches of the run; ``None`` if all jobs are live."""

    @property
    def finished(self) -> int:
        """Jobs that have an outcome."""
        return self.done + self.refused + self.failed + self.unknown + self.missing

    @property
    def waiting(self) -> int | None:
        """Jobs that have not started; ``None`` while ``total`` is unknown."""
        return None if self.total is None else max(0, self.total - self.finished - self.in_flight)


@frozen
class Notice:
    """Advice about a run. ``str(notice)`` is its text."""

    summary: str
    """What the run does, with the values."""
    remedies: tuple[Remedy, ...] = ()
    """What the caller can set instead."""

    def __str__(self) -> str:
        return worded(self.summary, self.remedies)


@frozen
class JobResult:
    """Outcome of a job, and the error that must stop the run, if any."""

    outcome: Outcome | None
    """``None`` for a job that the run did not begin."""
    fatal: Exception | None = None


@frozen(kw_only=True)
class DryRun:
    """Prediction of a run. Returned by ``client.images.dry_run``."""

    jobs: int
    """Number of jobs."""
    sent: int
    """Jobs that the run would send."""
    images: int
    """Images that these jobs ask for."""
    resumed: int
    """Jobs that the journal has as finished, or that the run can finish without sending them."""
    refused: int
    """Jobs that the run would not send: they break a rule, or an input image cannot be read."""
    problems: tuple[tuple[int, Exception], ...] = ()
    """The first 20 refused jobs: the place of each, counted from 0, and its error."""
    cost: Decimal | None = None
    """Expected cost in US dollars; ``None`` if the cost of a job is unknown."""
    at_most: Decimal | None = None
    """Maximum cost in US dollars if each job is sent once; ``None`` if that of a job is unknown."""
    unpriced: int = 0
    """Jobs whose maximum cost is unknown."""
    seconds: float | None = None
    """Seconds until the rate limit allows the last job; ``None`` without a rate limit, and with batches."""
    notices: tuple[Notice, ...] = ()
    """Advice for a run of these jobs under a budget."""


for _type in (DryRun, Labelled, LaneProgress, Notice, Outcome, Progress):
    _type.__module__ = "imagesdk"

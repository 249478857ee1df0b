"""What an entry of a journal means when its job comes up again: pure decisions.

==========  =====================================  ==========================================================
state       files                                  what is done
==========  =====================================  ==========================================================
planned                                            it is sent
failed                                             it is sent: nothing was billed
sending                                            unknown, whether it was done: reported, or sent again
received    all there, or on their way             it is finished
received    gone                                   as ``sending``
done        all there                              nothing: its outcome is known
done        gone, or changed                       reported; made again only with ``retry_unknown``
refused                                            reported: the same would be refused again
unknown                                            reported; sent again only with ``retry_unknown``
==========  =====================================  ==========================================================

``sending`` is sent again where the run may repeat what may have been billed (``delivery="at_least_once"``), and so are all
of the last where the server is known to bill the work for one key once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from attrs import frozen

from imagesdk.errors import APIError, ImageSDKError, JournalError, OutcomeUnknownError
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.outcomes import Outcome
from imagesdk.fan_out.output_files import State as FileState
from imagesdk.fan_out.serialization import error_of
from imagesdk.fan_out.store import JobRecord
from imagesdk.remedies import Remedy

Step: TypeAlias = Literal["send", "restore", "report"]


@frozen(kw_only=True)
class ResumePolicy:
    """What may be sent a second time, though it may have been billed."""

    retry_unknown: bool = False
    """Whether the caller wants that, whatever it is."""
    repeats: bool = False
    """Whether the run may repeat what was being sent (``delivery="at_least_once"``)."""
    server_idempotent: bool = False
    """Whether the server bills the work for one key once."""


def next_action(entry: JobRecord, files: FileState | None, terms: ResumePolicy) -> Step:
    """Decide what is to be done for a job, of which this is known; ``files`` is what has become of its files."""
    again = terms.retry_unknown or terms.server_idempotent
    match entry.state:
        case "planned" | "failed":
            return "send"
        case "sending":
            return "send" if again or terms.repeats else "report"
        case "received":
            return "restore" if files == "whole" else "send" if again or terms.repeats else "report"
        case "done":
            return "restore" if files == "whole" else "send" if terms.retry_unknown else "report"
        case "unknown":
            return "send" if again else "report"
        case "refused":
            return "report"


def stored_outcome(item: Item, entry: JobRecord, files: FileState | None) -> Outcome:
    """Return the outcome of a job that is not sent again."""
    cost = None if entry.cost is None else Decimal(entry.cost)
    if entry.state == "refused":
        error = _said(entry)
        return Outcome(item.job, entry.id, item.place, "refused", error=error, resumed=True)
    if entry.state == "done":
        what = "is missing" if files == "absent" else "was changed"
        gone = JournalError(
            f"A file of this job {what}. The job was done, and is not billed a second time for that.",
            remedies=(Remedy.RESTORE_FILE,),
        )
        return Outcome(item.job, entry.id, item.place, "failed", error=gone, cost=cost, resumed=True)
    error = _said(entry)
    if error is None:
        error = OutcomeUnknownError(
            "This job was being sent when the run before this one ended.",
            maybe_billed=True,
            idempotency_key=entry.idempotency_key,
        )
    error.remedies = (*error.remedies, Remedy.RETRY_UNKNOWN)
    return Outcome(item.job, entry.id, item.place, "unknown", error=error, resumed=True)


def _said(entry: JobRecord) -> ImageSDKError | None:
    """Return the error that the job ended with, if it did."""
    if entry.error is None:
        return None
    error = error_of(entry.error)
    if isinstance(error, APIError) and error.idempotency_key is None:
        error.idempotency_key = entry.idempotency_key
    return error

"""Decision for a job that the journal knows: send, restore or report it. Pure.

==========  =====================================  ==========================================================
state       files                                  action
==========  =====================================  ==========================================================
planned                                            send
failed                                             send: nothing was billed
sending                                            report as unknown, or send again (see below)
received    complete, perhaps not yet renamed      restore: finish the job
received    missing or changed                     as ``sending``
done        complete                               restore: the outcome is known
done        missing or changed                     report; send again only with ``retry_unknown``
refused                                            report: the server would refuse it again
unknown                                            report, or send again (see below)
==========  =====================================  ==========================================================

=================================================  ==================  ==========
sent again with                                    sending, received   unknown
=================================================  ==================  ==========
``retry_unknown=True``                             yes                 yes
``RetryPolicy(server_idempotent=True)``            yes                 yes
``delivery="at_least_once"``                       yes                 no
=================================================  ==================  ==========
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

Action: TypeAlias = Literal["send", "restore", "report"]


@frozen(kw_only=True)
class ResumePolicy:
    """Rules for jobs that may have been billed: which ones the run may send again."""

    retry_unknown: bool = False
    """Whether the caller asked to send every such job again."""
    repeats: bool = False
    """Whether the run may repeat an interrupted attempt (``delivery="at_least_once"``)."""
    server_idempotent: bool = False
    """Whether the server bills each idempotency key once."""


def next_action(record: JobRecord, files: FileState | None, policy: ResumePolicy) -> Action:
    """Decide what to do with a job. ``files`` is the state of its files, if the record has any."""
    again = policy.retry_unknown or policy.server_idempotent
    match record.state:
        case "planned" | "failed":
            return "send"
        case "sending":
            return "send" if again or policy.repeats else "report"
        case "received":
            return "restore" if files == "whole" else "send" if again or policy.repeats else "report"
        case "done":
            return "restore" if files == "whole" else "send" if policy.retry_unknown else "report"
        case "unknown":
            return "send" if again else "report"
        case "refused":
            return "report"


def stored_outcome(item: Item, record: JobRecord, files: FileState | None) -> Outcome:
    """Return the outcome of a job that the run reports without sending it."""
    cost = None if record.cost is None else Decimal(record.cost)
    if record.state == "refused":
        error = _stored_error(record)
        return Outcome(item.job, record.id, item.place, "refused", error=error, resumed=True)
    if record.state == "done":
        what = "is missing" if files == "absent" else "was changed"
        gone = JournalError(
            f"A file of this job {what}. The job was done, and is not billed a second time for that.",
            remedies=(Remedy.RESTORE_FILE,),
        )
        return Outcome(item.job, record.id, item.place, "failed", error=gone, cost=cost, resumed=True)
    error = _stored_error(record)
    if error is None:
        error = OutcomeUnknownError(
            "This job was being sent when the run before this one ended.",
            maybe_billed=True,
            idempotency_key=record.idempotency_key,
        )
    error.remedies = (*error.remedies, Remedy.RETRY_UNKNOWN)
    return Outcome(item.job, record.id, item.place, "unknown", error=error, resumed=True)


def _stored_error(record: JobRecord) -> ImageSDKError | None:
    """Return the stored error of a job, if it has one."""
    if record.error is None:
        return None
    error = error_of(record.error)
    if isinstance(error, APIError) and error.idempotency_key is None:
        error.idempotency_key = record.idempotency_key
    return error

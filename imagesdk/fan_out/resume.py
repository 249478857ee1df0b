"""Decision for a job that the journal knows: send, restore or report it. Pure.

==========  =====================================  ================================================================
state       files                                  action
==========  =====================================  ================================================================
planned                                            send
failed                                             send: nothing was billed
failed, acknowledged                               report; send again only with ``retry_unknown``
sending                                            report as unknown, or send again (see below)
received    complete, perhaps not yet renamed      restore: finish the job
received    missing or changed                     as ``sending``
done        complete                               restore: the outcome is known
done        missing or changed                     report as missing; send again only with ``retry_unknown``
refused                                            report: the server would refuse it again
unknown                                            report, or send again (see below)
==========  =====================================  ================================================================

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

from attrs import evolve, frozen

from imagesdk.errors import APIError, JournalError, OutcomeUnknownError
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.outcomes import Outcome, Status
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
        case "failed" if record.acknowledged and not policy.retry_unknown:
            return "report"
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
    status: Status = "unknown"
    error = None if record.error is None else error_of(record.error)
    # An earlier run may have recorded the remedy. An OSError has no attribute for them.
    remedies = tuple(each for each in getattr(error, "remedies", ()) if each != Remedy.RETRY_UNKNOWN)
    if error is not None and hasattr(error, "remedies"):
        vars(error)["remedies"] = remedies
    if isinstance(error, APIError) and error.idempotency_key is None:
        error.idempotency_key = record.idempotency_key
    if error is not None and record.state in {"refused", "failed"}:
        status = "refused" if record.state == "refused" else "failed"
    elif record.state == "done":
        status = "missing"
        what = "is missing" if files == "absent" else "was changed"
        summary = f"A file of this job {what}. The job was done, and is not billed a second time for that."
        error = JournalError(summary, remedies=(Remedy.RESTORE_FILE,))
    else:
        summary = "This job was being sent when the run before this one ended."
        if record.batch is not None:
            summary = "This job is in a batch that had not ended when the run before this one ended."
        key = record.idempotency_key
        error = error or OutcomeUnknownError(summary, maybe_billed=True, idempotency_key=key)
        fetch = () if record.batch is None or record.state != "sending" else (Remedy.USE_BATCH_LANE,)
        vars(error)["remedies"] = (*remedies, *fetch, Remedy.RETRY_UNKNOWN)
    cost = None if record.cost is None else Decimal(record.cost)
    found = Outcome(item.job, record.id, item.place, status, error=error, cost=cost, resumed=True)
    return evolve(found, acknowledged=record.acknowledged)

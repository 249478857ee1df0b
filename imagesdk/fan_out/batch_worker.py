"""Outcomes of jobs that were lines of a batch: files, journal, price and money are those of a live job."""

from __future__ import annotations

from decimal import Decimal

from imagesdk._calls.batch_lines import ReceivedLine
from imagesdk._calls.batch_results import line_call, result_of
from imagesdk._engine.sink import discard
from imagesdk._protocol.retry import Failure
from imagesdk.errors import APIError
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.ledger import JobLedger
from imagesdk.fan_out.outcomes import JobResult, Outcome, Status
from imagesdk.fan_out.store import JobRecord
from imagesdk.fan_out.worker import JobRun, JobWorker, status_of, unsent_status


async def take_line(
    worker: JobWorker, item: Item, record: JobRecord, amount: Decimal, received: ReceivedLine
) -> JobResult | Failure:
    """Turn the line of a batch into the outcome of its job; return the failure of one that was not billed.

    ``record`` has the state before the batch, and ``amount`` is reserved for the job. That money stays reserved after a
    failure that is returned.
    """
    prepared = line_call(
        item.job,
        worker.context,
        worker.template,
        owner=worker.owner,
        idempotency_key=record.idempotency_key,
        fsync=True,
    )
    found = result_of(received, prepared, worker.context)
    if isinstance(found, Failure):
        await discard(received.sink)
        if found.kind in {"never_sent", "refused"}:
            return found
    run = JobRun(worker, item, prepared, record, worker.names(item, record, fsync=True))
    run.ledger = JobLedger(worker.store, record, worker.spending, amount, count=1, maybe_billed=True)
    result: JobResult | None = None
    try:
        if isinstance(found, Failure):
            result = await run.fail(found.error, run.ledger)
        else:
            result = await run.receive(found)
        return result
    finally:
        run.ledger.close(None if result is None or result.outcome is None else result.outcome.cost)


async def end_line(worker: JobWorker, item: Item, record: JobRecord, error: APIError) -> JobResult:
    """Record the end of a job whose batch has no images for it. ``record`` has the state before the batch."""
    status: Status = status_of(error)
    if status != "unknown" and record.maybe_billed:
        status = unsent_status(record)  # an earlier attempt may be billed: the record stays as it was
    else:
        await worker.store.ended(record, status_of(error), error)
    return JobResult(Outcome(item.job, record.id, item.place, status, error=error, attempts=1))

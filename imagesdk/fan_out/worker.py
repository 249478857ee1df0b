"""Worker of a run: turns one job into its outcome.

For each job, the worker

1. builds the call and computes the fingerprint of the job,
2. claims the record of the job in the store,
3. decides whether to send, restore or report the job (:mod:`.resume`),
4. reserves the maximum cost of the job (:mod:`.spending`),
5. waits while the run is paused (:mod:`.gate`),
6. sends the call; the ledger writes to the store before the first byte of each attempt,
7. moves the images to their final names and records the result.

A job's failure becomes its outcome, whatever the job holds. A failure of a paused run is none: the job is sent again when
the run continues, if that cannot be billed twice or the caller allows it. Only errors that would hit every job (disk full,
journal unwritable) stop the run.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from typing import Literal, TypeAlias

import anyio
from attrs import Factory, define, evolve, field

from imagesdk._calls.build import ClientContext, PreparedCall, build_call
from imagesdk._calls.call_options import deadline_of
from imagesdk._calls.file_names import keep
from imagesdk._calls.finish import describe, fetch_missing, place_images, with_facts
from imagesdk._engine.call import Result
from imagesdk._engine.sink import ReceivedImage, discard
from imagesdk._media.output import OutputTemplate
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._protocol.retry import Failure, classify
from imagesdk._runtime.notify import Notifier
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import (
    APIError,
    BadRequestError,
    BudgetExceededError,
    CoordinationError,
    DownloadError,
    ImageSDKError,
    InvalidRequestError,
    LimitWaitError,
    UnprocessableEntityError,
)
from imagesdk.events import JobEnded
from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.gate import Gate, PausedError
from imagesdk.fan_out.job_source import ODD_VALUES, Item, odd_value
from imagesdk.fan_out.ledger import JobLedger
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.outcomes import JobResult, Notice, Outcome, Status
from imagesdk.fan_out.output_files import RunNames, TakenNames, WrittenFile, hashes_of, names_for, state_of
from imagesdk.fan_out.output_files import State as FileState
from imagesdk.fan_out.resume import Action, next_action, stored_outcome
from imagesdk.fan_out.serialization import files_of, response_of
from imagesdk.fan_out.spending import Reservation, SpendingLimit, notice_of, priced, unknown_price
from imagesdk.fan_out.store import STORE_ERRORS, JobRecord, JobStore
from imagesdk.jobs import CallOptions
from imagesdk.policies import RateLimit
from imagesdk.types import ImagesResponse

_REFUSALS = (InvalidRequestError, BadRequestError, UnprocessableEntityError)
_Ending: TypeAlias = Literal["refused", "failed", "unknown"]
_MOST_PAUSES = 5
"""Pauses of a run that one job without a connection may cause."""
_FATAL = {
    errno.ENOSPC: "Free disk space",
    errno.EDQUOT: "Free disk space",
    errno.EROFS: "Make the disk writable",
    errno.EMFILE: "Raise the limit of open files",
}
"""Errors of files that would hit every job, and what to do."""
_logger = logging.getLogger("imagesdk")


def _taken_names(template: OutputTemplate | None) -> TakenNames:
    return TakenNames() if template is None else TakenNames(template.folder)


@define(eq=False)
class JobWorker:
    """Worker for all jobs of one run."""

    context: ClientContext
    options: RunOptions
    template: OutputTemplate | None
    """Parsed ``out=``, in a folder that can be written to; ``None`` for images in memory."""
    store: JobStore
    spending: SpendingLimit
    gate: Gate
    changes: Notifier
    """Notified when a job has ended."""
    owner: str = ""
    """Name of the journal in temporary files; empty without a journal."""
    run_id: str = ""
    """Name of the run in events."""
    taken: TakenNames = field(
        init=False, default=Factory(lambda self: _taken_names(self.template), takes_self=True)
    )
    call_options: CallOptions = field(factory=CallOptions)
    deadline: float | None = None
    """End of the call of a single job; in a run each call has its own."""
    notices: tuple[Notice, ...] = ()
    model: str | None = None
    """Model of the latest job, whose rate limit is shown."""

    def limit(self) -> RateLimit | None:
        """Return the rate limit that jobs wait for."""
        return self.context.engine.limit_for(self.model)

    async def run(self, item: Item, on_granted: Callable[[], None]) -> JobResult:
        """Turn a job into its outcome. Call ``on_granted`` each time the rate limit grants a permit."""
        if item.problem is not None:
            return not_prepared(item, item.problem)
        try:
            async with AsyncExitStack() as stack:
                try:
                    building = build_call(item.job, self.call_options, self.context, template=self.template)
                    prepared = await stack.enter_async_context(building)
                    run = await self._claim(item, prepared, on_granted)
                except (ImageSDKError, OSError):
                    raise
                except ODD_VALUES as error:
                    raise odd_value(error) from error
                return await run.run()
        except STORE_ERRORS:
            raise
        except (ImageSDKError, OSError) as error:  # before the job had a record
            return not_prepared(item, error)

    def observe_end(self, outcome: Outcome) -> None:
        """Report the outcome of a job to the observers."""
        if self.context.engine.is_observed:
            self.context.engine.observe(
                JobEnded(
                    run_id=self.run_id,
                    job_id=outcome.id,
                    place=outcome.place,
                    status=outcome.status,
                    attempts=outcome.attempts,
                    resumed=outcome.resumed,
                    cost=outcome.cost,
                    error=None if outcome.error is None else type(outcome.error).__name__,
                )
            )

    def next_action(self, record: JobRecord, files: FileState | None) -> Action:
        """Decide what to do with a job."""
        return next_action(record, files, self.options.resume_policy(self.context.engine))

    def names(self, item: Item, record: JobRecord, *, fsync: bool) -> RunNames | None:
        """Return the file names of a job; ``None`` for images in memory."""
        if self.template is None:
            return None
        return names_for(
            item,
            record.id,
            self.template,
            self.taken,
            fsync=fsync,
            owner=self.owner,
            is_recorded=self.store.persistent,
        )

    async def _claim(self, item: Item, prepared: PreparedCall, on_granted: Callable[[], None]) -> JobRun:
        request, store = prepared.call.request, self.store
        self.model = request.model
        hashes = await hashes_of(prepared.inputs) if store.persistent else Hashes()
        record = await store.claim(item, digest(item.job, hashes), request.weight, request.model)
        call = evolve(
            prepared.call,
            idempotency_key=record.idempotency_key,
            on_granted=on_granted,
            delivery=self.options.delivery,
            owner=self.owner,
            run_id=self.run_id,
            fsync=prepared.call.fsync or store.persistent,
        )
        names = self.names(item, record, fsync=call.fsync)
        return JobRun(self, item, evolve(prepared, call=call), record, names)


@define(eq=False)
class JobRun:
    """One job with its record, on the way to its outcome."""

    worker: JobWorker
    item: Item
    prepared: PreparedCall
    record: JobRecord
    names: RunNames | None
    ledger: JobLedger | None = None
    held: bool = False
    """Whether the latest attempt failed while the run was paused."""
    pauses: int = 0
    """Pauses of the run that this job has caused."""

    async def run(self) -> JobResult:
        """Send, restore or report the job."""
        store, record = self.worker.store, self.record
        files = None
        if record.state in {"received", "done"} and record.response is not None:
            try:
                files = await run_blocking(state_of, files_of(record.response, store.folder))
            except OSError as error:  # the images are there, and cannot be read or moved
                return JobResult(self.outcome("unknown", error=error), disk_failure(error))
        match self.worker.next_action(record, files):
            case "send":
                return await self.send()
            case "restore":
                return await self.restore()
            case "report":
                outcome = stored_outcome(self.item, record, files)
                if record.state in {"sending", "received"} and outcome.error is not None:
                    await store.ended(record, "unknown", outcome.error)
                return JobResult(outcome)

    async def restore(self) -> JobResult:
        """Finish a job whose response an earlier run has received."""
        record, folder = self.record, self.worker.store.folder
        assert record.response is not None  # noqa: S101 - records in "received" and "done" have one
        response, files = response_of(record.response, folder), files_of(record.response, folder)
        if record.state == "received":
            try:
                response, files = await self.fetch(response, files)
            except DownloadError as error:
                if self.worker.options.retry_unknown:
                    return await self.send()
                return JobResult(self.outcome("failed", error=error, cost=response.cost))
            except OSError as error:
                return JobResult(
                    self.outcome("unknown", error=error, cost=response.cost), disk_failure(error)
                )
            await self.finish(response, files)
        outcome = self.outcome("done", response=response, cost=response.cost)
        return JobResult(evolve(outcome, resumed=True))

    async def send(self) -> JobResult:
        """Reserve money for the job, and send it."""
        worker, spending = self.worker, self.worker.spending
        price = priced(self.prepared.job, list_prices=worker.context.host.uses_list_prices)
        amount = price.at_most or Decimal(0)
        if spending.limit is not None and price.at_most is None and worker.options.unknown_price == "stop":
            return JobResult(self.outcome(unsent_status(self.record), error=unknown_price(price)))
        if self.names is not None:
            try:
                await self.names.check(worker.owner)
            except OSError as error:
                return JobResult(self.outcome(unsent_status(self.record), error=error), disk_failure(error))
        notice = None if spending.limit is None else notice_of(self.prepared.job, price)
        self.note(notice)
        while (reservation := spending.reserve(amount)) is Reservation.WAIT:
            await worker.changes.wait()
        if reservation is Reservation.REFUSED:
            refusal = spending.refusal(amount, auto_quality=notice is not None)
            return JobResult(self.outcome(unsent_status(self.record), error=refusal))
        check = partial(worker.gate.check, self.item.place)
        self.ledger = ledger = JobLedger(worker.store, self.record, spending, amount, check)
        result: JobResult | None = None
        try:
            result = await self.make_call(ledger)
            return result
        finally:
            worker.gate.leave(self.item.place)
            ledger.close(None if result is None or result.outcome is None else result.outcome.cost)

    async def make_call(self, ledger: JobLedger) -> JobResult:
        """Make the call, again after each pause of the run, and handle its response or error."""
        worker, place = self.worker, self.item.place
        call = evolve(self.prepared.call, ledger=ledger, may_retry=self.may_retry)
        failed: APIError | None = None
        while True:
            if await worker.gate.enter(place):
                call = evolve(call, deadline=worker.deadline or deadline_of(call.timeouts))
            elif failed is None or not ledger.ever_maybe_billed:
                return JobResult(None)
            else:
                self.annotate(failed, ledger)
                return JobResult(self.outcome("unknown", error=failed))  # the record stays, for the next run
            try:
                result = await worker.context.engine.send(call)
            except PausedError:
                continue
            except (BudgetExceededError, OSError) as error:
                return await self.fail(error, ledger)
            except CoordinationError as error:  # every job needs the store
                if ledger.ever_maybe_billed:
                    return JobResult(self.outcome("unknown", error=failed or error), error)
                return JobResult(None, error)
            except APIError as error:
                if not self.may_repeat(error):
                    return await self.fail(error, ledger)
                failed = error
            else:
                worker.gate.succeeded(place)
                return await self.receive(result)

    def may_retry(self, failure: Failure) -> bool:
        """Record a failed attempt, and return whether the engine may retry it."""
        self.held = not self.worker.gate.failed(self.item.place, failure)
        return not self.held

    def may_repeat(self, error: APIError) -> bool:
        """Return whether the job waits for the end of a pause, and is then sent again."""
        worker, kind = self.worker, classify(error)
        if isinstance(error, LimitWaitError):
            worker.gate.gave_up(error)
            return False
        if not self.held and kind == "never_sent" and self.pauses < _MOST_PAUSES:
            self.pauses += 1
            self.held = worker.gate.gave_up(error)
        repeats = worker.options.delivery == "at_least_once" or worker.context.engine.server_idempotent
        return self.held and (kind == "never_sent" or (kind != "refused" and repeats))

    def note(self, notice: Notice | None) -> None:
        """Give the caller a notice, once a run."""
        if notice is not None and not self.worker.notices:
            self.worker.notices = (notice,)
            _logger.info("%s", notice)

    async def fail(self, error: APIError | BudgetExceededError | OSError, ledger: JobLedger) -> JobResult:
        """Record a job whose call failed."""
        status: _Ending = "unknown" if ledger.run_maybe_billed else status_of(error)
        if isinstance(error, APIError):
            self.annotate(error, ledger)
        fatal: Exception | None = None
        if isinstance(error, OSError) and ledger.maybe_billed:  # an output file failed, not an input image
            fatal = disk_failure(error)
            self.worker.taken.checked.clear()
        if self.record.maybe_billed and not ledger.run_maybe_billed:
            # The record stays as it was.
            return JobResult(self.outcome(unsent_status(self.record), error=error), fatal)
        try:
            await self.worker.store.ended(self.record, status, error)
        except STORE_ERRORS as problem:
            fatal = fatal or problem
        return JobResult(self.outcome(status, error=error), fatal)

    def annotate(self, error: APIError, ledger: JobLedger) -> None:
        """Add the facts of all calls of the job to the error of its last one."""
        error.attempts = ledger.count
        error.maybe_billed = error.maybe_billed or ledger.ever_maybe_billed

    async def receive(self, result: Result[ParsedResponse]) -> JobResult:
        """Move the images of a response to their final names, and record each step."""
        worker = self.worker
        fatal: Exception | None = None
        cost: Decimal | None = None
        response = describe(result, self.prepared, worker.context.host)
        try:
            with anyio.CancelScope(shield=True):
                files = await self.reserve_names(result)
                fatal = await self.record_received(response, files)
            response = await place_images(response, result, self.names)
            cost = response.cost
            response, files = await self.fetch(response, [])
            if fatal is None:
                await self.finish(response, files)
        except DownloadError as error:
            return JobResult(self.outcome("failed", error=error, cost=cost), fatal)
        except STORE_ERRORS as problem:
            fatal = problem
        except OSError as error:
            return JobResult(self.outcome("unknown", error=error, cost=cost), fatal or disk_failure(error))
        return JobResult(self.outcome("done", response=response, cost=cost), fatal)

    async def record_received(
        self, response: ImagesResponse, files: list[WrittenFile]
    ) -> ImageSDKError | None:
        """Record a response. If the journal cannot, the images are kept all the same: return its error."""
        store = self.worker.store
        try:
            await store.received(self.record, response, files)
        except STORE_ERRORS as problem:
            if self.worker.template is not None:
                await store.set_aside(self.record, response, files, self.worker.template.temporary_folder)
            return problem
        return None

    async def reserve_names(self, result: Result[ParsedResponse]) -> list[WrittenFile]:
        """Reserve the final names of the images in a response. Keep their temporary files if that fails."""
        if self.names is None:
            return []
        images = result.sink.images
        try:
            for index, image in enumerate(result.parsed.images):
                received = None if image.image_ref is None else images.get(image.image_ref)
                if received is not None and received.temporary is not None:
                    await self.names.reserve(index, received)
        except OSError as error:
            kept = [keep(received, error, owner=self.worker.owner) for received in images.values()]
            await self.worker.store.ended(self.record, "unknown", kept[0])
            raise kept[0] from error
        except BaseException:
            await discard(result.sink)
            raise
        return list(self.names.written.values())

    async def fetch(
        self, response: ImagesResponse, files: list[WrittenFile]
    ) -> tuple[ImagesResponse, list[WrittenFile]]:
        """Fetch images that are only URLs. Return the response and all its files, which begin with ``files``."""
        names, call, downloader = self.names, self.prepared.call, self.worker.context.downloader
        if all(image.loaded for image in response):
            return response, [*files, *({} if names is None else names.written).values()]
        if names is None:
            return await fetch_missing(response, None, call, downloader), files
        images = list(response.data)

        async def record(index: int, received: ReceivedImage) -> None:  # before the file has its final name
            known = [with_facts(image, received) if image.index == index else image for image in images]
            images[:] = known
            await self.record_received(evolve(response, data=tuple(known)), [*files, *names.written.values()])

        response = await fetch_missing(response, evolve(names, before_move=record), call, downloader)
        return response, [*files, *names.written.values()]

    async def finish(self, response: ImagesResponse, files: list[WrittenFile]) -> None:
        """Record that all files have their final names."""
        with anyio.CancelScope(shield=True):
            await self.worker.store.done(self.record, response, files)

    def outcome(
        self,
        status: Status,
        *,
        response: ImagesResponse | None = None,
        error: Exception | None = None,
        cost: Decimal | None = None,
    ) -> Outcome:
        """Return the outcome of the job."""
        count, item = 0 if self.ledger is None else self.ledger.count, self.item
        return Outcome(item.job, self.record.id, item.place, status, response, error, cost, attempts=count)


def unsent_status(record: JobRecord) -> Status:
    """Return the status of a job that the budget does not cover: what it was before, if it may have been billed."""
    if record.state in {"sending", "received", "unknown"}:
        return "unknown"
    return "missing" if record.state == "done" else "failed"


def not_prepared(item: Item, error: Exception) -> JobResult:
    """Return the result of a job that has no record."""
    try:
        name = item.label or name_of(digest(item.job, Hashes()), 0)
    except ODD_VALUES:  # its values cannot be written as JSON
        name = f"job-{item.place}"
    return JobResult(Outcome(item.job, name, item.place, status_of(error), error=error))


def status_of(error: Exception) -> _Ending:
    """Return the status of a job that ended with an error."""
    if isinstance(error, APIError) and error.maybe_billed:
        return "unknown"
    return "refused" if isinstance(error, _REFUSALS) else "failed"


def disk_failure(error: OSError) -> OSError | None:
    """Return the error that ends a run if no job could write its images; ``None`` for an error at one place."""
    remedy = _FATAL.get(error.errno or 0)
    if remedy is None:
        return None
    what = f"{(error.strerror or str(error)).rstrip('.')}. No further job starts. {remedy} and run the same list again to continue."
    return type(error)(error.errno, what, error.filename)

"""Worker of a run: turns one job into its outcome.

For each job, the worker

1. builds the call and computes the fingerprint of the job,
2. claims the record of the job in the store,
3. decides whether to send, restore or report the job (:mod:`.resume`),
4. reserves the maximum cost of the job (:mod:`.spending`),
5. sends the call; the ledger writes to the store before the first byte of each attempt,
6. moves the images to their final names and records the result.

A job's failure becomes its outcome. Only errors that would hit every job (disk full, journal unwritable) stop the run.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import anyio
from attrs import define, evolve, field

from imagesdk._calls.build import ClientContext, PreparedCall, build_call
from imagesdk._calls.finish import describe, fetch_missing, place_images
from imagesdk._engine.call import Result
from imagesdk._engine.sink import discard
from imagesdk._media.output import OutputTemplate
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._runtime.notify import Notifier
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import (
    APIError,
    BadRequestError,
    BudgetExceededError,
    DownloadError,
    ImageSDKError,
    InvalidRequestError,
    JournalError,
    UnprocessableEntityError,
)
from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.ledger import JobLedger
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.outcomes import JobResult, Outcome, Status
from imagesdk.fan_out.output_files import RunNames, TakenNames, WrittenFile, hashes_of, names_for, state_of
from imagesdk.fan_out.resume import next_action, stored_outcome
from imagesdk.fan_out.serialization import files_of, response_of
from imagesdk.fan_out.spending import Reservation, SpendingLimit, priced, unknown_price
from imagesdk.fan_out.store import JobRecord, JobStore
from imagesdk.policies import RateLimit
from imagesdk.types import ImagesResponse

_REFUSALS = (InvalidRequestError, BadRequestError, UnprocessableEntityError)


@define(eq=False)
class JobWorker:
    """Worker for all jobs of one run."""

    context: ClientContext
    options: RunOptions
    template: OutputTemplate | None
    """Parsed ``out=``, in a folder that can be written to; ``None`` for images in memory."""
    store: JobStore
    spending: SpendingLimit
    changes: Notifier
    """Notified when a job has ended."""
    taken: TakenNames = field(factory=TakenNames)
    _model: str | None = None

    def limit(self) -> RateLimit | None:
        """Return the rate limit that jobs wait for."""
        return self.context.engine.limit_for(self._model)

    async def run(self, item: Item, on_granted: Callable[[], None]) -> JobResult:
        """Turn a job into its outcome. Call ``on_granted`` each time the rate limit grants a permit."""
        try:
            async with build_call(item.job, {}, self.context, template=self.template) as prepared:
                return await (await self._claim(item, prepared, on_granted)).run()
        except JournalError:
            raise
        except (ImageSDKError, OSError) as error:  # before the job had a record
            name = item.label or name_of(digest(item.job, Hashes()), 0)
            return JobResult(Outcome(item.job, name, item.place, _status(error), error=error))

    async def _claim(self, item: Item, prepared: PreparedCall, on_granted: Callable[[], None]) -> _JobRun:
        request, store = prepared.call.request, self.store
        self._model = request.model
        hashes = await hashes_of(prepared.inputs) if store.persistent else Hashes()
        record = await store.claim(item, digest(item.job, hashes), request.weight, request.model)
        call = evolve(
            prepared.call,
            idempotency_key=record.idempotency_key,
            on_granted=on_granted,
            delivery=self.options.delivery,
            fsync=prepared.call.fsync or store.persistent,
        )
        names = None
        if self.template is not None:
            names = names_for(item, record.id, self.template, self.taken, fsync=call.fsync)
        return _JobRun(self, item, evolve(prepared, call=call), record, names)


@define(eq=False)
class _JobRun:
    """One job with its record, on the way to its outcome."""

    worker: JobWorker
    item: Item
    prepared: PreparedCall
    record: JobRecord
    names: RunNames | None
    ledger: JobLedger | None = None

    async def run(self) -> JobResult:
        """Send, restore or report the job."""
        store, record = self.worker.store, self.record
        files = None
        if record.state in {"received", "done"} and record.response is not None:
            files = await run_blocking(state_of, files_of(record.response, store.folder))
        match next_action(record, files, self.worker.options.resume_policy(self.worker.context.engine)):
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
            await self.finish(response, files)
        outcome = self.outcome("done", response=response, cost=response.cost)
        return JobResult(evolve(outcome, resumed=True))

    async def send(self) -> JobResult:
        """Reserve money for the job, and send it."""
        worker, spending = self.worker, self.worker.spending
        price = priced(self.prepared.job, list_prices=worker.context.host.uses_list_prices)
        amount = price.at_most or Decimal(0)
        if spending.limit is not None and price.at_most is None and worker.options.unknown_price == "stop":
            return JobResult(self.outcome("failed", error=unknown_price(price)))
        while (reservation := spending.reserve(amount)) is Reservation.WAIT:
            await worker.changes.wait()
        if reservation is Reservation.REFUSED:
            return JobResult(self.outcome("failed", error=spending.refusal(amount)))
        self.ledger = ledger = JobLedger(worker.store, self.record, spending, amount)
        result: JobResult | None = None
        try:
            result = await self.make_call(ledger)
            return result
        finally:
            ledger.close(None if result is None else result.outcome.cost)

    async def make_call(self, ledger: JobLedger) -> JobResult:
        """Make the call, and handle its response or error."""
        try:
            result = await self.worker.context.engine.send(evolve(self.prepared.call, ledger=ledger))
        except (APIError, BudgetExceededError, OSError) as error:
            return await self.fail(error, ledger)
        return await self.receive(result)

    async def fail(self, error: APIError | BudgetExceededError | OSError, ledger: JobLedger) -> JobResult:
        """Record a job whose call failed."""
        status = "unknown" if ledger.maybe_billed else _status(error)
        fatal: Exception | None = None
        if isinstance(error, OSError) and ledger.maybe_billed:  # an output file failed, not an input image
            fatal = _disk_failure(error)
        try:
            await self.worker.store.ended(self.record, status, error)
        except JournalError as problem:
            fatal = fatal or problem
        return JobResult(self.outcome(status, error=error), fatal)

    async def receive(self, result: Result[ParsedResponse]) -> JobResult:
        """Move the images of a response to their final names, and record each step."""
        worker = self.worker
        fatal: Exception | None = None
        cost: Decimal | None = None
        response = describe(result, self.prepared, worker.context.host)
        try:
            with anyio.CancelScope(shield=True):
                files = await self.reserve_names(result)
                try:
                    await worker.store.received(self.record, response, files)
                except JournalError as problem:
                    fatal = problem  # the images are kept all the same
                response = await place_images(response, result, self.names)
            cost = response.cost
            response, files = await self.fetch(response, [])
            if fatal is None:
                await self.finish(response, files)
        except DownloadError as error:
            return JobResult(self.outcome("failed", error=error, cost=cost), fatal)
        except JournalError as problem:
            fatal = problem
        except OSError as error:
            return JobResult(self.outcome("unknown", error=error, cost=cost), fatal or _disk_failure(error))
        return JobResult(self.outcome("done", response=response, cost=cost), fatal)

    async def reserve_names(self, result: Result[ParsedResponse]) -> list[WrittenFile]:
        """Reserve the final names of the images in a response. Discard the images if that fails."""
        if self.names is None:
            return []
        try:
            for index, image in enumerate(result.parsed.images):
                received = None if image.image_ref is None else result.sink.images.get(image.image_ref)
                if received is not None and received.temporary is not None:
                    await self.names.reserve(index, received)
        except BaseException:
            await discard(result.sink)
            raise
        return list(self.names.written.values())

    async def fetch(
        self, response: ImagesResponse, files: list[WrittenFile]
    ) -> tuple[ImagesResponse, list[WrittenFile]]:
        """Fetch images that are only URLs. Return the response and all its files, which begin with ``files``."""
        written = {} if self.names is None else self.names.written
        if not all(image.loaded for image in response):
            call, downloader = self.prepared.call, self.worker.context.downloader
            try:
                response = await fetch_missing(response, self.names, call, downloader)
            except DownloadError as error:
                if error.response is not None and written:  # the next run need not fetch these again
                    await self.worker.store.received(self.record, error.response, [*files, *written.values()])
                raise
        return response, [*files, *written.values()]

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


def _status(error: Exception) -> Status:
    if isinstance(error, APIError) and error.maybe_billed:
        return "unknown"
    return "refused" if isinstance(error, _REFUSALS) else "failed"


def _disk_failure(error: OSError) -> OSError:
    """Return the error that ends a run whose images cannot be written."""
    what = f"{error.strerror or error}. No further job starts. Free disk space and run the same list again to continue."
    return type(error)(error.errno, what, error.filename)

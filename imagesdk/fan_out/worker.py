"""One job of a run, from its value to its outcome: made ready, sent, its pictures brought to where they belong.

Rules: the book is told before each step; whatever happens to a job is its outcome; only what no other job could be spared
(the disk, the book) ends the run.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import anyio
import attrs

from imagesdk._calls.build import ClientContext, PreparedCall, build_call
from imagesdk._calls.finish import describe, fetch_missing, place_images
from imagesdk._engine.call import Result
from imagesdk._engine.sink import discard
from imagesdk._media.output import slug
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
from imagesdk.fan_out import resume as recovery
from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.ledger import JobLedger
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.outcomes import JobResult, Outcome, Status
from imagesdk.fan_out.output_files import RunNames, TakenNames, WrittenFile, hashes_of, state_of
from imagesdk.fan_out.serialization import error_record, files_of, response_of, response_record
from imagesdk.fan_out.spending import SpendingLimit, priced, unknown_price
from imagesdk.fan_out.store import JobRecord, JobStore
from imagesdk.jobs import CallOptions
from imagesdk.policies import RateLimit
from imagesdk.types import ImagesResponse

_REFUSALS = (InvalidRequestError, BadRequestError, UnprocessableEntityError)


class JobWorker:
    """Makes the jobs of one run."""

    def __init__(
        self,
        context: ClientContext,
        book: JobStore,
        purse: SpendingLimit,
        folder: Path,
        terms: RunOptions,
    ) -> None:
        self._context = context
        self._engine = context.engine
        self._book = book
        self._purse = purse
        self._settled = Notifier()
        self._folder = folder
        self._terms = terms
        self._options: CallOptions = {"out": terms.out}
        self._taken = TakenNames()
        self._model: str | None = None

    def limit(self) -> RateLimit | None:
        """Return the rate limit that jobs wait for."""
        return self._engine.limit_for(self._model)

    async def run(self, item: Item, granted: Callable[[], None]) -> JobResult:
        """Bring a job to its outcome.

        Raises:
            JournalError: the book cannot be written before the job is sent.
        """
        try:
            async with build_call(item.job, self._options, self._context) as ready:
                return await self._make(item, ready, granted)
        except JournalError:
            raise
        except (ImageSDKError, OSError) as error:  # it could not even be made ready
            name = item.label or name_of(digest(item.job, Hashes()), 0)
            return JobResult(Outcome(item.job, name, item.place, _status(error), error=error))

    async def _make(self, item: Item, ready: PreparedCall, granted: Callable[[], None]) -> JobResult:
        request = ready.call.request
        self._model = request.model
        hashes = await hashes_of(ready.inputs) if self._book.persistent else Hashes()
        entry = await self._book.claim(item, digest(item.job, hashes), request.weight, request.model)
        ready = self._named(item, ready, entry)
        files = None
        if entry.state in {"received", "done"} and entry.answer is not None:
            files = await run_blocking(state_of, files_of(entry.answer, self._folder))
        match recovery.next_action(entry, files, self._terms.resume_policy(self._engine)):
            case "send":
                return await self._send(item, ready, entry, granted)
            case "restore":
                return await self._restored(item, ready, entry, granted)
            case "report":
                outcome = recovery.stored_outcome(item, entry, files)
                if entry.state in {"sending", "received"} and outcome.error is not None:
                    await self._book.ended(entry, "unknown", error_record(outcome.error))
                return JobResult(outcome)

    async def _restored(
        self, item: Item, ready: PreparedCall, entry: JobRecord, granted: Callable[[], None]
    ) -> JobResult:
        """Finish what a run before this one has begun, or find that it is finished."""
        assert entry.answer is not None  # noqa: S101 - from received on there is one
        response = response_of(entry.answer, self._folder)
        files = files_of(entry.answer, self._folder)
        if entry.state == "received":
            try:
                response, files = await self._fetched(entry, ready, response, files)
            except DownloadError as error:
                if self._terms.retry_unknown:
                    return await self._send(item, ready, entry, granted)
                return JobResult(
                    Outcome(item.job, entry.id, item.place, "failed", error=error, cost=response.cost)
                )
            await self._finish(entry, response, files)
        cost = response.cost
        return JobResult(
            Outcome(item.job, entry.id, item.place, "done", response=response, cost=cost, resumed=True)
        )

    async def _send(
        self, item: Item, ready: PreparedCall, entry: JobRecord, granted: Callable[[], None]
    ) -> JobResult:
        found = priced(ready.job, list_prices=self._engine.host.uses_list_prices)
        amount = found.at_most or Decimal(0)
        refusal: BudgetExceededError | None = None
        if self._purse.limited and found.at_most is None and self._terms.unknown_price == "stop":
            refusal = unknown_price(found)
        else:
            while (there := self._purse.reserve(amount)) == "wait":
                await self._settled.wait()
            refusal = self._purse.refusal(amount) if there == "no" else None
        if refusal is not None:
            return JobResult(Outcome(item.job, entry.id, item.place, "failed", error=refusal))
        attempts = JobLedger(self._book, entry, self._purse, amount, granted)
        made: JobResult | None = None
        try:
            made = await self._attempted(item, ready, entry, attempts)
            return made
        finally:
            attempts.close(None if made is None else made.outcome.cost)
            self._settled.notify()

    async def _attempted(
        self, item: Item, ready: PreparedCall, entry: JobRecord, ledger: JobLedger
    ) -> JobResult:
        call = attrs.evolve(
            ready.call,
            idempotency_key=entry.idempotency_key,
            ledger=ledger,
            delivery=self._terms.delivery,
            fsync=ready.call.fsync or self._book.persistent,
        )
        ready = attrs.evolve(ready, call=call)
        try:
            result = await self._engine.send(call)
        except JournalError:
            raise
        except (APIError, BudgetExceededError, OSError) as error:
            return await self._failed(item, entry, ledger, error)
        return await self._received(item, ready, entry, ledger, result)

    async def _failed(
        self, item: Item, entry: JobRecord, ledger: JobLedger, error: APIError | BudgetExceededError | OSError
    ) -> JobResult:
        """Say how a job has ended whose answer did not come."""
        status = "unknown" if ledger.maybe_billed else _status(error)
        fatal: Exception | None = None
        if isinstance(error, OSError) and ledger.maybe_billed:  # not of a picture to send: the disk refuses
            fatal = _ending(error)
        try:
            await self._book.ended(entry, status, error_record(error))
        except JournalError as problem:
            fatal = fatal or problem
        outcome = Outcome(item.job, entry.id, item.place, status, error=error, attempts=ledger.count)
        return JobResult(outcome, fatal)

    async def _received(
        self,
        item: Item,
        ready: PreparedCall,
        entry: JobRecord,
        ledger: JobLedger,
        result: Result[ParsedResponse],
    ) -> JobResult:
        """Bring the pictures of an answer to their places."""
        fatal: Exception | None = None
        outcome = Outcome(item.job, entry.id, item.place, "done", attempts=ledger.count)
        response = describe(result, ready, self._engine.host)
        try:
            with anyio.CancelScope(shield=True):
                files = await self._reserved(ready, result)
                try:
                    await self._book.received(entry, response_record(response, files, self._folder))
                except JournalError as problem:
                    fatal = problem  # the pictures are there all the same
                response = await place_images(response, result, ready.names)
            outcome = attrs.evolve(outcome, response=response, cost=response.cost)
            response, files = await self._fetched(entry, ready, response, [])
            if fatal is None:
                await self._finish(entry, response, files)
        except DownloadError as error:
            return JobResult(attrs.evolve(outcome, status="failed", error=error, response=None), fatal)
        except JournalError as problem:
            fatal = problem
        except OSError as error:
            unknown = attrs.evolve(outcome, status="unknown", error=error, response=None)
            return JobResult(unknown, fatal or _ending(error))
        return JobResult(attrs.evolve(outcome, response=response), fatal)

    def _named(self, item: Item, ready: PreparedCall, entry: JobRecord) -> PreparedCall:
        names = ready.names
        if names is not None:
            names = RunNames(
                template=names.template,
                id=slug(item.label, 80) if item.label else entry.id,
                slug=names.slug,
                fsync=names.fsync or self._book.persistent,
                job=item.place,
                taken=self._taken,
            )
        return attrs.evolve(ready, names=names)

    async def _reserved(self, ready: PreparedCall, result: Result[ParsedResponse]) -> list[WrittenFile]:
        """Choose the names of the pictures that came with an answer."""
        names = ready.names
        if not isinstance(names, RunNames):
            return []
        try:
            for index, image in enumerate(result.parsed.images):
                received = None if image.image_ref is None else result.sink.images.get(image.image_ref)
                if received is not None and received.temporary is not None:
                    await names.reserve(index, received)
        except BaseException:
            await discard(result.sink)
            raise
        return list(names.written.values())

    async def _fetched(
        self, entry: JobRecord, ready: PreparedCall, response: ImagesResponse, files: list[WrittenFile]
    ) -> tuple[ImagesResponse, list[WrittenFile]]:
        """Fetch at once what is only a URL so far; return all files, of which these were in place before."""
        names = ready.names
        written = names.written if isinstance(names, RunNames) else {}
        if not all(image.loaded for image in response):
            try:
                response = await fetch_missing(response, names, ready.call, self._context.downloader)
            except DownloadError as error:
                if error.response is not None and written:  # some were fetched, and need not be again
                    record = response_record(error.response, [*files, *written.values()], self._folder)
                    await self._book.received(entry, record)
                raise
        return response, [*files, *written.values()]

    async def _finish(self, entry: JobRecord, response: ImagesResponse, files: list[WrittenFile]) -> None:
        cost = None if response.cost is None else str(response.cost)
        with anyio.CancelScope(shield=True):
            await self._book.done(entry, response_record(response, files, self._folder), cost)


def _status(error: Exception) -> Status:
    if isinstance(error, APIError) and error.maybe_billed:
        return "unknown"
    return "refused" if isinstance(error, _REFUSALS) else "failed"


def _ending(error: OSError) -> OSError:
    """Return the error that ends a run whose pictures cannot be written."""
    what = f"{error.strerror or error}: no further job is begun; the same run goes on from here when there is room"
    return type(error)(error.errno, what, error.filename)

"""Results of one batch, without a run: its lines as outcomes, with their jobs from its input file.

Memory holds one line at a time, and the place of each line of the input file.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import IO

from attrs import define, evolve, field

from imagesdk._calls.batch_lines import LineReader, ReceivedLine
from imagesdk._calls.batch_results import job_of, line_call, result_of
from imagesdk._calls.build import ClientContext, PreparedCall
from imagesdk._calls.file_names import OutputNames
from imagesdk._calls.finish import describe, fetch_missing, place_images
from imagesdk._calls.queries import send_query
from imagesdk._calls.raw import ignore_body
from imagesdk._engine.sink import discard
from imagesdk._media.output import OutputTemplate, check_output, slug
from imagesdk._protocol.batch_rules import fate_of_rest
from imagesdk._protocol.files_api import file_request
from imagesdk._protocol.retry import Failure
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import (
    APIConnectionError,
    APIError,
    DownloadError,
    InvalidRequestError,
    NotFoundError,
    OutcomeUnknownError,
)
from imagesdk.fan_out.outcomes import Outcome, Status
from imagesdk.fan_out.output_files import run_template
from imagesdk.fan_out.worker import status_of
from imagesdk.jobs import Generate, Job
from imagesdk.remedies import Remedy
from imagesdk.reports import Batch

_UNKNOWN_JOB = Generate("")
"""In the place of a job whose line of the input file cannot be read."""


@define(eq=False)
class InputFile:
    """The lines of an input file, in a temporary file on this machine."""

    file: IO[bytes]
    places: dict[str, tuple[int, int]] = field(factory=dict[str, tuple[int, int]])
    """Number and offset of each line, by its ``custom_id``."""

    def job(self, custom_id: str) -> Job:
        """Return the job of a line. Blocks."""
        if custom_id not in self.places:
            return _UNKNOWN_JOB
        self.file.seek(self.places[custom_id][1])
        try:
            return job_of(json.loads(self.file.readline()))
        except (ValueError, TypeError, RecursionError):  # InvalidRequestError is a ValueError
            return _UNKNOWN_JOB

    def index(self) -> None:
        """Find all lines. Blocks."""
        self.file.seek(0)
        offset = number = 0
        for content in self.file:
            try:
                custom_id = json.loads(content)["custom_id"]
            except (ValueError, TypeError, KeyError, RecursionError):
                custom_id = None
            if isinstance(custom_id, str):
                self.places.setdefault(custom_id, (number, offset))
            number, offset = number + bool(content.strip()), offset + len(content)


@define(eq=False)
class BatchResults:
    """Reader of the outcomes of a batch that has ended."""

    context: ClientContext
    batch: Batch
    template: OutputTemplate | None
    inputs: InputFile
    files: list[str]
    """Files of results that were not read yet."""
    stack: AsyncExitStack
    seen: set[str] = field(factory=set[str])
    gone: list[str] = field(factory=list[str])
    """Files of results that could not be fetched."""
    _reader: LineReader | None = None
    _rest: list[str] | None = None

    async def next(self) -> Outcome | None:
        """Return the next outcome, or ``None`` after the last one.

        Raises:
            APIError: If a file cannot be downloaded, except for one that is gone.
            OSError: If an image cannot be written.
        """
        while self._rest is None:
            received = await self._line()
            if received is None:
                self._rest = [each for each in self.inputs.places if each not in self.seen]
                break
            outcome = await self._outcome(received)
            if outcome is not None:
                return outcome
        if not self._rest:
            return None
        return await self._without_line(self._rest.pop(0))

    async def _line(self) -> ReceivedLine | None:
        while True:
            if self._reader is None:
                if not self.files:
                    return None
                folder = None if self.template is None else self.template.temporary_folder
                fsync = self.context.defaults.fsync
                reader = LineReader(self.context, self.files[0], folder, fsync=fsync)
                self._reader = await self.stack.enter_async_context(reader)
            try:
                received = await self._reader.next()
            except NotFoundError:
                self.gone.append(self.files[0])
                received = None
            if received is not None:
                return received
            self.files.pop(0)
            self._reader = None
            await self.stack.aclose()

    async def _outcome(self, received: ReceivedLine) -> Outcome | None:
        """Return the outcome of a line; ``None`` for a repeated one, and for one that cannot be assigned."""
        custom_id = received.line.custom_id
        if custom_id is None or custom_id in self.seen:
            await discard(received.sink)
            return None
        self.seen.add(custom_id)
        place = self.inputs.places.get(custom_id, (len(self.seen) - 1, 0))[0]
        job = await run_blocking(self.inputs.job, custom_id)
        priced = job if job.model is not None else evolve(job, model=self.batch.model)
        prepared = line_call(priced, self.context, self.template)
        result = result_of(received, prepared, self.context)
        if isinstance(result, Failure):
            await discard(received.sink)
            status = status_of(result.error)
            return Outcome(job, custom_id, place, status, error=result.error, attempts=1)
        names = self._names(job, custom_id, place, prepared)
        response = describe(result, prepared, self.context.host)
        cost = response.cost
        try:
            if names is None:
                await discard(result.sink)
            response = await place_images(response, result, names)
            response = await fetch_missing(response, names, prepared.call, self.context.downloader)
        except DownloadError as error:
            return Outcome(job, custom_id, place, "failed", error=error, cost=cost, attempts=1)
        return Outcome(job, custom_id, place, "done", response, None, cost, attempts=1)

    def _names(self, job: Job, custom_id: str, place: int, prepared: PreparedCall) -> OutputNames | None:
        if self.template is None:
            return None
        prompt = getattr(job, "prompt", "")
        return OutputNames(self.template, slug(custom_id, 80), slug(prompt), prepared.call.fsync, place)

    async def _without_line(self, custom_id: str) -> Outcome:
        """Return the outcome of a request that is in no file."""
        place = self.inputs.places[custom_id][0]
        job = await run_blocking(self.inputs.job, custom_id)
        error = rest_error(self.batch, sent=len(self.inputs.places), found=len(self.seen), gone=self.gone)
        status: Status = "unknown" if error.maybe_billed else "failed"
        return Outcome(job, custom_id, place, status, error=error, attempts=1)


def rest_error(batch: Batch, *, sent: int, found: int, gone: list[str]) -> APIError:
    """Return the error of a request that is in no file of a batch."""
    fate = fate_of_rest(batch, sent=sent, found=found, gone=bool(gone))
    if fate == "undone":
        reasons = [f" ({each.code}: {each.message})" for each in batch.problems[:1]]
        what = f"The batch {batch.id} is {batch.status}{''.join(reasons)}"
        return APIConnectionError(f"{what}, and its counts say that this request was not begun.")
    if gone:
        summary = f"The file {gone[0]} with results of the batch {batch.id} is gone."
    elif batch.ended:
        summary = f"The batch {batch.id} is {batch.status}, and no file of it has a result of this request."
    else:
        summary = f"The batch {batch.id} has not ended (status {batch.status})."
    remedies = (Remedy.CHECK_BATCH.of(batch.id),)
    return OutcomeUnknownError(summary, maybe_billed=True, remedies=remedies)


async def template_of(out: str | os.PathLike[str] | None) -> OutputTemplate | None:
    """Parse ``out=``, and check that its folder can be written to.

    Raises:
        InvalidRequestError: If the template gives the images of several jobs the same name.
        OSError: If the folder cannot be written to.
    """
    if out is None:
        return None
    template = run_template(out)
    await run_blocking(check_output, template)
    return template


@asynccontextmanager
async def open_results(
    context: ClientContext, batch: Batch, template: OutputTemplate | None
) -> AsyncGenerator[BatchResults, None]:
    """Fetch the input file of a batch that has ended, and read its results until the block ends.

    Raises:
        InvalidRequestError: If the batch has not ended.
        APIError: If the input file cannot be fetched, unless it is gone.
    """
    if not batch.ended:
        summary = f"The batch {batch.id} has not ended: it is {batch.status}."
        remedies = (Remedy.WAIT_FOR_BATCH.of(batch.id),)
        raise InvalidRequestError(summary, param="batch", value=batch.id, remedies=remedies)
    files = [each for each in (batch.output_file_id, batch.error_file_id) if each is not None]
    async with AsyncExitStack() as stack:
        inputs = InputFile(io.BytesIO())
        if batch.input_file_id is not None:
            inputs = InputFile(await _fetched(context, batch.input_file_id, stack))
            await run_blocking(inputs.index)
        lines = await stack.enter_async_context(AsyncExitStack())
        yield BatchResults(context, batch, template, inputs, files, lines)


async def _fetched(context: ClientContext, file_id: str, stack: AsyncExitStack) -> IO[bytes]:
    """Copy a file of the server to a temporary file, which ``stack`` removes. A file that is gone is empty."""
    request = file_request(file_id, "GET", "/content")
    folder = Path(gettempdir())
    try:
        result = await send_query(
            context.engine, context.defaults, request, ignore_body, None, folder=folder, raw=True
        )
    except NotFoundError:
        return io.BytesIO()
    stack.push_async_callback(discard, result.sink)
    temporary = result.sink.images[0].temporary
    assert temporary is not None  # noqa: S101 - it went to a folder
    return stack.enter_context(await run_blocking(temporary.open, "rb"))

"""Creation of a single batch, without a journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import gettempdir

from imagesdk._calls.batch_calls import BatchCalls, new_intent
from imagesdk._calls.build import ClientContext, build_call
from imagesdk._protocol.batch_api import check_host, check_options
from imagesdk._protocol.batch_input import BatchLine, ShardLimits, check_batchable
from imagesdk.errors import InvalidRequestError
from imagesdk.fan_out.batch_inputs import ImageUploads, InputWriter, line_of
from imagesdk.fan_out.fingerprint import digest, name_of
from imagesdk.fan_out.job_source import Item, JobReader
from imagesdk.fan_out.outcomes import Jobs
from imagesdk.fan_out.output_files import hashes_of
from imagesdk.jobs import Generate
from imagesdk.policies import Timeouts
from imagesdk.remedies import Remedy
from imagesdk.reports import Batch


async def create_batch(
    context: ClientContext,
    jobs: Jobs,
    defaults: Generate | None,
    *,
    metadata: Mapping[str, str] | None,
    output_expires_after: int | None,
    max_output_bytes: int,
    timeout: float | Timeouts | None,
) -> Batch:
    """Create one batch of jobs. ``client.batches.create`` documents it."""
    check_host(context.host)
    check_options(metadata, output_expires_after)
    if type(max_output_bytes) is not int or max_output_bytes < 1:
        allowed = "a whole number of at least 1"
        raise InvalidRequestError.for_parameter("max_output_bytes", max_output_bytes, allowed=allowed)
    calls = BatchCalls(context, timeout)
    uploads, reader = ImageUploads(calls), JobReader(jobs, defaults)
    writer = InputWriter.of(Path(gettempdir()), "", ShardLimits(output_bytes=max_output_bytes))
    names, kinds = set[str](), set[tuple[str, str | None]]()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(writer.discard)
        stack.push_async_callback(reader.aclose)
        while (item := await reader.next()) is not None:
            line = await _line(item, context, uploads, names)
            kinds.add(line.kind)
            _check(writer, line, kinds)
            await writer.add(line)
        if not kinds:
            raise InvalidRequestError("A batch needs at least one job.", param="jobs")
        [(endpoint, _)] = kinds
        file = await calls.upload_input(await writer.finish())
        return await calls.create(
            new_intent(),
            file.id,
            endpoint,
            metadata or {},
            began=time.time(),
            output_expires_after=output_expires_after,
        )


async def _line(item: Item, context: ClientContext, uploads: ImageUploads, names: set[str]) -> BatchLine:
    if item.problem is not None:
        raise item.problem
    check_batchable(item.job)
    async with build_call(item.job, {}, context) as prepared:
        hashes = await hashes_of(prepared.inputs)
        name, occurrence = item.label, 0
        content = digest(item.job, hashes)
        while name is None or (item.label is None and name in names):
            name, occurrence = name_of(content, occurrence), occurrence + 1
        if name in names:
            raise InvalidRequestError.for_parameter("id", name, allowed="each id once")
        names.add(name)
        return await line_of(prepared, name, hashes, uploads)


def _check(writer: InputWriter, line: BatchLine, kinds: set[tuple[str, str | None]]) -> None:
    """Raise if the jobs do not fit into one batch."""
    shard, limits = writer.shard, writer.shard.limits
    if len(kinds) > 1:
        summary = "A batch has one model, and only generations or only edits."
        raise InvalidRequestError(summary, param="jobs", remedies=(Remedy.USE_FAN_OUT,))
    if not shard.takes(line):
        summary = (
            f"The jobs do not fit into one batch: after {shard.lines} of them, it has {shard.input_bytes} bytes of input "
            f"and expects {shard.output_bytes} bytes of results. A batch takes {limits.lines} jobs, {limits.input_bytes} "
            f"bytes of input, and here {limits.output_bytes} bytes of results."
        )
        raise InvalidRequestError(summary, param="jobs", remedies=(Remedy.USE_FAN_OUT,))

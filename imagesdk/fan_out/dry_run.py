"""Prediction of a run: counts, cost and time, without sending or writing anything."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from attrs import evolve

from imagesdk._calls.build import ClientContext, build_call
from imagesdk._protocol.batch_input import check_batchable
from imagesdk._protocol.requests import Request
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ImageSDKError, JournalError
from imagesdk.fan_out.fingerprint import Hashes, digest
from imagesdk.fan_out.job_source import ODD_VALUES, Item, JobReader, odd_value
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.outcomes import DryRun
from imagesdk.fan_out.output_files import hashes_of, state_as_is
from imagesdk.fan_out.resume import next_action
from imagesdk.fan_out.serialization import files_of
from imagesdk.fan_out.spending import notice_of, priced
from imagesdk.fan_out.store import JobStore
from imagesdk.jobs import Job, Variation
from imagesdk.policies import RateLimit
from imagesdk.pricing import Estimate

_PROBLEMS = 20


async def dry_run(reader: JobReader, context: ClientContext, store: JobStore, options: RunOptions) -> DryRun:
    """Read and check all jobs."""
    found = DryRun(jobs=0, sent=0, images=0, resumed=0, refused=0, cost=Decimal(0), at_most=Decimal(0))
    images = Counter[str | None]()  # by model, because each model has its own rate limit
    while (item := await reader.next()) is not None:
        found = evolve(found, jobs=found.jobs + 1)
        try:
            call = await _call_to_send(item, context, store, options)
        except JournalError:
            raise
        except (ImageSDKError, OSError, *ODD_VALUES) as problem:
            error = problem if isinstance(problem, (ImageSDKError, OSError)) else odd_value(problem)
            problems = (*found.problems, (item.place, error))[:_PROBLEMS]
            found = evolve(found, refused=found.refused + 1, problems=problems)
            continue
        if call is None:
            found = evolve(found, resumed=found.resumed + 1)
            continue
        request, job, price = call
        images[request.model] += request.weight
        notice = None if found.notices else notice_of(job, price)
        found = evolve(
            found,
            sent=found.sent + 1,
            unpriced=found.unpriced + (price.at_most is None),
            cost=_sum(found.cost, price.cost),
            at_most=_sum(found.at_most, price.at_most),
            notices=found.notices if notice is None else (notice,),
        )
    limit_for = context.engine.limit_for
    waits = (seconds_under(limit_for(model), count) for model, count in images.items())
    seconds = max((wait for wait in waits if wait is not None), default=None)
    if options.lane != "live":
        seconds = None
    return evolve(found, images=images.total(), seconds=seconds)


async def _call_to_send(
    item: Item, context: ClientContext, store: JobStore, options: RunOptions
) -> tuple[Request, Job, Estimate] | None:
    """Return the request that a job would send, the job and its price; ``None`` if the job would not be sent."""
    if item.problem is not None:
        raise item.problem
    if options.lane == "batch":
        check_batchable(item.job)
    async with build_call(item.job, {}, context) as prepared:
        request = prepared.call.request
        hashes = await hashes_of(prepared.inputs) if store.persistent else Hashes()
        record = await store.claim(item, digest(item.job, hashes), request.weight, request.model)
    files = None
    if record.response is not None:
        files = await run_blocking(state_as_is, files_of(record.response, store.folder))
    if next_action(record, files, options.resume_policy(context.engine)) != "send":
        return None
    return request, prepared.job, _priced(prepared.job, context, options)


def _priced(job: Job, context: ClientContext, options: RunOptions) -> Estimate:
    """Estimate the price of a job on its lane. On ``"auto"`` it may go live, which costs more."""
    list_prices = context.host.uses_list_prices
    live = priced(job, list_prices=list_prices)
    if options.lane == "live" or isinstance(job, Variation):
        return live
    batch = priced(job, list_prices=list_prices, batch=True)
    return batch if options.lane == "batch" else evolve(batch, at_most=live.at_most)


def _sum(total: Decimal | None, amount: Decimal | None) -> Decimal | None:
    return None if total is None or amount is None else total + amount


def seconds_under(limit: RateLimit | None, images: int) -> float | None:
    """Return how long the last of ``images`` requests for one image each waits for the rate limit."""
    return None if limit is None else max(0, images - 1) // limit.images * limit.per

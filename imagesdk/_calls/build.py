"""Jobs to calls: options, a pure plan, open input files, and a pure request. Nothing is sent from here."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from importlib import import_module
from pathlib import Path

import anyio
from attrs import Factory, evolve, field, frozen

from imagesdk import models
from imagesdk._calls.call_options import CallSettings
from imagesdk._calls.client_options import CallDefaults
from imagesdk._calls.file_names import OutputNames
from imagesdk._calls.retirement import warn_if_retired
from imagesdk._engine.call import Call, total_tokens
from imagesdk._engine.download import Downloader
from imagesdk._engine.engine import Engine
from imagesdk._media.output import OutputTemplate, open_output, slug
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.image_checks import check_images
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.requests import RequestPlan, build_request, plan_request, sources
from imagesdk._protocol.responses import ParsedResponse, parse_response
from imagesdk._runtime.threads import nothing_sent, run_blocking
from imagesdk.errors import APITimeoutError
from imagesdk.jobs import CallOptions, Edit, Generate, Job, Variation
from imagesdk.models import ModelProfile
from imagesdk.policies import SharedStore
from imagesdk.pricing import cost
from imagesdk.remedies import Remedy


@frozen
class ClientContext:
    """The parts of one client, or of a view of it, that every call uses."""

    engine: Engine
    downloader: Downloader
    defaults: CallDefaults
    shared: SharedStore | None = None
    """Store that processes share."""
    host: Host = field(init=False, default=Factory(lambda self: self.engine.host, takes_self=True))


@frozen
class PreparedCall:
    """A job that is ready to be sent."""

    job: Job
    """The job, with its model filled in."""
    call: Call[ParsedResponse]
    inputs: InputImages
    """The images that the request sends."""
    names: OutputNames | None
    """Names of the files to write; ``None`` without ``out=``, and in a run."""
    batch: bool = False
    """Whether the request is part of a batch, which has a price of its own."""


@asynccontextmanager
async def build_call(
    job: Job,
    options: CallOptions,
    context: ClientContext,
    *,
    template: OutputTemplate | None = None,
    stream: bool = False,
) -> AsyncGenerator[PreparedCall, None]:
    """Validate a job and turn it into a call. The ``template`` of a run replaces ``out=`` of ``options``."""
    settings = CallSettings.from_options(options, context.defaults)
    out = None if template is not None else options.get("out")
    writes_files = template is not None or out is not None
    plan = plan_request(job, context.host, check=settings.check, writes_files=writes_files, stream=stream)
    warn_if_retired(plan)
    async with _open_inputs(plan, settings) as inputs:
        if plan.rules is not None:
            check_images(plan.job, inputs, plan.rules)
        body = settings.extra_body
        with nothing_sent("to build the request"):
            request = build_request(plan.job, inputs, extra_body=body, stream=stream, host=plan.host)
        # extra_body may name another model than the job does.
        profile = models.lookup(request.model) if "model" in (body or {}) else plan.profile
        if template is not None:
            template.check_count(request.weight)
        call = Call(
            request,
            parse=partial(parse_response, profile=profile),
            timeouts=settings.timeouts,
            deadline=settings.deadline,
            idempotency_key=settings.idempotency_key,
            headers=settings.headers,
            query=settings.query,
            folder=template.temporary_folder if template else None,
            fsync=settings.fsync,
            tokens=total_tokens,
            profile=profile,
            job=plan.job,
            price=partial(price_of, profile, plan.job, plan.host),
        )
        names = None
        if out is not None:
            open_out = partial(open_output, out, n=request.weight, job_id=call.id, slug=_slug(job))
            opened = await run_blocking(open_out)
            call = evolve(call, folder=opened.temporary_folder)
            names = OutputNames(opened, call.id, _slug(job), call.fsync)
        yield PreparedCall(plan.job, call, inputs, names)


def price_of(
    profile: ModelProfile | None, job: Job, host: Host, parsed: ParsedResponse, *, batch: bool = False
) -> Decimal | None:
    """Return the cost of a response in US dollars; ``None`` if it is unknown."""
    return cost(
        profile,
        images=len(parsed.images),
        size=job.size,
        usage=parsed.usage,
        quality=getattr(job, "quality", None),
        svg=parsed.svg_usage is not None
        or "svg" in {parsed.output_format, getattr(job, "output_format", None)},
        list_price=host.uses_list_prices,
        batch=batch,
    )


def _slug(job: Job) -> str:
    return slug("variation" if isinstance(job, Variation) else job.prompt)


async def load_sources() -> None:
    """Import ``_calls.sources`` in a thread: it takes 3 ms, which neither the first client nor the loop should spend."""
    if (name := "imagesdk._calls.sources") not in sys.modules:
        await run_blocking(import_module, name)


@asynccontextmanager
async def _open_inputs(plan: RequestPlan, settings: CallSettings) -> AsyncGenerator[InputImages, None]:
    if isinstance(plan.job, Generate):
        yield InputImages()
        return
    await load_sources()
    from imagesdk._calls.sources import open_inputs
    from imagesdk._media.source_text import MissingFileError

    async with AsyncExitStack() as stack:
        opening = open_inputs(sources(plan.job), check_transparency=plan.rules is not None)
        try:
            with nothing_sent("to read the images"), anyio.fail_after(settings.timeouts.total):
                inputs = await stack.enter_async_context(opening)
        except MissingFileError as error:
            if isinstance(plan.job, Edit) and error.param == "image" and not Path(error.filename).suffix:
                error.remedies = (Remedy.PASS_IMAGE_FIRST,)
            raise
        except TimeoutError:
            summary = "The images could not be read in time. Nothing was sent."
            raise APITimeoutError(summary, idempotency_key=settings.idempotency_key) from None
        yield inputs

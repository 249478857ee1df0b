"""From a job and a caller's options to a call that the engine can make: every check, pictures in, names of files.

Nothing is sent from here. Whatever is opened is closed when the block is left.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from urllib.parse import urlencode

import anyio
import attrs
from attrs import frozen

from imagesdk import models
from imagesdk._calls.client_options import TIMEOUT, preview
from imagesdk._calls.file_names import OutputNames
from imagesdk._calls.retirement import warn_if_retired
from imagesdk._calls.sources import open_inputs
from imagesdk._engine.call import Call
from imagesdk._engine.download import Downloader
from imagesdk._engine.engine import Engine
from imagesdk._media.output import OutputTemplate, check_writable, slug
from imagesdk._protocol import image_checks as picture_checks
from imagesdk._protocol import parameter_checks as checks
from imagesdk._protocol import requests
from imagesdk._protocol.hosts import Host, validate_headers
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.parameter_checks import refused
from imagesdk._protocol.responses import ParsedResponse, parse_response
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import APITimeoutError, InvalidRequestError
from imagesdk.jobs import CallOptions, Generate, Job, Variation, check_job
from imagesdk.policies import Timeouts, is_positive

_OPTIONS = frozenset(CallOptions.__annotations__)
_MAPPINGS = ("extra_headers", "extra_query", "extra_body")
_ELSEWHERE = {
    "max_retries": "retries are a policy of the client: AsyncClient(retry=RetryPolicy(max_attempts=...))",
    "stream": "this method returns whole pictures; images.generate_stream and images.edit_stream show them while they "
    "are made",
}


@frozen
class CallDefaults:
    """What the client says where a call says nothing."""

    timeouts: Timeouts
    check: bool
    fsync: bool


@frozen
class ClientContext:
    """Shared state of the calls of one client."""

    engine: Engine
    downloader: Downloader
    defaults: CallDefaults

    @property
    def host(self) -> Host:
        """The server that the client is for."""
        return self.engine.host


@frozen
class PreparedCall:
    """A job that can be sent."""

    job: Job
    """With the model that is named for it."""
    call: Call[ParsedResponse]
    inputs: InputImages
    """What it sends."""
    names: OutputNames | None
    """What its files are called; ``None`` without ``out=``."""


@asynccontextmanager
async def build_call(
    job: Job,
    options: CallOptions,
    context: ClientContext,
    *,
    template: OutputTemplate | None = None,
    stream: bool = False,
) -> AsyncGenerator[PreparedCall, None]:
    """Check a job and make it ready; what its pictures need is kept open until the block is left.

    Raises:
        InvalidRequestError: something breaks a rule of the model.
        APITimeoutError: the pictures could not be read in time.
        OSError: a file cannot be read, or the folder of ``out=`` not written to.
    """
    host, defaults = context.engine.host, context.defaults
    _check_options(options)
    check_job(job)
    out = options.get("out")
    job = requests.resolve_job(job, host, has_out=out is not None or template is not None)
    profile = models.lookup(host.resolve_model(job.model))
    warn_if_retired(job, host)
    asked = options.get("check")
    checked = defaults.check if asked is None else asked
    checks.check_shape(job)
    if checked and profile is not None:
        checks.check_parameters(job, profile, stream=stream)
    headers = validate_headers((options.get("extra_headers") or {}).items())
    check_query(options.get("extra_query"), "extra_query")
    timeouts = timeouts_of(defaults, options.get("timeout"))
    deadline = deadline_of(timeouts)
    key = idempotency_key_of(options.get("idempotency_key"))
    async with AsyncExitStack() as stack:
        pictures = InputImages()
        if not isinstance(job, Generate):
            pictures = await _open(
                job, stack, timeouts, key, check_transparency=checked and profile is not None
            )
        if checked and profile is not None:
            picture_checks.check_images(job, pictures, profile)
        request = requests.build_request(
            job,
            pictures,
            boundary="" if isinstance(job, Generate) else f"imagesdk-{uuid.uuid4().hex}",
            extra_body=options.get("extra_body"),
            stream=stream,
            host=host,
        )
        if "model" in (options.get("extra_body") or {}):
            profile = models.lookup(request.model)
        if template is not None:
            template.check_count(request.weight)
        destination = template or await _destination(out, request.weight)
        call = Call(
            request,
            parse=lambda document: parse_response(document, profile),
            timeouts=timeouts,
            deadline=deadline,
            idempotency_key=key,
            headers=tuple(headers),
            query=options.get("extra_query"),
            folder=destination.folder if destination else None,
            fsync=defaults.fsync,
            tokens=lambda parsed: parsed.usage.total_tokens if parsed.usage else None,
            profile=profile,
            server=host,
        )
        text = "variation" if isinstance(job, Variation) else job.prompt
        names = None
        if destination is not None and template is None:
            names = OutputNames(destination, call.id, slug(text), call.fsync)
        yield PreparedCall(job, call, pictures, names)


async def _open(
    job: Job, stack: AsyncExitStack, timeouts: Timeouts, key: str, *, check_transparency: bool
) -> InputImages:
    try:
        with anyio.fail_after(timeouts.total):
            return await stack.enter_async_context(
                open_inputs(requests.sources(job), check_transparency=check_transparency)
            )
    except TimeoutError:
        raise APITimeoutError(
            "The pictures could not be read in time. Nothing was sent.", idempotency_key=key
        ) from None


async def _destination(out: str | os.PathLike[str] | None, n: int) -> OutputTemplate | None:
    if out is None:
        return None
    return await run_blocking(_prepared, out, n)


def _prepared(out: str | os.PathLike[str], n: int) -> OutputTemplate:
    destination = OutputTemplate.parse(out, n=n)
    check_writable(destination.folder, destination.template)
    return destination


def timeouts_of(defaults: CallDefaults, timeout: float | Timeouts | None) -> Timeouts:
    """Return the time-outs of a call that was given this one.

    Raises:
        InvalidRequestError: it is neither a time in seconds nor :class:`Timeouts`.
    """
    if timeout is None or isinstance(timeout, Timeouts):
        return timeout or defaults.timeouts
    if not is_positive(timeout):
        raise InvalidRequestError(
            f"timeout must be {TIMEOUT}, not {preview(timeout)}.",
            param="timeout",
            value=timeout,
            allowed=TIMEOUT,
        )
    return attrs.evolve(defaults.timeouts, total=timeout)


def deadline_of(timeouts: Timeouts) -> float | None:
    """Return the end of the total time of a call that begins now."""
    return None if timeouts.total is None else time.monotonic() + timeouts.total


def idempotency_key_of(given: str | None) -> str:
    """Return the key of a call that was given this one.

    Raises:
        InvalidRequestError: it cannot be sent.
    """
    if given is None:
        return f"imagesdk-{uuid.uuid4()}"
    if (
        not isinstance(cast("object", given), str)
        or not given
        or len(given) > 255
        or not (given.isascii() and given.isprintable())
        or given != given.strip()
    ):
        raise InvalidRequestError(
            "idempotency_key must be 1 to 255 printable ASCII characters without space around them.",
            param="idempotency_key",
            value=given,
        )
    return given


def check_query(query: Mapping[str, str] | None, param: str) -> None:
    """Refuse a query that cannot be put into a URL.

    Raises:
        InvalidRequestError: it cannot.
    """
    try:
        urlencode(query or {})
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{param} cannot be put into a URL: {error}.", param=param) from None


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _ELSEWHERE:
            raise TypeError(f"{name}= is not an option of a call here: {_ELSEWHERE[name]}.")
        if name not in _OPTIONS:
            raise TypeError(
                f"there is no parameter {name}=; one that the server knows and this version does not goes into "
                f"extra_body={{{name!r}: ...}}."
            )
    for name in _MAPPINGS:
        if not isinstance(given := options.get(name), (Mapping, type(None))):
            raise refused(name, given, "a mapping, or None")
    if not isinstance(given := options.get("check"), (bool, type(None))):
        raise refused("check", given, "True, False or None")

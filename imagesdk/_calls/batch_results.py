"""Lines of a batch as results of calls: the same responses, prices and errors as those of a live call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from imagesdk import models
from imagesdk._calls.batch_lines import ReceivedLine
from imagesdk._calls.build import ClientContext, PreparedCall
from imagesdk._calls.call_options import new_idempotency_key
from imagesdk._engine.call import Call, Result
from imagesdk._media.output import OutputTemplate
from imagesdk._protocol.batch_output import line_result
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.json_values import is_list, is_object
from imagesdk._protocol.requests import Request, plan_request
from imagesdk._protocol.responses import ParsedResponse, parse_response
from imagesdk._protocol.retry import Failure
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job
from imagesdk.types import FileId


def line_call(
    job: Job,
    context: ClientContext,
    template: OutputTemplate | None,
    *,
    owner: str = "",
    idempotency_key: str | None = None,
    fsync: bool = False,
) -> PreparedCall:
    """Return a call for the line of a job. It has all that its response needs, but no body."""
    plan = plan_request(job, context.host, check=False, writes_files=template is not None)
    images = job.n if type(job.n) is int and job.n > 0 else 1
    profile = plan.profile or models.lookup(context.host.resolve_model(plan.job.model))
    call = Call(
        Request(f"/images/{job.endpoint}", images, plan.job.model, b""),
        parse=partial(parse_response, profile=profile),
        timeouts=context.defaults.timeouts,
        idempotency_key=idempotency_key or new_idempotency_key(),
        folder=None if template is None else template.temporary_folder,
        owner=owner,
        fsync=fsync or context.defaults.fsync,
        profile=profile,
    )
    return PreparedCall(plan.job, call, InputImages(), None, batch=True)


def result_of(
    received: ReceivedLine, prepared: PreparedCall, context: ClientContext
) -> Result[ParsedResponse] | Failure:
    """Return the result of a line as that of a call. The images of a failure stay the caller's to discard."""
    request = prepared.call.request
    found = line_result(
        received.line,
        profile=prepared.call.profile,
        now=datetime.now(UTC),
        images=request.weight,
        model=request.model,
        path=request.path,
        is_openai=context.host.is_openai,
    )
    if isinstance(found, Failure):
        found.error.attempts = 1
        found.error.idempotency_key = prepared.call.idempotency_key
        return found
    request_id = received.line.request_id
    headers = {} if request_id is None else {"x-request-id": request_id}
    return Result(found, headers, received.sink, 1, False, received.line.status or 200)


def job_of(line: Any) -> Job:
    """Return the job of a line of an input file, as far as this version knows its fields.

    Raises:
        InvalidRequestError: If the line is not a request for images.
    """
    body = line.get("body") if is_object(line) else None
    url = line.get("url") if is_object(line) else None
    if not is_object(body) or not isinstance(url, str) or not isinstance(body.get("prompt"), str):
        raise InvalidRequestError("The line of the input file is not a request for images.")
    if url.endswith("/edits"):
        return Edit(**_known(Edit, body), **_images(body))
    return Generate(**_known(Generate, body))


def _known(kind: type[Generate | Edit], body: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in attrs.fields(kind)} - {"image", "mask", "markup"}
    return {name: value for name, value in body.items() if name in names}


def _images(body: Mapping[str, Any]) -> dict[str, Any]:
    images = body.get("images")
    found: dict[str, Any] = {"image": [_image(each) for each in images] if is_list(images) else []}
    return found | {name: _image(body[name]) for name in ("mask", "markup") if name in body}


def _image(value: Any) -> FileId | str:
    if is_object(value) and isinstance(value.get("file_id"), str):
        return FileId(value["file_id"])
    return str(value.get("image_url", "")) if is_object(value) else str(value)

"""Conversion of a job to a request: the model, the path and the encoded body.

Pure functions. They encode parameters without checking them against a model; :mod:`.parameter_checks` and
:mod:`.image_checks` do that.

=====================================================  ==============
job                                                    body
=====================================================  ==============
generate                                               JSON
edit with a URL, a file id or ``moderation``           JSON
any other edit, and every variation                    form
=====================================================  ==============
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import attrs
from attrs import frozen

from imagesdk import models
from imagesdk._media.upload import as_list
from imagesdk._protocol.bodies import BodySegment, FormBody, FormField, JsonBody, json_body, needs_json
from imagesdk._protocol.hosts import CLIENT_REQUEST_ID, OPENAI_BASE_URL, Host
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk._protocol.json_values import dump_json
from imagesdk._protocol.parameter_checks import (
    IMAGE_PARAMETERS,
    check_kinds,
    check_parameters,
    check_shape,
    check_text,
)
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation, check_job
from imagesdk.models import ModelProfile
from imagesdk.remedies import Remedy
from imagesdk.types import Upload

Value: TypeAlias = "str | int | float | bool | Mapping[str, Any] | Sequence[Any] | None"

_OPENAI = Host(OPENAI_BASE_URL)


@frozen
class Request:
    """An encoded request, without the server's address and the key."""

    path: str
    weight: int
    """The number of images that it asks for, which the rate limit counts."""
    model: str | None
    content: bytes | FormBody | JsonBody
    method: str = "POST"
    costs: bool | None = None
    """Whether sending it twice may cost twice; ``None``: it costs if it asks for images."""

    @property
    def content_type(self) -> str | None:
        """The value of the ``content-type`` header; ``None`` for a request without a body."""
        if isinstance(self.content, bytes):
            return "application/json" if self.content else None
        return self.content.content_type

    @property
    def boundary(self) -> bytes | None:
        """The text that no file of a form may contain; ``None`` for another body."""
        return self.content.boundary.encode() if isinstance(self.content, FormBody) else None

    @property
    def billed(self) -> bool:
        """Whether sending it twice may cost twice."""
        return self.weight > 0 if self.costs is None else self.costs

    @property
    def length(self) -> int:
        """The length of the body in bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.length

    def segments(self) -> Iterable[BodySegment]:
        """Return the parts of the body in order."""
        return (self.content,) if isinstance(self.content, bytes) else self.content.segments()


@frozen
class RequestPlan:
    """A checked job, and the facts about its model."""

    job: Job
    host: Host
    profile: ModelProfile | None
    rules: ModelProfile | None
    """The profile whose rules the job must keep; ``None`` where nothing is checked."""


def plan_request(
    job: Job, host: Host, *, check: bool, writes_files: bool = False, stream: bool = False
) -> RequestPlan:
    """Fill in the model of a job, and ``response_format`` if it writes files. Check its parameters."""
    check_job(job)
    if job.model is None and (model := host.default_model(job)):
        job = attrs.evolve(job, model=model)
    profile = models.lookup(host.resolve_model(job.model))
    if writes_files and job.response_format is None and profile is not None and profile.response_formats:
        job = attrs.evolve(job, response_format="b64_json")
    check_shape(job)
    rules = profile if check else None
    if rules is not None:
        check_parameters(job, rules, stream=stream)
    check_kinds(job)
    return RequestPlan(job, host, profile, rules)


def build_request(
    job: Job,
    images: InputImages,
    *,
    extra_body: Mapping[str, Any] | None,
    stream: bool = False,
    host: Host = _OPENAI,
) -> Request:
    """Encode a job. ``extra_body`` replaces fields of the job, and ``None`` as a value removes a field."""
    fields: dict[str, Any] = {k: v for k, v in job.parameters().items() if k not in IMAGE_PARAMETERS}
    route = host.route(f"/images/{job.endpoint}", job.model)
    if not route.in_body:
        fields.pop("model", None)
    elif route.model is not None:
        fields["model"] = route.model
    if stream:
        fields["stream"] = True
    for name, value in (extra_body or {}).items():
        fields.pop(name, None)
        if value is not None:
            fields[name] = value
    path, weight = route.path, _weight(fields.get("n"))
    model = fields.get("model", None if route.in_body else route.model)
    if isinstance(job, Generate):
        return Request(path, weight, model, _json(fields, extra_body))
    if needs_json(job, images):
        content = json_body(_json(fields, extra_body), images, without=frozenset(extra_body or ()))
        return Request(path, weight, model, content)
    name = "image[]" if isinstance(job, Edit) and as_list(job.image) is not None else "image"
    parts = [FormField(name, _require_upload("image", image)) for image in images.images]
    for name, overlay in (("mask", images.mask), ("markup", images.markup)):
        if overlay is not None:
            parts.append(FormField(name, _require_upload(name, overlay)))
    for key, value in fields.items():
        parts += [FormField(name, text) for name, text in _form_fields(key, value)]
    return Request(path, weight, model, FormBody(tuple(parts)))


def request_headers(
    request: Request,
    *,
    accept: str,
    user_agent: str,
    idempotency: tuple[str, str],
    client_headers: Mapping[str, str],
    call_headers: Iterable[tuple[str, str]],
    auth: Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request, without the host. Names of given headers are in lower case, and later ones win."""
    name, key = idempotency
    headers = {
        "accept": accept,
        "accept-encoding": "identity",
        "user-agent": user_agent,
        CLIENT_REQUEST_ID: key,
        **client_headers,
        name.lower(): key,
    }
    if request.content_type:
        headers["content-type"] = request.content_type
    if request.method != "GET" or request.length:
        headers["content-length"] = str(request.length)
    headers.update(call_headers)
    headers.update(auth)
    return tuple(headers.items())


@frozen
class Sources:
    """The images of a job as the caller passed them."""

    images: tuple[Any, ...] = ()
    mask: Any = None
    markup: Any = None


def sources(job: Job) -> Sources:
    """Return the images of a job as the caller passed them. Refuse an edit with an empty list of images."""
    if isinstance(job, Generate):
        return Sources()
    if isinstance(job, Variation):
        return Sources((job.image,))
    images = as_list(job.image)
    if images is not None and not images:
        raise InvalidRequestError.for_parameter("image", [], allowed="at least one image")
    return Sources((job.image,) if images is None else images, job.mask, job.markup)


def _json(fields: Mapping[str, Any], extra_body: Mapping[str, Any] | None) -> bytes:
    try:
        return dump_json(fields)
    except ValueError as error:
        culprit = next((name for name, value in fields.items() if not _is_json_value(value)), "")
        param = culprit if culprit and culprit not in (extra_body or {}) else "extra_body"
        raise InvalidRequestError(
            f"{param} cannot be written as JSON: {error}.", param=param, allowed="values that JSON has"
        ) from None


def _is_json_value(value: object) -> bool:
    with suppress(ValueError):
        return bool(dump_json(value))
    return False


def _require_upload(param: str, image: InputImage) -> Upload:
    if isinstance(image, RemoteImage):
        raise InvalidRequestError(
            f"{param} is {image.name}, and this request can only hold files.",
            param=param,
            value=image.name,
            allowed="a path, bytes or a file",
            remedies=(Remedy.DOWNLOAD_IMAGE if image.url else Remedy.PASS_IMAGE,),
        )
    return image


def _weight(n: object) -> int:
    if isinstance(n, str) and n.isdecimal():
        n = int(n)
    return n if type(n) is int and n > 0 else 1


def _form_fields(name: str, value: Value) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _form_fields(f"{name}[{key}]", item)]
    if isinstance(value, (list, tuple)):
        return [pair for item in value for pair in _form_fields(f"{name}[]", item)]
    if value is None:
        return []
    return [(name, str(value).lower() if isinstance(value, bool) else check_text(name, str(value)))]

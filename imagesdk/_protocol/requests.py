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
from typing import Any, TypeAlias

import attrs
from attrs import frozen

from imagesdk import models
from imagesdk._media.upload import as_list
from imagesdk._protocol.bodies import BodySegment, FormBody, FormField, JsonBody, json_body, needs_json
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk._protocol.json_values import dump_json
from imagesdk._protocol.parameter_checks import IMAGE_PARAMETERS, check_text
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.remedies import Remedy
from imagesdk.types import Upload

Value: TypeAlias = "str | int | float | bool | Mapping[str, Any] | Sequence[Any] | None"

_OPENAI = Host(OPENAI_BASE_URL)


@frozen
class Request:
    """An encoded request, without the server's address and the key."""

    path: str
    weight: int
    """The number of images that it asks for. The rate limit counts them."""
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


def resolve_job(job: Job, host: Host, *, has_out: bool) -> Job:
    """Fill in the defaults of a job: the host's model, and base64 if the images go to files."""
    if job.model is None and (model := host.default_model(job)):
        job = attrs.evolve(job, model=model)
    if (
        has_out
        and job.response_format is None
        and (profile := models.lookup(host.resolve_model(job.model)))
        and profile.response_formats
    ):
        job = attrs.evolve(job, response_format="b64_json")
    return job


def build_request(
    job: Job,
    images: InputImages,
    *,
    boundary: str,
    extra_body: Mapping[str, Any] | None,
    stream: bool = False,
    host: Host = _OPENAI,
) -> Request:
    """Encode a job.

    Args:
        job: The job. Parameters that are ``None`` are not sent.
        images: The images of the job.
        boundary: The separator of the parts of a form.
        extra_body: Fields that replace those of the job. ``None`` as a value removes a field.
        stream: Whether to request a stream.
        host: The server.

    Raises:
        InvalidRequestError: If a form needs a file but gets a URL or a file id, if a field is not JSON, or if no
            deployment is named.
    """
    fields: dict[str, Any] = {
        name: value for name, value in job.parameters().items() if name not in IMAGE_PARAMETERS
    }
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
    several = isinstance(job, Edit) and as_list(job.image) is not None
    parts = [
        FormField("image[]" if several else "image", _require_upload("image", image))
        for image in images.images
    ]
    if images.mask is not None:
        parts.append(FormField("mask", _require_upload("mask", images.mask)))
    if images.markup is not None:
        parts.append(FormField("markup", _require_upload("markup", images.markup)))
    parts += [
        FormField(name, text) for key, value in fields.items() for name, text in _form_fields(key, value)
    ]
    return Request(path, weight, model, FormBody(tuple(parts), boundary))


@frozen
class Sources:
    """The images of a job as the caller passed them."""

    images: tuple[Any, ...] = ()
    mask: Any = None
    markup: Any = None


def sources(job: Job) -> Sources:
    """Return the images of a job as the caller passed them.

    Raises:
        InvalidRequestError: If an edit has an empty list of images.
    """
    if isinstance(job, Generate):
        return Sources()
    if isinstance(job, Variation):
        return Sources((job.image,))
    images = as_list(job.image)
    if images is None:
        return Sources((job.image,), job.mask, job.markup)
    if not images:
        raise InvalidRequestError.for_parameter("image", [], allowed="at least one image")
    return Sources(images, job.mask, job.markup)


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
    try:
        dump_json(value)
    except ValueError:
        return False
    return True


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
    count = int(n) if isinstance(n, str) and n.isdecimal() else n
    return count if type(count) is int and count > 0 else 1


def _form_fields(name: str, value: Value) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _form_fields(f"{name}[{key}]", item)]
    if isinstance(value, (list, tuple)):
        return [pair for item in value for pair in _form_fields(f"{name}[]", item)]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    if value is None:
        return []
    return [(name, check_text(name, str(value)))]

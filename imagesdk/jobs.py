"""Requests as values: :class:`Generate`, :class:`Edit` and :class:`Variation`.

The methods of ``client.images`` take the same parameters and build these values. A job is independent of any client:
compare it, keep it in a list, pass it to ``client.images.send(job)``. A parameter of ``None`` is not sent, so that the
default of the server applies. The rules of each model are in :mod:`imagesdk.models`. They are checked before a request.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, TypedDict

from attrs import asdict, field, frozen

from imagesdk.errors import InvalidRequestError
from imagesdk.policies import Timeouts
from imagesdk.types import Source

__all__ = ["CallOptions", "Edit", "Generate", "Job", "Svg", "SvgReasoning", "Variation"]

Size: TypeAlias = (
    Literal["256x256", "512x512", "1024x1024", "1792x1024", "1024x1792", "1536x1024", "1024x1536"]
    | Literal["2048x2048", "2048x1152", "3840x2160", "2160x3840", "auto"]
    | str
)
Quality: TypeAlias = "Literal['low', 'medium', 'high', 'xhigh', 'max', 'auto', 'standard', 'hd'] | str"
ResponseFormat: TypeAlias = "Literal['url', 'b64_json'] | str"
Background: TypeAlias = "Literal['transparent', 'opaque', 'auto'] | str"
OutputFormat: TypeAlias = "Literal['png', 'jpeg', 'webp', 'gif', 'svg'] | str"
Moderation: TypeAlias = "Literal['auto', 'low'] | str"
Style: TypeAlias = "Literal['vivid', 'natural'] | str"
Complexity: TypeAlias = "Literal['low', 'medium', 'high'] | str"
InputFidelity: TypeAlias = "Literal['high', 'low'] | str"


class SvgReasoning(TypedDict, total=False):
    """Reasoning of the text model that writes an SVG.

    Args:
        effort: The amount of reasoning. Default: that of the server.
    """

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str


class Svg(TypedDict, total=False):
    """Parameters of the text model that writes an SVG. It is billed separately, as ``response.svg_usage``.

    Args:
        model: The text model. Required if model selection is enabled for your project, not allowed otherwise.
        reasoning: The reasoning of the text model.
    """

    model: str
    reasoning: SvgReasoning


class CallOptions(TypedDict, total=False):
    """Options of every call, besides the parameters of the API.

    Args:
        out: Where to write the images while they arrive: a folder (``"cats/"``), one file (``"cat.png"``) or a template
            such as ``"cats/{slug}-{index}.{ext}"``. Fields are ``{index}`` (position in the response, from 0), ``{job}``
            (position in a run), ``{id}`` (of the call), ``{slug}`` (of the prompt) and ``{ext}`` (from the bytes).
            ``~/`` is the home folder. A URL such as ``"s3://bucket/cats/"`` names a remote folder (extra ``fsspec``).
            Existing files are replaced. Default: images stay in memory.
        timeout: Seconds for the whole call, with retries and the wait for the rate limit; or :class:`Timeouts`. Default:
            that of the client.
        check: Whether a request that breaks a rule of its model is refused. Default: as the client is set.
        extra_headers: Further headers, such as ``{"x-team": "covers"}``. They override ``default_headers=``. Pass a key
            as ``api_key=`` instead.
        extra_query: Further parameters of the URL.
        extra_body: Further fields of the body, for parameters that this version does not name. They override named
            parameters. A value of ``None`` removes a field.
        idempotency_key: The key that every attempt sends. Default: a random key.
    """

    out: str | os.PathLike[str] | None
    timeout: float | Timeouts | None
    check: bool | None
    extra_headers: Mapping[str, str] | None
    extra_query: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None
    idempotency_key: str | None


@frozen
class _Request:
    """A request to the Images API."""

    def parameters(self) -> Mapping[str, Any]:
        """Return the parameters that are given, by their names in the API."""
        return {name: value for name, value in asdict(self, recurse=False).items() if value is not None}


@frozen(kw_only=True)
class Generate(_Request):
    """A request for images from a prompt. ``POST /v1/images/generations``

    Args:
        prompt: The description of the images. More detail makes the result more predictable: "a close up, studio
            photographic portrait of a white siamese cat that looks curious, backlit ears" rather than "a white siamese
            cat". dall-e-2: 1 to 1000 characters; dall-e-3: up to 4000; GPT Image: up to 32 000.
        model: The model. Default: ``"gpt-image-2"`` for OpenAI; for other servers no model is sent, and they use their
            own default.
        n: The number of images, 1 to 10. Default: 1, which is the only value for dall-e-3, for a stream and for svg. The
            rate limit counts each image.
        size: ``"WIDTHxHEIGHT"`` in pixels. dall-e-2: ``"256x256"``, ``"512x512"`` or ``"1024x1024"`` (its default);
            dall-e-3: ``"1024x1024"`` (its default), ``"1792x1024"`` or ``"1024x1792"``. GPT Image: ``"1024x1024"``,
            ``"1536x1024"``, ``"1024x1536"`` or ``"auto"`` (the default), from gpt-image-2 on also any size whose edges
            are multiples of 16, at most 3840 and 3:1, with 655 360 to 8 294 400 pixels
            (:func:`imagesdk.models.nearest_size` returns one). With gif it is the size of a frame, which may be smaller.
            Smaller images are faster.
        quality: GPT Image: ``"low"``, ``"medium"``, ``"high"`` or ``"auto"`` (the default), from 2.5 also ``"xhigh"``
            and ``"max"``. It affects the price most. dall-e-3: ``"standard"`` (its default) or ``"hd"``; dall-e-2:
            ``"standard"``.
        background: GPT Image: ``"transparent"`` (not with jpeg), ``"opaque"`` or ``"auto"`` (the default).
        output_format: GPT Image: ``"png"`` (the default), ``"jpeg"`` (faster) or ``"webp"``; 2.6 also ``"gif"`` and
            ``"svg"``, which must be enabled for a project.
        output_compression: GPT Image, with jpeg and webp: 0 to 100; 100 is the default.
        moderation: GPT Image: the strictness of the content filter, ``"auto"`` (the default) or ``"low"``.
        style: dall-e-3: ``"vivid"`` (its default) or ``"natural"``.
        complexity: GPT Image 2.6: the amount of planning, ``"low"``, ``"medium"`` or ``"high"``. Default: that of the
            server.
        frame_count: With gif: the number of frames, 2 to 16; 9 is the default. Not with a stream or a mask.
        frame_duration_ms: With gif: milliseconds of each frame, 1 to 655 350, rounded to 10; 200 is the default.
        svg: With svg: parameters of the text model, e.g. ``{"reasoning": {"effort": "low"}}``. Not with a stream.
        partial_images: With a stream (``images.generate_stream``) only: the maximum number of partial images, 0 to 3; 0
            is the default. The server may send fewer. Each is billed as 100 tokens.
        response_format: dall-e-2 and dall-e-3: ``"url"`` (the default; works for an hour) or ``"b64_json"``, which
            ``out=`` requests. GPT Image always sends the image itself and refuses the parameter.
        safety_identifier: GPT Image: an id of your end user, by which the server recognises abuse. Use a hash, not a
            name, of at most 128 characters.
        user: The former name of ``safety_identifier``.
    """

    endpoint: ClassVar[str] = "generations"
    """The last part of the path."""

    prompt: str = field(kw_only=False)
    model: str | None = None
    n: int | None = None
    size: Size | None = None
    quality: Quality | None = None
    background: Background | None = None
    output_format: OutputFormat | None = None
    output_compression: int | None = None
    moderation: Moderation | None = None
    style: Style | None = None
    complexity: Complexity | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg: Svg | None = None
    partial_images: int | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    user: str | None = None


@frozen(kw_only=True)
class Edit(_Request):
    """A request for images from other images and a prompt. ``POST /v1/images/edits``

    Args:
        image: The image to edit. dall-e-2: one square PNG of less than 4 MiB; without a ``mask`` its transparent pixels
            are repainted, so it must have some. gpt-image-2: PNG, JPEG or WebP under 50 MiB, or a list of up to 16 of
            them.
        prompt: The description of the whole new image, not only of the repainted area: "a sunlit indoor lounge area
            with a pool containing a flamingo" rather than "a flamingo".
        mask: A PNG of the same width and height as the (first) image. Where it is fully transparent, the image is
            repainted. The colours of its other pixels have no effect.
        markup: GPT Image 2.5 and 2.6, instead of a mask: a transparent PNG of the same width and height as the (first)
            image. Arrows, words and outlines on it show the changes to make.
        input_fidelity: gpt-image-1 and 1.5: ``"high"`` preserves faces and details of the images, ``"low"`` (the
            default) is cheaper; gpt-image-1-mini: ``"low"`` only. Later models always preserve them and refuse the
            parameter.
        moderation: As in :class:`Generate`. Only the JSON form of an edit has it, so images are sent as data URLs.
        partial_images: As in :class:`Generate`, for ``images.edit_stream``.
        model, n, size, quality, background, output_format, output_compression, complexity, frame_count,
            frame_duration_ms, svg, response_format, safety_identifier, user: As in :class:`Generate`.
    """

    endpoint: ClassVar[str] = "edits"
    """The last part of the path."""

    image: Source | Sequence[Source] = field(kw_only=False)
    prompt: str = field(kw_only=False)
    mask: Source | None = None
    markup: Source | None = None
    model: str | None = None
    n: int | None = None
    size: Size | None = None
    quality: Quality | None = None
    background: Background | None = None
    output_format: OutputFormat | None = None
    output_compression: int | None = None
    input_fidelity: InputFidelity | None = None
    moderation: Moderation | None = None
    complexity: Complexity | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg: Svg | None = None
    partial_images: int | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    user: str | None = None


@frozen(kw_only=True)
class Variation(_Request):
    """A request for images that resemble a given image. ``POST /v1/images/variations``

    OpenAI retired this endpoint together with dall-e-2 on 2026-05-12. Servers with the API of 2023 still have it.

    Args:
        image: The image to vary: a square PNG of less than 4 MiB.
        model: The model. Default: ``"dall-e-2"`` for OpenAI.
        size: ``"256x256"``, ``"512x512"`` or ``"1024x1024"`` (the default). Smaller images are faster.
        n, response_format, user: As in :class:`Generate`.
    """

    endpoint: ClassVar[str] = "variations"
    """The last part of the path."""

    image: Source = field(kw_only=False)
    model: str | None = None
    n: int | None = None
    size: Size | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None


Job: TypeAlias = Generate | Edit | Variation
"""A job for ``client.images.send``."""


def check_job(job: object) -> None:
    """Raise an :class:`InvalidRequestError` if ``job`` is not a job."""
    if not isinstance(job, Job):
        hint = ", such as Generate(prompt) for a prompt alone" if isinstance(job, str) else ""
        allowed = f"Generate, Edit or Variation{hint}"
        kind = type(job).__name__
        raise InvalidRequestError.for_parameter("job", kind, allowed=allowed, shown=f"a {kind}")


for _type in (CallOptions, Generate, Edit, Svg, SvgReasoning, Variation):
    _type.__module__ = "imagesdk"

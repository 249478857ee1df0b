"""One request as a value: :class:`Generate`, :class:`Edit` and :class:`Variation`.

This is the one place where the parameters of the API are documented; ``client.images.generate(...)`` and its
like take the same names and build these. A value holds no client and no network: it can be made anywhere,
compared, kept in a list and handed to ``client.images.send(job)``.

``None`` means that a parameter is not sent, so that the server's own default holds. What is allowed depends
on the model; the rules stand in :mod:`imagesdk.models` and are checked before anything is sent.
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
    Literal[
        "256x256",
        "512x512",
        "1024x1024",
        "1792x1024",
        "1024x1792",
        "1536x1024",
        "1024x1536",
        "2048x2048",
        "2048x1152",
        "3840x2160",
        "2160x3840",
        "auto",
    ]
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
    """How the model that writes an SVG thinks.

    Args:
        effort: How much it thinks. The server's own default when not given.
    """

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str


class Svg(TypedDict, total=False):
    """How an SVG is written; it is billed apart, as ``response.svg_usage``.

    Args:
        model: The text model that writes it: required where model selection is enabled for your project, else left out.
        reasoning: How that model thinks.
    """

    model: str
    reasoning: SvgReasoning


class CallOptions(TypedDict, total=False):
    """What every call takes beside the parameters of the API.

    Args:
        out: Write the pictures to disk as they arrive: a folder (``"cats/"``), one file (``"cat.png"``) or a template
            such as ``"cats/{slug}-{index}.{ext}"`` with ``{index}`` (place in the response, from 0), ``{job}`` (place
            in a run), ``{id}`` (of the call), ``{slug}`` (of the prompt) and ``{ext}`` (from the bytes). ``~/`` is the
            home folder. Existing files are replaced.
        timeout: Seconds for the whole call, waiting for the limit and retries included; or :class:`Timeouts` in place of
            those of the client.
        check: ``False`` sends the request though a rule of its model forbids it; ``None`` is as the client says.
        extra_headers: Further headers, such as ``{"x-team": "covers"}``; they win over ``default_headers=``. A key goes
            into ``api_key=``.
        extra_query: Further parameters of the URL: what follows its ``?``.
        extra_body: Further fields of the body, for parameters that this version does not name. They win over named
            ones; a value of ``None`` takes a field out.
        idempotency_key: Sent with every attempt; made at random when not given.
    """

    out: str | os.PathLike[str] | None
    timeout: float | Timeouts | None
    check: bool | None
    extra_headers: Mapping[str, str] | None
    extra_query: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None
    idempotency_key: str | None


@frozen(kw_only=True)
class Generate:
    """Make pictures from a prompt. ``POST /v1/images/generations``

    Args:
        prompt: What to draw. The more detail, the likelier the result is what you had in mind: "a close up, studio
            photographic portrait of a white siamese cat that looks curious, backlit ears" rather than "a white siamese
            cat". dall-e-2: 1 to 1000 characters; dall-e-3: up to 4000; GPT Image: up to 32 000.
        model: ``"gpt-image-2"`` when not given, on the maker's own host; other servers get no model unless you name one
            and use their own default.
        n: How many pictures, 1 to 10; 1 when not given, and the only number for dall-e-3, for a stream and for svg. The
            rate limit counts each.
        size: ``"WIDTHxHEIGHT"`` in pixels. dall-e-2: ``"256x256"``, ``"512x512"`` or ``"1024x1024"`` (its default);
            dall-e-3: ``"1024x1024"`` (its default), ``"1792x1024"`` or ``"1024x1792"``. GPT Image: ``"1024x1024"``,
            ``"1536x1024"``, ``"1024x1536"`` or ``"auto"`` (the default), from gpt-image-2 on also any size whose edges
            are multiples of 16, at most 3840 and 3:1, with 655 360 to 8 294 400 pixels:
            :func:`imagesdk.models.nearest_size` finds one. With gif it is the size of a frame, which may be smaller.
            Smaller is faster.
        quality: GPT Image: ``"low"``, ``"medium"``, ``"high"`` or ``"auto"`` (the default), from 2.5 also ``"xhigh"``
            and ``"max"``: the main lever on price. dall-e-3: ``"standard"`` (its default) or ``"hd"``; dall-e-2:
            ``"standard"``.
        background: GPT Image: ``"transparent"`` (not with jpeg), ``"opaque"`` or ``"auto"`` (the default).
        output_format: GPT Image: ``"png"`` (the default), ``"jpeg"`` (faster) or ``"webp"``; 2.6 also ``"gif"`` and
            ``"svg"``, which a project must be let into.
        output_compression: GPT Image, with jpeg and webp: 0 to 100; 100 is the default.
        moderation: GPT Image: how strict the content filter is, ``"auto"`` (the default) or ``"low"``.
        style: dall-e-3: ``"vivid"`` (its default) or ``"natural"``.
        complexity: GPT Image 2.6: how much the model plans, ``"low"``, ``"medium"`` or ``"high"``; the server's own
            default when not given.
        frame_count: With gif: how many frames, 2 to 16; 9 is the default. A gif comes without a stream and without a
            mask.
        frame_duration_ms: With gif: milliseconds of each frame, 1 to 655 350 and rounded to 10; 200 is the default.
        svg: With svg: how it is written, e.g. ``{"reasoning": {"effort": "low"}}``. An svg comes without a stream.
        partial_images: For a stream (``images.generate_stream``): how many pictures to show on the way, 0 to 3; 0 is
            the default. Fewer may come. Each is billed as 100 tokens. A call without a stream refuses them.
        response_format: dall-e-2 and dall-e-3: ``"url"`` (the default; works for an hour) or ``"b64_json"``. GPT Image
            always answers with the picture itself and refuses the parameter. With ``out=`` the picture itself is asked
            for.
        safety_identifier: GPT Image: an id of your end user, which helps the server to see abuse: a hash, not a name,
            of at most 128 characters.
        user: What ``safety_identifier`` was called before.
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

    def parameters(self) -> Mapping[str, Any]:
        """Return the parameters that are given, by their names in the API."""
        return _given(self)


@frozen(kw_only=True)
class Edit:
    """Change a picture, or paint into it, as a prompt says. ``POST /v1/images/edits``

    Args:
        image: The picture to edit. dall-e-2: one square PNG of less than 4 MiB; without a ``mask`` it must have
            transparency, which then says where to paint. gpt-image-2: PNG, JPEG or WebP under 50 MiB, or a list of up
            to 16 of them.
        prompt: The whole new picture in words, not only what comes into the erased area: "a sunlit indoor lounge area
            with a pool containing a flamingo" rather than "a flamingo".
        mask: A PNG of the same width and height as the (first) image. Where it is fully transparent, the picture is
            repainted; what its other pixels look like does not matter.
        markup: GPT Image 2.5 and 2.6, instead of a mask: a transparent PNG of the same width and height as the (first)
            image, laid over it: what is drawn on it (arrows, words, outlines) says what to change.
        input_fidelity: gpt-image-1 and 1.5: ``"high"`` keeps faces and details of the pictures, ``"low"`` (the default)
            is cheaper; gpt-image-1-mini: ``"low"`` only. Later models always keep them and refuse the parameter.
        moderation: As in :class:`Generate`; only the JSON form of an edit has it, so that pictures are sent as data
            URLs.
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

    def parameters(self) -> Mapping[str, Any]:
        """Return the parameters that are given, by their names in the API."""
        return _given(self)


@frozen(kw_only=True)
class Variation:
    """Make pictures that resemble a given one. ``POST /v1/images/variations``

    The maker retired this endpoint with dall-e-2 on 2026-05-12; servers that speak the API of 2023 have it.

    Args:
        image: The picture to vary: a square PNG of less than 4 MiB.
        model: ``"dall-e-2"`` when not given, on the maker's own host.
        size: ``"256x256"``, ``"512x512"`` or ``"1024x1024"`` (the default). Smaller is faster.
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

    def parameters(self) -> Mapping[str, Any]:
        """Return the parameters that are given, by their names in the API."""
        return _given(self)


Job: TypeAlias = Generate | Edit | Variation
"""What ``client.images.send`` takes."""


def _given(job: Job) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(job, recurse=False).items() if value is not None}


def check_job(job: object) -> None:
    """Refuse what is no job.

    Raises:
        InvalidRequestError: If it is none.
    """
    if not isinstance(job, Job):
        hint = ", such as Generate(prompt) for a prompt alone" if isinstance(job, str) else ""
        allowed = f"Generate, Edit or Variation{hint}"
        kind = type(job).__name__
        raise InvalidRequestError.for_parameter("job", kind, allowed=allowed, shown=f"a {kind}")


for _type in (CallOptions, Generate, Edit, Svg, SvgReasoning, Variation):
    _type.__module__ = "imagesdk"

"""Input files of batches: their lines, the expected size of their output, and their division into shards. Pure.

A shard becomes one input file and one batch. It has one model and one endpoint. The results of a batch are one file with
all images as base64, which must be fetched before it expires. So the shard is bound by its expected output first:

=====================  =======================================
bound                  default
=====================  =======================================
expected output bytes  :data:`OUTPUT_BYTES`
lines                  50,000, the maximum of the API
bytes of input         200 MB, the maximum of the API
=====================  =======================================
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import define, evolve, frozen

from imagesdk._protocol.batch_api import ENDPOINT
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.json_values import dump_json
from imagesdk._protocol.requests import build_request
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Job, Variation
from imagesdk.models import ModelProfile
from imagesdk.models.sizes import parse_size
from imagesdk.remedies import Remedy

OUTPUT_BYTES: Final = 500_000_000
"""Default of the expected output bytes of a batch."""
MAX_LINES: Final = 50_000
MAX_INPUT: Final = 200_000_000
"""Maximum bytes of an input file."""

_BASE64 = Decimal("1.34")
_BYTES_A_TOKEN = 4
_LINE = 1000
"""Bytes of a line of output besides its images."""
_PIXELS = 1536 * 1024
"""Pixels of an image whose size the server chooses."""
_BYTES_A_PIXEL: Mapping[str, Decimal] = {
    "png": Decimal(2), "jpeg": Decimal("0.5"), "webp": Decimal("0.4"), "gif": Decimal(6), "svg": Decimal("0.2"),
}  # fmt: skip


@frozen
class ShardLimits:
    """Maximum size of one shard."""

    output_bytes: int = OUTPUT_BYTES
    lines: int = MAX_LINES
    input_bytes: int = MAX_INPUT


@frozen
class BatchLine:
    """A request as a line of an input file, and what its shard must know."""

    endpoint: str
    model: str | None
    content: bytes
    output_bytes: int
    """Expected size of its line in the output file."""
    tokens: int = 0
    """Estimated input tokens."""

    @property
    def kind(self) -> tuple[str, str | None]:
        """What the lines of a shard have in common."""
        return self.endpoint, self.model


@define
class Shard:
    """Sizes of the lines of one input file so far."""

    limits: ShardLimits
    lines: int = 0
    input_bytes: int = 0
    output_bytes: int = 0

    def takes(self, line: BatchLine) -> bool:
        """Return whether there is room for another line. An empty shard takes any."""
        return self.lines == 0 or (
            self.lines < self.limits.lines
            and self.input_bytes + len(line.content) <= self.limits.input_bytes
            and self.output_bytes + line.output_bytes <= self.limits.output_bytes
        )

    def add(self, line: BatchLine) -> None:
        """Count a line."""
        self.lines += 1
        self.input_bytes += len(line.content)
        self.output_bytes += line.output_bytes


def halved(limits: ShardLimits, lines: int) -> ShardLimits:
    """Return limits for shards of half as many lines as one that exceeded the enqueued tokens."""
    return evolve(limits, lines=max(1, min(limits.lines, lines) // 2))


def check_batchable(job: Job) -> None:
    """Raise an ``InvalidRequestError`` for a variation, which the Batch API does not have."""
    if isinstance(job, Variation):
        summary = "The Batch API makes no variations."
        remedies = (Remedy.USE_LIVE_LANE,)
        raise InvalidRequestError(summary, param="job", allowed="Generate or Edit", remedies=remedies)


def batch_line(
    job: Job, images: InputImages, custom_id: str, profile: ModelProfile | None, host: Host
) -> BatchLine:
    """Encode a job as a line. Its images are URLs or file ids; ``profile`` is that of its model.

    Raises:
        InvalidRequestError: If the line exceeds the maximum size of an input file.
    """
    check_batchable(job)
    request = build_request(job, images, extra_body=None, host=host)
    body = request.content
    parts = (
        [body] if isinstance(body, bytes) else [part for part in body.segments() if isinstance(part, bytes)]
    )
    endpoint = f"{ENDPOINT}{job.endpoint}"
    head = dump_json({"custom_id": custom_id, "method": "POST", "url": endpoint})
    content = b"".join((head[:-1], b',"body":', *parts, b"}\n"))
    if len(content) > MAX_INPUT:
        summary = f"The request has {len(content)} bytes, and an input file of a batch at most {MAX_INPUT}."
        raise InvalidRequestError(summary, param="job", remedies=(Remedy.UPLOAD_IMAGE,))
    expected = output_bytes(job, profile, request.weight)
    return BatchLine(endpoint, request.model, content, expected, input_tokens(job, images, profile))


def input_tokens(job: Job, images: InputImages, profile: ModelProfile | None) -> int:
    """Return the estimated input tokens of a job, which the server counts while a batch is open."""
    each = profile.input_tokens.typical if profile is not None and profile.input_tokens is not None else 0
    prompt = str(getattr(job, "prompt", "") or "")
    return -(-len(prompt.encode(errors="replace")) // _BYTES_A_TOKEN) + each * sum(1 for _ in images)


def output_bytes(job: Job, profile: ModelProfile | None, images: int) -> int:
    """Return the expected bytes of the output line of a job with so many images."""
    values: Mapping[str, Any] = job.parameters()
    if profile is not None and profile.response_formats and values.get("response_format") != "b64_json":
        return _LINE * (1 + images)  # URLs
    size = parse_size(str(values.get("size") or (profile.default_size if profile else None) or ""))
    pixels = _PIXELS if size is None else size[0] * size[1]
    form = str(
        values.get("output_format")
        or (profile.output_formats[0] if profile and profile.output_formats else "png")
    )
    each = pixels * _BYTES_A_PIXEL.get(form, Decimal(2)) * _BASE64
    return _LINE + images * int(each)

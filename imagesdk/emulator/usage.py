"""Tokens that an image of the GPT Image family is billed.

Output of the first generation follows its published table. Output of gpt-image-2 follows the formula that
yields every published price, and gpt-image-2.5 the same formula with factors that fit its prices. For
gpt-image-2.6 nothing is published: its factors are assumed, near what relays measured. Input is an estimate:
one token is four bytes of text or one block of 32 by 32 pixels, and an image has at most 1536.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from imagesdk.emulator.rules import CheckedRequest

__all__ = ["output_tokens", "svg_usage_of", "usage_of"]

_TABLE: Mapping[str, tuple[int, int, int]] = {
    "low": (272, 408, 400),
    "medium": (1056, 1584, 1568),
    "high": (4160, 6240, 6208),
}
"""Tokens of a square, a portrait and a landscape, from OpenAI's image guide."""
_FACTORS: Mapping[str, Mapping[str, int]] = {
    # https://community.openai.com/t/1382699
    "gpt-image-2": {"low": 16, "medium": 48, "high": 96},
    "gpt-image-2.5": {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
    # Low and medium cost 3 to 4 times as much as in 2.5, others the same: docs.laozhang.ai, 2026-11-05.
    "gpt-image-2.6": {"low": 33, "medium": 45, "high": 48, "xhigh": 64, "max": 96},
}
_MAX_IMAGE_TOKENS = 1536
_PARTIAL = 100  # tokens of a partial image, from the image guide
_EFFORT = {"none": 0, "minimal": 64, "low": 256, "medium": 1024, "high": 2048, "xhigh": 4096, "max": 8192}
"""Reasoning tokens of the author of an SVG. The numbers are assumed."""


def output_tokens(model: str, quality: str, width: int, height: int) -> int:
    """Return the tokens of one image."""
    factors = _FACTORS.get("-".join(model.split("-")[:3]))
    if factors is None:
        square, portrait, landscape = _TABLE[quality]
        return square if width == height else portrait if width < height else landscape
    detail = factors[quality]
    long, short = max(width, height), min(width, height)
    other = (2 * detail * short + long) // (2 * long)
    return -(-detail * other * (2_000_000 + width * height) // 4_000_000)


def usage_of(
    checked: CheckedRequest, inputs: Iterable[tuple[int, int]], partials: int = 0
) -> dict[str, object]:
    """Return the ``usage`` of a response with input images of the sizes ``inputs``."""
    text = _text_tokens(checked)
    image = sum(min(_MAX_IMAGE_TOKENS, math.ceil(w / 32) * math.ceil(h / 32)) for w, h in inputs)
    each = output_tokens(checked.model.name, checked.quality, *checked.size)
    output = checked.n * each + partials * _PARTIAL
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"image_tokens": image, "text_tokens": text},
        "output_tokens": output,
        "output_tokens_details": {"image_tokens": output, "text_tokens": 0},
        "total_tokens": text + image + output,
    }


def svg_usage_of(checked: CheckedRequest, model: str, document: bytes) -> dict[str, object]:
    """Return the ``svg_usage`` of a response: the tokens for writing the document."""
    reasoning = _EFFORT[checked.author.get("effort", "medium")]
    text, written = _text_tokens(checked), math.ceil(len(document) / 4) + reasoning
    return {
        "model": model,
        "input_tokens": text,
        "output_tokens": written,
        "reasoning_tokens": reasoning,
        "total_tokens": text + written,
    }


def _text_tokens(checked: CheckedRequest) -> int:
    return math.ceil(len(checked.prompt.encode(errors="replace")) / 4)

"""What a picture of the GPT Image family is billed, in tokens.

The output follows the published formula for gpt-image-2. The input is an estimate: four bytes of text, or one
block of 32 by 32 pixels, are one token, and a picture is at most 1536.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from imagesdk.emulator.rules import Ask

__all__ = ["output_tokens", "usage_of"]

_DETAIL = {"low": 16, "medium": 48, "high": 96}
_MAX_IMAGE_TOKENS = 1536
_PARTIAL = 100
"""Tokens of a partial image, by the image guide."""


def output_tokens(quality: str, width: int, height: int) -> int:
    """Return the tokens of one picture; ``auto`` counts as ``medium``.

    See https://community.openai.com/t/1382699.
    """
    detail = _DETAIL.get(quality, _DETAIL["medium"])
    long, short = max(width, height), min(width, height)
    other = (2 * detail * short + long) // (2 * long)
    return -(-detail * other * (2_000_000 + width * height) // 4_000_000)


def usage_of(ask: Ask, inputs: Iterable[tuple[int, int]], partials: int = 0) -> dict[str, object]:
    """Return the ``usage`` of an answer.

    ``inputs`` are the sizes of the pictures that were sent, ``partials`` is how many partial images were made.
    """
    text = math.ceil(len(ask.prompt.encode(errors="replace")) / 4)
    image = sum(min(_MAX_IMAGE_TOKENS, math.ceil(w / 32) * math.ceil(h / 32)) for w, h in inputs)
    output = ask.n * output_tokens(ask.text("quality"), *ask.size) + partials * _PARTIAL
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"image_tokens": image, "text_tokens": text},
        "output_tokens": output,
        "output_tokens_details": {"image_tokens": output, "text_tokens": 0},
        "total_tokens": text + image + output,
    }

"""What a response cost, by the prices in :mod:`imagesdk.models`. What cannot be known stays ``None``, never 0."""

from __future__ import annotations

from decimal import Decimal

from imagesdk.models import ModelProfile
from imagesdk.types import Usage

__all__ = ["cost"]

_MILLION = Decimal(1_000_000)


def cost(
    profile: ModelProfile | None,
    *,
    images: int,
    size: str | None,
    usage: Usage | None,
    quality: str | None = None,
) -> Decimal | None:
    """Return US dollars for ``images`` pictures of ``size``, or for ``usage`` where tokens are billed."""
    if profile is None:
        return None
    price = profile.price
    if price.per_image:
        each = price.per_image.get(
            (quality or profile.default_quality or "", size or profile.default_size or "")
        )
        return each * images if each is not None else None
    if usage is None or price.image_output is None or price.text_input is None or price.image_input is None:
        return None
    text_in, image_in = usage.input_text_tokens, usage.input_image_tokens
    if text_in is None or image_in is None or usage.output_tokens is None or not usage.output_tokens:
        return None
    return (
        price.text_input * text_in + price.image_input * image_in + price.image_output * usage.output_tokens
    ) / _MILLION

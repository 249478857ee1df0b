"""Prices of images, before and after a call, from the price table in :mod:`imagesdk.models`.

An unknown price is ``None``, never 0. :func:`cost` uses the counts of the server and is exact. :func:`estimate` uses
published tables and formulas, and states its assumptions.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from attrs import frozen

from imagesdk import models
from imagesdk._media.upload import as_list
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job, Variation, check_job
from imagesdk.models import ModelProfile, OutputTokens, catalog
from imagesdk.models.sizes import parse_size
from imagesdk.types import Usage

__all__ = ["Estimate", "cost", "estimate"]

_MILLION = Decimal(1_000_000)
_BYTES_A_TOKEN = 4
"""Bytes per token of an English prompt. No prompt has more tokens than bytes."""
_USUAL_SIZE = "1024x1024"
_UNKNOWN_FORMATS = {
    "gif": "Nothing is published on what an animation takes.",
    "svg": "The model that writes an SVG is billed apart, at its own price.",
}


@frozen
class Estimate:
    """The expected cost of a job, as :func:`estimate` returns it."""

    model: str
    """The model whose prices apply."""
    images: int
    output_tokens: int | None = None
    """Expected output tokens of all images, with partial images; ``None`` if unknown, or if tokens are not billed."""
    cost: Decimal | None = None
    """Expected cost in US dollars; ``None`` if unknown, never 0."""
    at_most: Decimal | None = None
    """Maximum cost in US dollars; ``None`` if there is no bound. It assumes one token per byte of the prompt, and the
    most expensive size and quality where the server chooses them. It is as reliable as the price table."""
    reason: str = ""
    """The calculation, its assumptions, or the reason why the cost is unknown."""


def cost(
    profile: ModelProfile | None,
    *,
    images: int,
    size: str | None,
    usage: Usage | None,
    quality: str | None = None,
    svg: bool = False,
    list_price: bool = True,
    batch: bool = False,
) -> Decimal | None:
    """Return the cost of a response in US dollars; ``None`` if it is unknown.

    Args:
        profile: The profile of the model, with its price.
        images: The number of images, for models that are billed by the image.
        size: The size of the images, for the same models.
        usage: The token counts, with those of partial images, for models that are billed by token.
        quality: The quality of the images.
        svg: Whether a text model wrote an SVG. It is billed at its own price, so the cost is unknown.
        list_price: Whether the server has the prices that OpenAI publishes (:attr:`Price.list_price`). Otherwise only a
            price that you registered is used.
        batch: Whether the request was part of a batch. The cost is unknown if :attr:`ModelProfile.batch_share` is.
    """
    if profile is None or svg or (profile.price.list_price and not list_price):
        return None
    price, share = profile.price, profile.batch_share if batch else 1
    if share is None:
        return None
    if price.per_image:
        key = quality or profile.default_quality or "", size or profile.default_size or ""
        each = price.per_image.get(key)
        return each * images * share if each is not None else None
    if usage is None or price.image_output is None or price.text_input is None or price.image_input is None:
        return None
    text_in, image_in, out = usage.input_text_tokens, usage.input_image_tokens, usage.output_tokens
    if text_in is None or image_in is None or not out:
        return None
    text_out = 0
    if price.text_output is not None and usage.output_text_tokens is not None:
        text_out = usage.output_text_tokens
        if text_out > out:
            return None
    dollars = (
        price.text_input * text_in + price.image_input * image_in + price.image_output * (out - text_out)
    )
    return (dollars + (price.text_output or 0) * text_out) * share / _MILLION


def estimate(
    job: Job, *, model: str | ModelProfile | None = None, inputs: int | None = None, batch: bool = False
) -> Estimate:
    """Return the expected cost of a job at the prices of OpenAI. Nothing is sent, and no image is opened.

    Tokens of the prompt and of input images are approximated. Tokens of output images follow the published tables and
    formulas. The exact cost is ``response.cost``, after the call.

    Example:
        ```python
        estimate(Generate("a white siamese cat", size="1024x1024", quality="high")).cost
        ```

    Args:
        job: The job to price.
        model: A model, or a profile, in place of that of the job.
        inputs: The number of input images of an edit. Default: those of the job.
        batch: Whether the job is part of a batch. The cost is unknown if :attr:`ModelProfile.batch_share` is.

    Raises:
        InvalidRequestError: If ``job`` is not a job, or if its ``n`` is not a positive whole number.
    """
    check_job(job)
    images = 1 if job.n is None else job.n
    if type(images) is not int or images < 1:
        raise InvalidRequestError.for_parameter("n", job.n, allowed="a whole number of at least 1")
    profile = model if isinstance(model, ModelProfile) else None
    reasons: list[str] = []
    name = model if isinstance(model, str) else profile.name if profile is not None else job.model
    if name is None:
        name = catalog.OPENAI_VARIATION_MODEL if isinstance(job, Variation) else catalog.OPENAI_GENERATE_MODEL
        reasons.append(f"No model is named: {name} is assumed, as OpenAI does.")
    profile = profile or models.lookup(name)
    found = _Total()
    if profile is None:
        reasons.append(f"Nothing is known of {name}: register a profile with its price.")
    elif profile.price.per_image:
        found = _per_image(job, profile, images, reasons)
    elif profile.price.image_output is None:
        reasons.append(f"No price of {profile.name} is known.")
    else:
        found = _by_tokens(job, profile, images, inputs, reasons)
    share = (profile.batch_share if profile is not None else None) if batch else 1
    if share is None and profile is not None:
        reasons.append(f"The price of {profile.name} in the Batch API is not known.")
    expected = None if found.cost is None or share is None else found.cost * share
    at_most = None if found.at_most is None or share is None else found.at_most * share
    return Estimate(name, images, found.output_tokens, expected, at_most, " ".join(reasons))


class _Total(NamedTuple):
    """The numbers of an :class:`Estimate`, before the discount of a batch."""

    output_tokens: int | None = None
    cost: Decimal | None = None
    at_most: Decimal | None = None


def _per_image(job: Job, profile: ModelProfile, images: int, reasons: list[str]) -> _Total:
    quality = getattr(job, "quality", None) or profile.default_quality or ""
    size = job.size or profile.default_size or ""
    each = profile.price.per_image.get((quality, size))
    if each is None:
        reasons.append(f"No price of {profile.name} is known for {quality} {size}.")
        return _Total()
    reasons.append(f"${each} for each image of {size} in quality {quality}.")
    return _Total(cost=each * images, at_most=each * images)


def _by_tokens(
    job: Job, profile: ModelProfile, images: int, inputs: int | None, reasons: list[str]
) -> _Total:
    tokens, price = profile.output_tokens, profile.price
    output_format = getattr(job, "output_format", None)
    if output_format in _UNKNOWN_FORMATS:
        reasons.append(_UNKNOWN_FORMATS[output_format])
        return _Total()
    if not tokens.table and not tokens.factors:
        unpublished = f"How many tokens an image of {profile.name} takes is not published"
        reasons.append(f"{unpublished}; the usage of a response says.")
        return _Total()
    quality = getattr(job, "quality", None) or profile.default_quality or "auto"
    size = job.size or profile.default_size or "auto"
    partial = (getattr(job, "partial_images", None) or 0) * tokens.per_partial_image
    each = _expected_tokens(profile, quality, size, reasons)
    if partial:
        reasons.append(f"{tokens.per_partial_image} tokens for each partial image.")
    if price.text_output is not None:
        reasons.append("Text that the model writes besides the image is not included.")
    sent, sent_at_most = _input_dollars(job, profile, inputs, reasons)
    dollars = (price.image_output or 0) / _MILLION
    output = None if each is None else (each + partial) * images
    expected = None if output is None or sent is None else output * dollars + sent
    most, at_most = _most_tokens(profile, quality, size), None
    if most is not None:
        bound = max((most + partial) * dollars, _guide_price(profile, quality, size, reasons))
        at_most = None if sent_at_most is None else bound * images + sent_at_most
    return _Total(output, expected, at_most)


def _input_dollars(
    job: Job, profile: ModelProfile, inputs: int | None, reasons: list[str]
) -> tuple[Decimal | None, Decimal | None]:
    """Return the expected and the maximum cost of the prompt and the input images."""
    price, tokens = profile.price, profile.input_tokens
    if price.text_input is None or price.image_input is None:
        reasons.append("The price of what is sent is not known.")
        return None, None
    prompt = len(("" if isinstance(job, Variation) else job.prompt).encode(errors="replace"))
    text = -(-prompt // _BYTES_A_TOKEN)
    reasons.append(f"About {text} token{'' if text == 1 else 's'} for the prompt.")
    cost, at_most = price.text_input * text, price.text_input * prompt
    images, overlays = _sent(job) if inputs is None else (inputs, 0)
    if images and tokens is None:
        reasons.append(f"How many tokens {profile.name} takes for an input image is not known.")
        return None, None
    if images and tokens is not None:
        fidelity = tokens.high_fidelity if getattr(job, "input_fidelity", None) == "high" else 0
        reasons.append(f"About {tokens.typical + fidelity} tokens for each input image.")
        text_of_each = price.text_input * tokens.text
        cost += images * (price.image_input * (tokens.typical + fidelity) + text_of_each)
        at_most += (images + overlays) * (price.image_input * (tokens.most + fidelity) + text_of_each)
    return cost / _MILLION, at_most / _MILLION


def _sent(job: Job) -> tuple[int, int]:
    """Return the number of images that a job sends, and the number of masks and markups."""
    if not isinstance(job, Edit):
        return int(isinstance(job, Variation)), 0
    images = as_list(job.image)
    return 1 if images is None else len(images), (job.mask is not None) + (job.markup is not None)


def _expected_tokens(profile: ModelProfile, quality: str, size: str, reasons: list[str]) -> int | None:
    """Return the tokens of one image; ``None`` if unknown."""
    if quality == "auto":
        reasons.append("The server chooses the quality, on which the price depends most: name one.")
        return None
    each = _tokens_of(profile.output_tokens, quality, _USUAL_SIZE if size == "auto" else size)
    if each is None:
        taken = f"{profile.name} takes for quality {quality} and size {size}"
        reasons.append(f"How many tokens {taken} is not known.")
        return None
    source = profile.sources.get("output_tokens", "by its profile")
    reasons.append(f"{each} tokens for each image ({source}).")
    if size == "auto":
        reasons.append(f"The server chooses the size: {_USUAL_SIZE} is assumed.")
    return each


def _most_tokens(profile: ModelProfile, quality: str, size: str) -> int | None:
    """Return the tokens of the most expensive image that the server may choose; ``None`` if unknown."""
    tokens, counts = profile.output_tokens, list[int | None]()
    every = {*tokens.factors, *(named for named, _ in tokens.table)}
    for one in every if quality == "auto" else {quality}:
        if size != "auto":
            counts.append(_tokens_of(tokens, one, size))
            continue
        counts += [count for (named, _), count in tokens.table.items() if named == one]
        if one in tokens.factors and profile.size_rule is not None:
            # The largest square has the most tokens of all sizes.
            counts.append(_by_formula(tokens.factors[one], 1, 1, profile.size_rule.max_pixels))
    return max((count for count in counts if count is not None), default=None)


def _tokens_of(tokens: OutputTokens, quality: str, size: str) -> int | None:
    if (quality, size) in tokens.table:
        return tokens.table[quality, size]
    edges, factor = parse_size(size), tokens.factors.get(quality)
    if edges is None or factor is None:
        return None
    return _by_formula(factor, max(edges), min(edges), edges[0] * edges[1])


def _by_formula(factor: int, long: int, short: int, pixels: int) -> int:
    """Return the tokens of an image according to the formula. https://community.openai.com/t/1382699"""
    other = (2 * factor * short + long) // (2 * long)
    return -(-factor * other * (2_000_000 + pixels) // 4_000_000)


def _guide_price(profile: ModelProfile, quality: str, size: str, reasons: list[str]) -> Decimal:
    """Return the highest price that the guide of OpenAI names for one such image; 0 if it names none."""
    guide = profile.price.guide.items()
    fitting = [price for (q, s), price in guide if quality in ("auto", q) and size in ("auto", s)]
    if fitting:
        reasons.append(f"A guide of OpenAI says up to ${max(fitting)} for each image.")
    return max(fitting, default=Decimal(0))


Estimate.__module__ = "imagesdk"

"""What pictures cost, before and after, by the prices in :mod:`imagesdk.models`.

What cannot be known stays ``None``, never 0. :func:`cost` reckons with what a server has counted and is exact;
:func:`estimate` reckons beforehand, and says what it took for granted.
"""

from __future__ import annotations

from decimal import Decimal

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
"""Of a prompt in English. No prompt has more tokens than bytes."""
_USUAL_SIZE = "1024x1024"
_UNKNOWN_FORMATS = {
    "gif": "Nothing is published on what an animation takes.",
    "svg": "The model that writes an SVG is billed apart, at its own price.",
}


@frozen
class Estimate:
    """What a job is likely to cost, before it is sent. Returned by :func:`estimate`."""

    model: str
    """The model whose prices these are."""
    images: int
    output_tokens: int | None = None
    """Expected, for all pictures, partial ones included; ``None`` when it cannot be known or is not what is billed."""
    cost: Decimal | None = None
    """Expected, in US dollars; ``None`` when it cannot be known, never 0."""
    at_most: Decimal | None = None
    """An upper bound in US dollars, where one can be given: it has the longest prompt that the characters could be,
    and where the server chooses size or quality, the dearest of them. It is as good as the facts it rests on."""
    reason: str = ""
    """How it was reckoned, what was assumed, or why it is not known."""


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
    """Return US dollars for ``images`` pictures of ``size``, or for ``usage`` where tokens are billed.

    Partial images of a stream are in ``usage``. ``svg`` says that a text model wrote the answer, which is billed at
    that model's own price: the cost is then not wholly known, and ``None``. ``list_price`` says whether the server
    takes the prices that the maker publishes (:attr:`Price.list_price`): where it does not, only a price that you
    registered is reckoned with. ``batch`` gives the price in a batch.
    """
    if profile is None or svg or (profile.price.list_price and not list_price):
        return None
    price, share = profile.price, catalog.BATCH_SHARE if batch else 1
    if price.per_image:
        each = price.per_image.get(
            (quality or profile.default_quality or "", size or profile.default_size or "")
        )
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
    """Return what ``job`` is likely to cost by the maker's prices. Nothing is sent, and no picture is opened.

    ``model`` stands in for the one that the job names. ``inputs`` is how many pictures are sent with an edit; when
    not given, those of the job are counted. ``batch`` gives the price in a batch. Tokens of the prompt and of the
    pictures that are sent are reckoned roughly, those of the pictures that come by the published tables and
    formulas; ``response.cost`` is exact, afterwards.

    Example:
        estimate(Generate("a white siamese cat", size="1024x1024", quality="high")).cost

    Raises:
        InvalidRequestError: ``job`` is none, or its ``n`` is no count of pictures.
    """
    check_job(job)
    images = _images(job)
    profile = model if isinstance(model, ModelProfile) else None
    assumed: list[str] = []
    name = model if isinstance(model, str) else profile.name if profile is not None else job.model
    if name is None:
        name = catalog.OPENAI_VARIATION_MODEL if isinstance(job, Variation) else catalog.OPENAI_GENERATE_MODEL
        assumed.append(f"No model is named: {name} is assumed, as on the maker's own host.")
    profile = profile or models.lookup(name)
    share = catalog.BATCH_SHARE if batch else Decimal(1)
    if profile is None:
        return Estimate(
            name, images, reason=f"Nothing is known of {name}: register a profile with its price."
        )
    if profile.price.per_image:
        found = _per_image(job, profile, share)
    elif profile.price.image_output is None:
        found = Estimate(name, images, reason=f"No price of {profile.name} is known.")
    else:
        found = _by_tokens(job, profile, inputs, share)
    return Estimate(
        name, images, found.output_tokens, found.cost, found.at_most, " ".join([*assumed, found.reason])
    )


def _images(job: Job) -> int:
    if job.n is None:
        return 1
    if type(job.n) is not int or job.n < 1:
        allowed = "a whole number of at least 1"
        raise InvalidRequestError(
            f"n is {job.n!r}; allowed: {allowed}.", param="n", value=job.n, allowed=allowed
        )
    return job.n


def _per_image(job: Job, profile: ModelProfile, share: Decimal) -> Estimate:
    quality = getattr(job, "quality", None) or profile.default_quality or ""
    size = job.size or profile.default_size or ""
    images = _images(job)
    each = profile.price.per_image.get((quality, size))
    if each is None:
        return Estimate(
            profile.name, images, reason=f"No price of {profile.name} is known for {quality} {size}."
        )
    total, reason = each * images * share, f"${each} for each picture of {size} in quality {quality}."
    return Estimate(profile.name, images, cost=total, at_most=total, reason=reason)


def _by_tokens(job: Job, profile: ModelProfile, inputs: int | None, share: Decimal) -> Estimate:
    images, tokens, price = _images(job), profile.output_tokens, profile.price
    output_format = getattr(job, "output_format", None)
    if output_format in _UNKNOWN_FORMATS:
        return Estimate(profile.name, images, reason=_UNKNOWN_FORMATS[output_format])
    if not tokens.table and not tokens.factors:
        reason = f"How many tokens a picture of {profile.name} takes is not published; the usage of an answer says."
        return Estimate(profile.name, images, reason=reason)
    quality = getattr(job, "quality", None) or profile.default_quality or "auto"
    size = job.size or profile.default_size or "auto"
    partial = (getattr(job, "partial_images", None) or 0) * tokens.per_partial_image
    each, said = _expected_tokens(profile, quality, size)
    if partial:
        said.append(f"{tokens.per_partial_image} tokens for each partial image.")
    if price.text_output is not None:
        said.append("What the model writes beside the picture is not in it.")
    sent, sent_at_most = _input_dollars(job, profile, inputs, said)
    dollars = (price.image_output or 0) / _MILLION
    output = None if each is None else (each + partial) * images
    most = _most_tokens(profile, quality, size)
    bound = (
        None if most is None else max((most + partial) * dollars, _guide_price(profile, quality, size, said))
    )
    return Estimate(
        profile.name,
        images,
        output,
        None if output is None or sent is None else (output * dollars + sent) * share,
        None if bound is None or sent_at_most is None else (bound * images + sent_at_most) * share,
        " ".join(said),
    )


def _input_dollars(
    job: Job, profile: ModelProfile, inputs: int | None, said: list[str]
) -> tuple[Decimal | None, Decimal | None]:
    """Return what prompt and pictures cost: as expected, and at most."""
    price, tokens = profile.price, profile.input_tokens
    if price.text_input is None or price.image_input is None:
        said.append("The price of what is sent is not known.")
        return None, None
    prompt = len(("" if isinstance(job, Variation) else job.prompt).encode(errors="replace"))
    text, text_at_most = -(-prompt // _BYTES_A_TOKEN), prompt
    image = image_at_most = 0
    said.append(f"About {text} token{'' if text == 1 else 's'} for the prompt.")
    pictures, overlays = _sent(job) if inputs is None else (inputs, 0)
    if pictures and tokens is None:
        said.append(f"How many tokens {profile.name} takes for a picture that is sent is not known.")
        return None, None
    if pictures and tokens is not None:
        fidelity = tokens.high_fidelity if getattr(job, "input_fidelity", None) == "high" else 0
        said.append(f"About {tokens.typical + fidelity} tokens for each picture that is sent.")
        image, image_at_most = (
            pictures * (tokens.typical + fidelity),
            (pictures + overlays) * (tokens.most + fidelity),
        )
        text, text_at_most = (
            text + pictures * tokens.text,
            text_at_most + (pictures + overlays) * tokens.text,
        )
    return (
        (price.text_input * text + price.image_input * image) / _MILLION,
        (price.text_input * text_at_most + price.image_input * image_at_most) / _MILLION,
    )


def _sent(job: Job) -> tuple[int, int]:
    """Return how many pictures a job sends, and how many masks and markups."""
    if not isinstance(job, Edit):
        return int(isinstance(job, Variation)), 0
    images = as_list(job.image)
    return 1 if images is None else len(images), (job.mask is not None) + (job.markup is not None)


def _expected_tokens(profile: ModelProfile, quality: str, size: str) -> tuple[int | None, list[str]]:
    """Return the tokens of one picture, and how they were come by."""
    if quality == "auto":
        return None, ["The server chooses the quality, on which the price depends most: name one."]
    each = _tokens_of(profile.output_tokens, quality, _USUAL_SIZE if size == "auto" else size)
    if each is None:
        return None, [
            f"How many tokens {profile.name} takes for quality {quality} and size {size} is not known."
        ]
    said = [f"{each} tokens for each picture ({profile.sources.get('output_tokens', 'by its profile')})."]
    if size == "auto":
        said.append(f"The server chooses the size: {_USUAL_SIZE} is assumed.")
    return each, said


def _most_tokens(profile: ModelProfile, quality: str, size: str) -> int | None:
    """Return the tokens of the dearest picture that the server may choose; ``None`` when they are not known."""
    tokens, counts = profile.output_tokens, list[int | None]()
    every = {*tokens.factors, *(named for named, _ in tokens.table)}
    for one in every if quality == "auto" else {quality}:
        if size != "auto":
            counts.append(_tokens_of(tokens, one, size))
            continue
        counts += [count for (named, _), count in tokens.table.items() if named == one]
        if one in tokens.factors and profile.size_rule is not None:
            # Of all sizes the largest square takes most.
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
    """Return the tokens of a picture of so many pixels. https://community.openai.com/t/1382699"""
    other = (2 * factor * short + long) // (2 * long)
    return -(-factor * other * (2_000_000 + pixels) // 4_000_000)


def _guide_price(profile: ModelProfile, quality: str, size: str, said: list[str]) -> Decimal:
    """Return the most that a guide names for one such picture; 0 where it names nothing."""
    fitting = [
        dollars
        for (q, s), dollars in profile.price.guide.items()
        if quality in ("auto", q) and size in ("auto", s)
    ]
    if fitting:
        said.append(f"A guide of the maker says up to ${max(fitting)} for each picture.")
    return max(fitting, default=Decimal(0))


Estimate.__module__ = "imagesdk"

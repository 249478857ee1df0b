"""Model profiles: rules, prices and dates of a model, as plain values. The facts are in ``catalog``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from attrs import field, frozen

from imagesdk.models.sizes import SizeRule


@frozen
class ImageRule:
    """Rules for an input image."""

    media_types: tuple[str, ...]
    max_bytes: int
    """The file must be strictly smaller than this."""
    max_images: int = 1
    square: bool = False
    alpha_without_mask: bool = False
    """Without a mask, the transparent pixels of the image are repainted, so it must have some."""


@frozen
class Price:
    """Prices in US dollars. Units that a model is not billed by are ``None`` or empty."""

    per_image: Mapping[tuple[str, str], Decimal] = field(factory=dict[tuple[str, str], Decimal])
    """By quality and size, for models that are billed by the image."""
    text_input: Decimal | None = None
    """Per million tokens, like the next three."""
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    text_output: Decimal | None = None
    """For text in the output, if the server counts it separately; ``None``: it is billed as image output."""
    guide: Mapping[tuple[str, str], Decimal] = field(factory=dict[tuple[str, str], Decimal])
    """By quality and size: the price of an image according to a guide, where it differs from that of its tokens."""
    list_price: bool = False
    """Whether OpenAI publishes this price. It then applies to OpenAI and Azure, but not to other servers with a model of
    the same name. A price that you register applies to every server."""


@frozen
class OutputTokens:
    """Tokens of an output image, from a table or a formula."""

    table: Mapping[tuple[str, str], int] = field(factory=dict[tuple[str, str], int])
    """By quality and size."""
    factors: Mapping[str, int] = field(factory=dict[str, int])
    """By quality: the factor of the formula ``ceil(F * s * (2 000 000 + w * h) / 4 000 000)``, where ``s`` is ``F``
    times the short edge through the long one, rounded. https://community.openai.com/t/1382699"""
    per_partial_image: int = 0
    """For each partial image of a stream."""


@frozen
class InputTokens:
    """Tokens of one input image, as measured by users."""

    typical: int
    most: int
    """The highest measured value, without ``high_fidelity``, which ``input_fidelity="high"`` adds."""
    high_fidelity: int = 0
    text: int = 0
    """Tokens per image that are counted as text."""


@frozen
class ModelProfile:
    """The rules of one model. An empty tuple or ``None`` means that no such rule is known."""

    name: str
    snapshots: tuple[str, ...] = ()
    """Further names of the model, with dates."""
    prompt_length: int | None = None
    """Maximum number of characters."""
    max_n: int | None = None
    sizes: tuple[str, ...] = ()
    size_rule: SizeRule | None = None
    default_size: str | None = None
    qualities: tuple[str, ...] = ()
    default_quality: str | None = None
    backgrounds: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    """The first one is the default."""
    response_formats: tuple[str, ...] = ()
    """Empty: the model always returns the images themselves and takes no ``response_format``."""
    moderations: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    complexities: tuple[str, ...] = ()
    input_fidelities: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()
    """Parameters that the model takes, besides ``prompt``, ``model`` and the input images."""
    rejected: frozenset[str] = frozenset()
    """Parameters that the server refuses for this model. A parameter in neither set is sent, and the server decides."""
    endpoints: tuple[str, ...] = ()
    """Endpoints that accept the model: ``"generations"``, ``"edits"``, ``"variations"``."""
    streams: bool | None = None
    """Whether the model can stream partial images; ``None``: unknown."""
    edit: ImageRule | None = None
    mask: ImageRule | None = None
    markup: ImageRule | None = None
    variation: ImageRule | None = None
    released: date | None = None
    deprecated: date | None = None
    """Date of the announcement of the shutdown."""
    shut_down: date | None = None
    """The first day on which OpenAI does not have the model any more."""
    replacement: str | None = None
    """The replacement that OpenAI recommends, or else the most similar model."""
    price: Price = field(factory=Price)
    batch_share: Decimal | None = None
    """Price in OpenAI's Batch API, as a share of ``price``; ``None``: the Batch API does not take the model, or its price
    there is unknown."""
    output_tokens: OutputTokens = field(factory=OutputTokens)
    input_tokens: InputTokens | None = None
    tiers: Mapping[int, tuple[int, int | None]] = field(factory=dict[int, tuple[int, int | None]])
    """Images and tokens per minute of each usage tier."""
    sources: Mapping[str, str] = field(factory=dict[str, str])
    """Sources of the facts, by the name of the attribute; ``""`` for all other attributes."""


ModelProfile.__module__ = "imagesdk"
for _type in (ImageRule, Price, OutputTokens, InputTokens):
    _type.__module__ = "imagesdk.models"

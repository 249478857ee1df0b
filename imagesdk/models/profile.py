"""What can be said of a model: its rules, prices and dates, as plain values. The facts stand in ``_catalogue.py``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from attrs import field, frozen

from imagesdk.models.sizes import SizeRule


@frozen
class ImageRule:
    """What a picture that is sent must be."""

    media_types: tuple[str, ...]
    max_bytes: int
    """The picture must be strictly smaller than this."""
    max_images: int = 1
    square: bool = False
    alpha_without_mask: bool = False
    """Without a mask, the picture's own transparency says where to paint, so it must have some."""


@frozen
class Price:
    """US dollars. What a model is not billed by is ``None`` or empty."""

    per_image: Mapping[tuple[str, str], Decimal] = field(factory=dict[tuple[str, str], Decimal])
    """By quality and size, for models that are billed by the picture."""
    text_input: Decimal | None = None
    """Per million tokens, as are the next three."""
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    text_output: Decimal | None = None
    """For text in the output, where the server counts it apart; ``None``: it is billed as image output."""
    guide: Mapping[tuple[str, str], Decimal] = field(factory=dict[tuple[str, str], Decimal])
    """By quality and size: what a guide says that a picture costs, where that is not what its tokens come to."""
    list_price: bool = False
    """Whether this is what the maker of the API publishes: it holds for the maker's host and Azure, and not for
    another server with a model of the same name. A price of yours holds wherever the model answers."""


@frozen
class OutputTokens:
    """How many tokens a picture of a model takes, before it is made: from a table, or by a formula."""

    table: Mapping[tuple[str, str], int] = field(factory=dict[tuple[str, str], int])
    """By quality and size."""
    factors: Mapping[str, int] = field(factory=dict[str, int])
    """By quality: the factor of the formula ``ceil(F * s * (2 000 000 + w * h) / 4 000 000)``, where ``s`` is ``F``
    times the short edge through the long one, rounded. https://community.openai.com/t/1382699"""
    per_partial_image: int = 0
    """For each partial image of a stream."""


@frozen
class InputTokens:
    """How many tokens one picture takes that is sent along with a prompt, as far as users have measured it."""

    typical: int
    most: int
    """By the measurements; for ``input_fidelity="high"`` there is ``high_fidelity`` on top."""
    high_fidelity: int = 0
    text: int = 0
    """Tokens that are counted as text for each picture."""


@frozen
class ModelProfile:
    """The rules of one model. An empty tuple or ``None`` means that there is no such rule, or that none is known."""

    name: str
    snapshots: tuple[str, ...] = ()
    """Further names of the same model, with dates."""
    prompt_length: int | None = None
    """Characters, at most."""
    max_n: int | None = None
    sizes: tuple[str, ...] = ()
    size_rule: SizeRule | None = None
    default_size: str | None = None
    qualities: tuple[str, ...] = ()
    default_quality: str | None = None
    backgrounds: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    """The first one is what a picture comes in when none is named."""
    response_formats: tuple[str, ...] = ()
    """Empty: the model always answers with the pictures themselves and takes no ``response_format``."""
    moderations: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    complexities: tuple[str, ...] = ()
    input_fidelities: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()
    """Parameters that the model is known to take, beside ``prompt``, ``model`` and the pictures."""
    rejected: frozenset[str] = frozenset()
    """Parameters that the server refuses for this model. One that is in neither set is sent, and the server decides."""
    endpoints: tuple[str, ...] = ()
    """Those that take it: ``"generations"``, ``"edits"``, ``"variations"``."""
    streams: bool | None = None
    """Whether it sends partial images while it works; ``None``: not known."""
    edit: ImageRule | None = None
    mask: ImageRule | None = None
    markup: ImageRule | None = None
    variation: ImageRule | None = None
    released: date | None = None
    deprecated: date | None = None
    """When its end was announced."""
    shut_down: date | None = None
    """The first day without it, on the maker's own host."""
    replacement: str | None = None
    """The model to use in its place, by its maker's word or the nearest to it."""
    price: Price = field(factory=Price)
    output_tokens: OutputTokens = field(factory=OutputTokens)
    input_tokens: InputTokens | None = None
    tiers: Mapping[int, tuple[int, int | None]] = field(factory=dict[int, tuple[int, int | None]])
    """Images and tokens per minute that an account of each usage tier has."""
    sources: Mapping[str, str] = field(factory=dict[str, str])
    """Where the facts come from, by the name of the attribute; ``""`` is for all that are not named."""


ModelProfile.__module__ = "imagesdk"
for _type in (ImageRule, Price, OutputTokens, InputTokens):
    _type.__module__ = "imagesdk.models"

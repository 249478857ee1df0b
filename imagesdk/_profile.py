"""What can be said of a model: its rules, prices and dates, as plain values. The facts stand in ``_catalogue.py``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from attrs import field, frozen


@frozen
class SizeRule:
    """Which free sizes a model takes, beside those it names."""

    multiple: int
    """Both edges are multiples of this many pixels."""
    max_edge: int
    """No edge is longer."""
    max_ratio: float
    """The long edge is at most this many times the short one."""
    min_pixels: int
    max_pixels: int

    def problem(self, width: int, height: int) -> str | None:
        """Say which rule a size breaks; ``None`` when it is legal."""
        if width % self.multiple or height % self.multiple:
            return f"both edges must be multiples of {self.multiple}"
        if max(width, height) > self.max_edge:
            return f"no edge may be longer than {self.max_edge}"
        if max(width, height) > self.max_ratio * min(width, height):
            return f"the long edge may be at most {self.max_ratio:g} times the short one"
        if not self.min_pixels <= width * height <= self.max_pixels:
            return f"it must have between {self.min_pixels} and {self.max_pixels} pixels"
        return None


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
class ModelProfile:
    """The rules of one model. An empty tuple or ``None`` means that there is no such rule, or that none is known."""

    name: str
    snapshots: tuple[str, ...] = ()
    """Dated names of the same model."""
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
    generates: bool = True
    """Whether it makes pictures from a prompt alone."""
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
    price: Price = field(factory=Price)
    output_tokens: OutputTokens = field(factory=OutputTokens)
    tiers: Mapping[int, tuple[int, int | None]] = field(factory=dict[int, tuple[int, int | None]])
    """Images and tokens per minute that an account of each usage tier has."""
    sources: Mapping[str, str] = field(factory=dict[str, str])
    """Where the facts come from, by the name of the attribute; ``""`` is for all that are not named."""


ModelProfile.__module__ = "imagesdk"
for _type in (SizeRule, ImageRule, Price, OutputTokens):
    _type.__module__ = "imagesdk.models"

"""What is known of each model: the one place where its limits, prices and dates stand.

A model that is not in the table is never checked: the server decides. :func:`register` adds a profile or
replaces one, for a model that is newer than this table or an account with other terms.

Sources, as of 2026-11-23: the Images API reference of 2023 (dall-e-2), the parameter types of openai-python
3.54.0 (dates, prompt lengths, edit limits), the maker's image guide (free sizes) and the price table of
litellm 1.109.1, which cites the maker's price page.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from attrs import field, frozen

__all__ = ["ImageRule", "ModelProfile", "Price", "SizeRule", "known", "lookup", "register"]

MAKER_EDIT_MODEL = MAKER_GENERATE_MODEL = "gpt-image-2"
"""What ``generate`` and ``edit`` name on the maker's own host when no model is given."""
MAKER_VARIATION_MODEL = "dall-e-2"
"""The only model that ever made variations."""

URL_LIFETIME = 3600
"""Seconds that a result URL of the 2023 API works."""


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

    per_image: Mapping[str, Decimal] = field(factory=dict[str, Decimal])
    """By size."""
    text_input: Decimal | None = None
    """Per million tokens, as are the next two."""
    image_input: Decimal | None = None
    image_output: Decimal | None = None


@frozen
class ModelProfile:
    """The rules of one model. An empty tuple or ``None`` means that there is no such rule."""

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
    backgrounds: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    rejected: frozenset[str] = frozenset()
    """Parameters that the server refuses for this model."""
    response_formats: tuple[str, ...] = ()
    """Empty: the model always answers with the pictures themselves and takes no ``response_format``."""
    edit: ImageRule | None = None
    mask: ImageRule | None = None
    variation: ImageRule | None = None
    released: date | None = None
    shut_down: date | None = None
    replacement: str | None = None
    price: Price = field(factory=Price)
    tiers: Mapping[int, tuple[int, int | None]] = field(factory=dict[int, tuple[int, int | None]])
    """Images and tokens per minute that an account of each usage tier has."""


_MIB = 1024 * 1024
_DALLE_2_PICTURE = ImageRule(media_types=("image/png",), max_bytes=4 * _MIB, square=True)

DALL_E_2 = ModelProfile(
    name="dall-e-2",
    prompt_length=1000,
    max_n=10,
    sizes=("256x256", "512x512", "1024x1024"),
    default_size="1024x1024",
    qualities=("standard",),
    rejected=frozenset({"background", "output_format", "output_compression", "moderation"}),
    response_formats=("url", "b64_json"),
    edit=ImageRule(media_types=("image/png",), max_bytes=4 * _MIB, square=True, alpha_without_mask=True),
    mask=_DALLE_2_PICTURE,
    variation=_DALLE_2_PICTURE,
    released=date(2022, 11, 3),
    shut_down=date(2026, 5, 12),
    replacement="gpt-image-2",
    price=Price(
        per_image={"256x256": Decimal("0.016"), "512x512": Decimal("0.018"), "1024x1024": Decimal("0.020")}
    ),
    # https://community.openai.com/t/1104758, where users of each tier named theirs
    tiers={1: (5, None), 2: (50, None), 3: (100, None), 4: (100, None), 5: (500, None)},
)

GPT_IMAGE_2 = ModelProfile(
    name="gpt-image-2",
    snapshots=("gpt-image-2-2026-04-21",),
    prompt_length=32_000,
    max_n=10,
    sizes=("1024x1024", "1536x1024", "1024x1536", "auto"),
    size_rule=SizeRule(multiple=16, max_edge=3840, max_ratio=3, min_pixels=655_360, max_pixels=8_294_400),
    default_size="auto",
    qualities=("low", "medium", "high", "auto"),
    backgrounds=("transparent", "opaque", "auto"),
    output_formats=("png", "jpeg", "webp"),
    rejected=frozenset({"response_format"}),
    edit=ImageRule(media_types=("image/png", "image/jpeg", "image/webp"), max_bytes=50 * _MIB, max_images=16),
    mask=ImageRule(media_types=("image/png",), max_bytes=50 * _MIB),
    released=date(2026, 4, 21),
    price=Price(text_input=Decimal(5), image_input=Decimal(8), image_output=Decimal(30)),
    # The model's own page, as it was in April and May 2026
    tiers={1: (5, 100_000), 2: (20, 250_000), 3: (50, 800_000), 4: (150, 3_000_000), 5: (250, 8_000_000)},
)

_profiles: dict[str, ModelProfile] = {}


def register(profile: ModelProfile) -> None:
    """Add ``profile``, or replace the one of the same name, for every client of this process."""
    for name in [name for name, old in _profiles.items() if old.name == profile.name]:
        del _profiles[name]
    for name in (profile.name, *profile.snapshots):
        _profiles[name] = profile


def lookup(name: str | None) -> ModelProfile | None:
    """Return the profile of a model; ``None`` for an unknown name, which is never checked."""
    return _profiles.get(name) if name is not None else None


def known() -> tuple[ModelProfile, ...]:
    """Return every profile once, in the order in which they were registered."""
    return tuple(profile for name, profile in _profiles.items() if name == profile.name)


for _profile in (DALL_E_2, GPT_IMAGE_2):
    register(_profile)

ModelProfile.__module__ = "imagesdk"

"""What is known of each model: its limits, prices and dates.

A model that is not in the table is never checked: the server decides. :func:`register` adds a profile or
replaces one, for a model that is newer than this table or an account with other terms. The facts themselves,
each with its source, stand in :mod:`imagesdk.models.catalog`.
"""

from __future__ import annotations

from datetime import date

from imagesdk.models.catalog import (
    AS_OF,
    BATCH_SHARE,
    CHATGPT_IMAGE_LATEST,
    COMPRESSION,
    DALL_E_2,
    DALL_E_3,
    GIF_FRAMES,
    GPT_IMAGE_1,
    GPT_IMAGE_1_5,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_2,
    GPT_IMAGE_2_5_FLARE,
    GPT_IMAGE_2_5_SUNBURST,
    GPT_IMAGE_2_6_FLARE,
    GPT_IMAGE_2_6_SUNBURST,
    MAX_FRAME_DURATION,
    MAX_IMAGE_URL,
    MAX_PARTIAL_IMAGES,
    MAX_SAFETY_IDENTIFIER,
    OPENAI_EDIT_MODEL,
    OPENAI_GENERATE_MODEL,
    OPENAI_VARIATION_MODEL,
    PROFILES,
    RETIRED_ENDPOINTS,
    SVG_EFFORTS,
    URL_LIFETIME,
    WARNING_DAYS,
)
from imagesdk.models.profile import ImageRule, InputTokens, ModelProfile, OutputTokens, Price
from imagesdk.models.sizes import SizeRule, nearest_of, parse_size
from imagesdk.remedies import Remedy, worded

__all__ = [
    # the table
    "known",
    "lookup",
    "register",
    # what it says
    "nearest_size",
    "retirement_notice",
    # the types of its entries
    "ImageRule",
    "InputTokens",
    "ModelProfile",
    "OutputTokens",
    "Price",
    "SizeRule",
    # models
    "CHATGPT_IMAGE_LATEST",
    "DALL_E_2",
    "DALL_E_3",
    "GPT_IMAGE_1",
    "GPT_IMAGE_1_5",
    "GPT_IMAGE_1_MINI",
    "GPT_IMAGE_2",
    "GPT_IMAGE_2_5_FLARE",
    "GPT_IMAGE_2_5_SUNBURST",
    "GPT_IMAGE_2_6_FLARE",
    "GPT_IMAGE_2_6_SUNBURST",
    # facts of the API as a whole
    "AS_OF",
    "BATCH_SHARE",
    "COMPRESSION",
    "GIF_FRAMES",
    "OPENAI_EDIT_MODEL",
    "OPENAI_GENERATE_MODEL",
    "OPENAI_VARIATION_MODEL",
    "MAX_FRAME_DURATION",
    "MAX_IMAGE_URL",
    "MAX_PARTIAL_IMAGES",
    "MAX_SAFETY_IDENTIFIER",
    "RETIRED_ENDPOINTS",
    "SVG_EFFORTS",
    "URL_LIFETIME",
    "WARNING_DAYS",
]

_profiles: dict[str, ModelProfile] = {}


def register(profile: ModelProfile) -> None:
    """Add ``profile``, or replace the one of the same name, for every client of this process."""
    for name in [name for name, old in _profiles.items() if old.name == profile.name]:
        del _profiles[name]
    for name in (profile.name, *profile.snapshots):
        _profiles[name] = profile


def lookup(name: str | None) -> ModelProfile | None:
    """Return the profile of a model; ``None`` for an unknown name, which is never checked."""
    return _profiles.get(name) if isinstance(name, str) else None


def known() -> tuple[ModelProfile, ...]:
    """Return every profile once, in the order in which they were registered."""
    return tuple(profile for name, profile in _profiles.items() if name == profile.name)


def nearest_size(width: int, height: int, model: str | ModelProfile = OPENAI_GENERATE_MODEL) -> str:
    """Return ``"WIDTHxHEIGHT"``: the size that a model takes and that is nearest to the one you want.

    A legal size comes back as it is, and so does any size for a model of which no sizes are known. Where a model
    takes free sizes, the ratio is kept first: a size that is too small or too large is scaled as a whole, and one
    that is too oblong gets the most oblong ratio there is, of the same area; then the legal size is taken whose
    edges differ least from that, in proportion. Where a model takes only a few sizes, the nearest ratio wins, and
    of several of that ratio the nearest area.

    Example:
        models.nearest_size(1920, 1080, "gpt-image-2")  # "1920x1088"

    Raises:
        ValueError: an edge is not a whole number of at least 1.
    """
    for name, edge in (("width", width), ("height", height)):
        if type(edge) is not int or edge < 1:
            raise ValueError(f"{name} is a whole number of at least 1, not {edge!r}")
    profile = model if isinstance(model, ModelProfile) else lookup(model)
    wanted = (width, height)
    if profile is not None:
        listed = [size for size in map(parse_size, profile.sizes) if size is not None]
        free = profile.size_rule.nearest(width, height) if profile.size_rule is not None else None
        if wanted not in listed:
            wanted = free or nearest_of(listed, width, height) or wanted
    return f"{wanted[0]}x{wanted[1]}"


def retirement_notice(
    profile: ModelProfile | None, today: date, *, endpoint: str | None = None
) -> str | None:
    """Return when OpenAI ends a model or an endpoint, and what to use in its place.

    ``None`` where no end is known or it is more than :data:`WARNING_DAYS` days away. ``endpoint`` is
    ``"generations"``, ``"edits"`` or ``"variations"``.
    """
    found = retirement_of(profile, today, endpoint=endpoint)
    return None if found is None else worded(*found)


def retirement_of(
    profile: ModelProfile | None, today: date, *, endpoint: str | None = None
) -> tuple[str, tuple[Remedy, ...]] | None:
    """Return what :func:`retirement_notice` says as a summary and remedies."""
    if endpoint in RETIRED_ENDPOINTS:
        end, remedy = RETIRED_ENDPOINTS[endpoint]
        if today >= end:
            return f"The {endpoint} endpoint was retired on {end}.", (remedy,)
    if profile is None or profile.shut_down is None:
        return None
    end, left = profile.shut_down, (profile.shut_down - today).days
    if left > WARNING_DAYS:
        return None
    remedies = (Remedy.USE_MODEL.of(profile.replacement),) if profile.replacement else ()
    if left <= 0:
        return f"{profile.name} was shut down on {end}.", remedies
    days = f"in {left} days" if left > 1 else "tomorrow"
    return f"{profile.name} will be shut down on {end}, {days}.", remedies


for _profile in PROFILES:
    register(_profile)

"""Registry of model profiles: rules, prices and dates of each known model.

A model without a profile is never checked: the server decides. :func:`register` adds or replaces a profile, for a
model that is newer than the catalog or an account with other terms. The facts and their sources are in
:mod:`imagesdk.models.catalog`.
"""

from __future__ import annotations

from datetime import date

from imagesdk.models.catalog import (
    CHATGPT_IMAGE_LATEST,
    DALL_E_2,
    DALL_E_3,
    GPT_IMAGE_1,
    GPT_IMAGE_1_5,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_2,
    GPT_IMAGE_2_5_FLARE,
    GPT_IMAGE_2_5_SUNBURST,
    GPT_IMAGE_2_6_FLARE,
    GPT_IMAGE_2_6_SUNBURST,
    OPENAI_GENERATE_MODEL,
    PROFILES,
    RETIRED_ENDPOINTS,
    WARNING_DAYS,
)
from imagesdk.models.profile import ImageRule, InputTokens, ModelProfile, OutputTokens, Price
from imagesdk.models.sizes import SizeRule, nearest_of, parse_size
from imagesdk.remedies import Remedy, worded

# fmt: off
__all__ = [
    "known", "lookup", "register",
    "nearest_size", "retirement_notice",
    "ImageRule", "InputTokens", "ModelProfile", "OutputTokens", "Price", "SizeRule",
    "CHATGPT_IMAGE_LATEST", "DALL_E_2", "DALL_E_3", "GPT_IMAGE_1", "GPT_IMAGE_1_5", "GPT_IMAGE_1_MINI",
    "GPT_IMAGE_2", "GPT_IMAGE_2_5_FLARE", "GPT_IMAGE_2_5_SUNBURST", "GPT_IMAGE_2_6_FLARE",
    "GPT_IMAGE_2_6_SUNBURST",
]
# fmt: on

_profiles: dict[str, ModelProfile] = {}


def register(profile: ModelProfile) -> None:
    """Add a profile, or replace the profile of the same name, for all clients of this process."""
    for name in [name for name, old in _profiles.items() if old.name == profile.name]:
        del _profiles[name]
    for name in (profile.name, *profile.snapshots):
        _profiles[name] = profile


def lookup(name: str | None) -> ModelProfile | None:
    """Return the profile of a model; ``None`` for an unknown model, which is never checked."""
    return _profiles.get(name) if isinstance(name, str) else None


def known() -> tuple[ModelProfile, ...]:
    """Return every profile once, in the order of registration."""
    return tuple(profile for name, profile in _profiles.items() if name == profile.name)


def nearest_size(width: int, height: int, model: str | ModelProfile = OPENAI_GENERATE_MODEL) -> str:
    """Return the nearest size that a model takes, as ``"WIDTHxHEIGHT"``.

    A legal size is returned unchanged, and so is every size for a model without known sizes.

    - If the model takes free sizes, the size is first clamped to the legal range of areas, keeping its ratio, and to
      the legal ratios, keeping its area. Then the legal size with the smallest relative difference of its edges is
      chosen.
    - If the model takes only listed sizes, the nearest ratio is chosen, and of several the nearest area.

    Example:
        ```python
        models.nearest_size(1920, 1080, "gpt-image-2")  # "1920x1088"
        ```

    Args:
        width: Pixels, at least 1.
        height: Pixels, at least 1.
        model: The name or the profile of a model.

    Raises:
        ValueError: If an edge is not a whole number of at least 1.
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

    ``None`` if no date is known, or if it is more than 60 days away. ``endpoint`` is ``"generations"``,
    ``"edits"`` or ``"variations"``.
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

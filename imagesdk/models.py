"""What is known of each model: its limits, prices and dates.

A model that is not in the table is never checked: the server decides. :func:`register` adds a profile or
replaces one, for a model that is newer than this table or an account with other terms. The facts themselves,
each with its source, stand in ``_catalogue.py``.
"""

from __future__ import annotations

from imagesdk._catalogue import (
    DALL_E_2,
    GPT_IMAGE_2,
    MAKER_EDIT_MODEL,
    MAKER_GENERATE_MODEL,
    MAKER_VARIATION_MODEL,
    PROFILES,
    URL_LIFETIME,
    WARNING_DAYS,
)
from imagesdk._profile import ImageRule, ModelProfile, OutputTokens, Price, SizeRule

__all__ = [
    "DALL_E_2",
    "GPT_IMAGE_2",
    "MAKER_EDIT_MODEL",
    "MAKER_GENERATE_MODEL",
    "MAKER_VARIATION_MODEL",
    "URL_LIFETIME",
    "WARNING_DAYS",
    "ImageRule",
    "ModelProfile",
    "OutputTokens",
    "Price",
    "SizeRule",
    "known",
    "lookup",
    "register",
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
    return _profiles.get(name) if name is not None else None


def known() -> tuple[ModelProfile, ...]:
    """Return every profile once, in the order in which they were registered."""
    return tuple(profile for name, profile in _profiles.items() if name == profile.name)


for _profile in PROFILES:
    register(_profile)

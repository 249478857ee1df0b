"""``imagesdk models [NAME]``: what is known of each model, with the sources."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeGuard

from imagesdk.cli.exits import OK, UsageError
from imagesdk.cli.session import flag, note

if TYPE_CHECKING:
    from attrs import AttrsInstance

    from imagesdk import ModelProfile

_SIZE = "1024x1024"
_NOTHING: tuple[object, ...] = (None, [], {})
_HEAD = ("MODEL", "RELEASED", "ENDS", "DOLLARS", "SIZES")


def run(options: Namespace) -> int:
    """Print the catalogue, or all of one profile."""
    from imagesdk import models
    from imagesdk.models import catalog

    if options.name is not None:
        profile = models.lookup(options.name)
        if profile is None:
            names = ", ".join(known.name for known in _in_order(models.known()))
            raise UsageError(f"{options.name} is not in the table of models; known are {names}")
        print(json.dumps(_plain(profile)) if flag(options, "json") else "\n".join(_all_of(profile)))
        return OK
    profiles = _in_order(models.known())
    if flag(options, "json"):
        print(json.dumps({"as_of": str(catalog.AS_OF), "models": [_plain(profile) for profile in profiles]}))
        return OK
    rows = [_HEAD, *(_row(profile) for profile in profiles)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    note(
        options,
        f"As of {catalog.AS_OF}. Dollars are for one picture of {_SIZE}, from the lowest quality to the highest, "
        "by the maker's prices. imagesdk models NAME says everything.",
    )
    return OK


def _in_order(profiles: tuple[ModelProfile, ...]) -> list[ModelProfile]:
    """Put the newest first that has no end, and last what ended first. The order does not depend on the day."""
    newest = sorted(profiles, key=lambda profile: profile.released or date.min, reverse=True)
    return sorted(newest, key=lambda profile: profile.shut_down or date.max, reverse=True)


def _row(profile: ModelProfile) -> tuple[str, str, str, str, str]:
    rule = profile.size_rule
    sizes = (
        " ".join(profile.sizes) if rule is None else f"multiples of {rule.multiple} to {rule.max_edge}, auto"
    )
    return (
        profile.name,
        str(profile.released or "-"),
        str(profile.shut_down or "-"),
        _dollars(profile),
        sizes or "-",
    )


def _dollars(profile: ModelProfile) -> str:
    from imagesdk import Generate, estimate

    each = [
        found
        for quality in profile.qualities
        if (found := estimate(Generate("", size=_SIZE, quality=quality), model=profile).cost) is not None
    ]
    if not each:
        return "unknown"
    lowest, highest = (f"{dollars:.3f}" for dollars in (min(each), max(each)))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def _all_of(profile: ModelProfile) -> list[str]:
    facts = _plain(profile)
    sources = facts.pop("sources")
    width = max(len(name) for name in facts)
    lines = [
        f"{name.ljust(width)}  {_shown(value)}" for name, value in facts.items() if value not in _NOTHING
    ]
    lines += ["", "sources"]
    for name in sorted(sources, key=lambda name: (not name, name)):
        lines.append(f"{(name or 'all else').ljust(width)}  {sources[name]}")
    return lines


def _shown(value: object, within: str = ", ") -> str:
    if _is_mapping(value):
        return ", ".join(
            f"{name} {_shown(inner, ' and ')}" for name, inner in value.items() if inner not in _NOTHING
        )
    if _is_sequence(value):
        return within.join(str(item) for item in value if item is not None)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _plain(value: object) -> Any:
    """Return a fact as JSON has it."""
    import attrs

    if _has_fields(value):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if _is_mapping(value):
        return {" ".join(key) if _is_sequence(key) else str(key): _plain(item) for key, item in value.items()}
    if _is_sequence(value):
        return [_plain(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    return str(value) if isinstance(value, (Decimal, date)) else value


def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (tuple, list, frozenset))


def _has_fields(value: object) -> TypeGuard[AttrsInstance]:
    import attrs

    return attrs.has(type(value))

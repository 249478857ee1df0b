"""``imagesdk models [NAME]``: show facts about the models, with their sources; with ``--live``, those of the server."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeGuard

from imagesdk.cli.exits import OK, UsageError
from imagesdk.cli.session import has_flag, note, print_json

if TYPE_CHECKING:
    from imagesdk import ModelProfile

_SIZE = "1024x1024"
_NOTHING: tuple[object, ...] = (None, [], {})
_HEAD = ("MODEL", "RELEASED", "ENDS", "DOLLARS", "SIZES")
_LIVE_HEAD = ("MODEL", "CREATED", "ENDS")


def run(options: Namespace) -> int:
    """Print a table of all models, or all facts about one."""
    if options.live:
        return _run_live(options)

    from imagesdk import models
    from imagesdk.models import catalog

    if options.name is not None:
        profile = models.lookup(options.name)
        if profile is None:
            names = ", ".join(known.name for known in _newest_first(models.known()))
            raise UsageError(f"{options.name} is not a known model. Known models: {names}")
        if has_flag(options, "json"):
            print_json(_json_value(profile))
        else:
            print("\n".join(_profile_lines(profile)))
        return OK
    profiles = _newest_first(models.known())
    if has_flag(options, "json"):
        print_json({"as_of": catalog.AS_OF, "models": _json_value(profiles)})
        return OK
    _print_table([_HEAD, *(_table_row(profile) for profile in profiles)])
    note(
        options,
        f"As of {catalog.AS_OF}. Dollars are for one image of {_SIZE}, from the lowest quality to the highest, "
        "at OpenAI's prices. imagesdk models NAME shows all facts about a model.",
    )
    return OK


def _run_live(options: Namespace) -> int:
    """Print the models of the server, and where its dates differ from the table."""
    from imagesdk import models
    from imagesdk.cli.session import open_client

    with open_client(options) as client:
        served = client.models.list() if options.name is None else (client.models.retrieve(options.name),)
    if has_flag(options, "json"):
        print_json({"models": _json_value(served)})
    else:
        rows = [
            (one.id, str(one.created.date()) if one.created else "-", str(one.shut_down or "-"))
            for one in served
        ]
        _print_table([_LIVE_HEAD, *rows])
    for one in served:
        profile = models.lookup(one.id)
        if profile is not None and one.shut_down is not None and one.shut_down != profile.shut_down:
            ours = profile.shut_down or "without a date"
            note(options, f"imagesdk: {one.id} ends on {one.shut_down}; in the table of imagesdk: {ours}.")
    return OK


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _newest_first(profiles: tuple[ModelProfile, ...]) -> list[ModelProfile]:
    """Sort models without an end first, then by the latest end; the newest first among equals."""
    newest = sorted(profiles, key=lambda profile: profile.released or date.min, reverse=True)
    return sorted(newest, key=lambda profile: profile.shut_down or date.max, reverse=True)


def _table_row(profile: ModelProfile) -> tuple[str, str, str, str, str]:
    rule = profile.size_rule
    ruled = f"multiples of {rule.multiple} to {rule.max_edge}, auto" if rule else ""
    sizes = ruled or " ".join(profile.sizes) or "-"
    released, ends = str(profile.released or "-"), str(profile.shut_down or "-")
    return profile.name, released, ends, _dollars(profile), sizes


def _dollars(profile: ModelProfile) -> str:
    from imagesdk import Generate, estimate

    jobs = [Generate("", size=_SIZE, quality=quality) for quality in profile.qualities]
    costs = [cost for job in jobs if (cost := estimate(job, model=profile).cost) is not None]
    if not costs:
        return "unknown"
    lowest, highest = f"{min(costs):.3f}", f"{max(costs):.3f}"
    return lowest if lowest == highest else f"{lowest} to {highest}"


def _profile_lines(profile: ModelProfile) -> list[str]:
    facts = _json_value(profile)
    sources = facts.pop("sources")
    width = max(len(name) for name in facts)
    lines = [
        f"{name.ljust(width)}  {_format_value(value)}"
        for name, value in facts.items()
        if value not in _NOTHING
    ]
    lines += ["", "sources"]
    for name in sorted(sources, key=lambda name: (not name, name)):
        lines.append(f"{(name or 'all else').ljust(width)}  {sources[name]}")
    return lines


def _format_value(value: object, within: str = ", ") -> str:
    if _is_mapping(value):
        known = {name: inner for name, inner in value.items() if inner not in _NOTHING}
        return ", ".join(f"{name} {_format_value(inner, ' and ')}" for name, inner in known.items())
    if _is_sequence(value):
        return within.join(str(item) for item in value if item is not None)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _json_value(value: object) -> Any:
    """Convert classes and collections to those of JSON."""
    import attrs

    kind = type(value)
    if attrs.has(kind):
        return {field.name: _json_value(getattr(value, field.name)) for field in attrs.fields(kind)}
    if _is_mapping(value):
        items = ((" ".join(key) if _is_sequence(key) else str(key), item) for key, item in value.items())
        return {key: _json_value(item) for key, item in items}
    if _is_sequence(value):
        return [_json_value(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    return value


def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (tuple, list, frozenset))

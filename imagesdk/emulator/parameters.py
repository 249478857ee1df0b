"""Checks of single parameters: strings, numbers, choices and sizes.

A check receives a value from JSON, or a string from a form. It returns the value in its own type or raises
:class:`~imagesdk.emulator.answers.Refusal`. ``models`` assigns checks to parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Protocol, cast

from attrs import frozen

from imagesdk.emulator.answers import (
    Refusal,
    invalid_type,
    invalid_value,
    out_of_bounds,
    unknown_parameter,
    unsupported,
)

__all__ = [
    "EFFORTS",
    "Author",
    "Check",
    "Choice",
    "Flag",
    "FreeSize",
    "Integer",
    "OnlyOne",
    "Parameter",
    "Text",
    "Unsupported",
    "check_area",
    "object_members",
]


class Check(Protocol):
    """Rule for one value."""

    def read(self, name: str, value: object, *, form: bool) -> object:
        """Return the value in its own type. In a ``form``, numbers are strings."""


@frozen
class Text:
    """String of ``minimum`` (0 or 1) to ``max_length`` characters."""

    max_length: int | None = None
    minimum: int = 1

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return the string."""
        if not isinstance(value, str):
            raise invalid_type(name, "a string", value)
        if len(value) < self.minimum:
            expected = "a string with minimum length 1"
            raise out_of_bounds(name, "empty string", expected, "an empty string", "empty_string")
        if self.max_length is not None and len(value) > self.max_length:
            expected = f"a string with maximum length {self.max_length}"
            given = f"a string with length {len(value)}"
            raise out_of_bounds(name, "string too long", expected, given, "string_above_max_length")
        return value


@frozen
class Integer:
    """Whole number between two inclusive bounds."""

    minimum: int
    maximum: int

    def read(self, name: str, value: object, *, form: bool) -> int:
        """Return the number."""
        if form and isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid_type(name, "an integer", value)
        if value < self.minimum:
            problem, expected = "integer below minimum value", f"a value >= {self.minimum}"
            raise out_of_bounds(name, problem, expected, f"{value}", "integer_below_min_value")
        if value > self.maximum:
            problem, expected = "integer above maximum value", f"a value <= {self.maximum}"
            raise out_of_bounds(name, problem, expected, f"{value}", "integer_above_max_value")
        return value


@frozen
class Choice:
    """One of a list of strings."""

    values: tuple[str, ...]

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return the string."""
        text = Text(minimum=0).read(name, value, form=form)
        if text not in self.values:
            raise invalid_value(name, text, self.values)
        return text


EFFORTS = Choice(("none", "minimal", "low", "medium", "high", "xhigh", "max"))


@frozen
class OnlyOne:
    """The number 1."""

    def read(self, name: str, value: object, *, form: bool) -> int:
        """Return the number."""
        if Integer(1, 10).read(name, value, form=form) != 1:
            raise Refusal("You must provide n=1 for this model.", param=name)
        return 1


@frozen
class FreeSize:
    """``auto``, or a ``WIDTHxHEIGHT`` that satisfies the rule of GPT Image 2.

    Both edges are multiples of 16 and at most 3840. The long edge is at most three times the short one. The
    image has 655 360 to 8 294 400 pixels. With ``any_area``, :func:`check_area` checks the last rule, for a
    model whose images may be frames.
    """

    any_area: bool = False

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return the size."""
        size = Text(minimum=0).read(name, value, form=form)
        _raise_problem(name, size, self._problem(size))
        return size

    def _problem(self, value: str) -> str | None:
        if value == "auto":
            return None
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value, re.ASCII)
        if match is None:
            return "The size must be 'auto' or have the form WIDTHxHEIGHT."
        width, height = int(match[1]), int(match[2])
        if width % 16 or height % 16:
            return "Width and height must both be divisible by 16."
        if max(width, height) > 3840:
            return "The longest edge must be less than or equal to 3840."
        if max(width, height) > 3 * min(width, height):
            return "The longest edge must be at most three times the shortest edge."
        return None if self.any_area else _area_problem(width * height)


def check_area(size: str, frames: int = 1) -> None:
    """Reject a size with too few or too many pixels.

    The frames of an animation lie on a sheet of 9, 12 or 16 cells, and the sheet must satisfy the rule for an
    image. This gives the largest squares that users found: 960 for up to 9 frames, 816 for 12, 720 for 16.
    https://docs.apiyi.com/en/live/2026-11/gpt-image-2-6-gif-size-table
    """
    cells = 1 if frames == 1 else next(cells for cells in (9, 12, 16) if frames <= cells)
    width, _, height = size.partition("x")
    _raise_problem("size", size, _area_problem(int(width) * int(height) * cells))


def _area_problem(pixels: int) -> str | None:
    if pixels < 655_360:
        return "Requested resolution is below the current minimum pixel budget."
    if pixels > 8_294_400:
        return "Requested resolution is above the current maximum pixel budget."
    return None


def _raise_problem(name: str, size: str, problem: str | None) -> None:
    if problem is not None:
        raise Refusal(f"Invalid size '{size}'. {problem}", param=name, code="invalid_value")


@frozen
class Flag:
    """Boolean."""

    def read(self, name: str, value: object, *, form: bool) -> bool:
        """Return the boolean."""
        if form and value in {"true", "false"}:
            return value == "true"
        if not isinstance(value, bool):
            raise invalid_type(name, "a boolean", value)
        return value


@frozen
class Author:
    """Author of an SVG: ``{"model": ..., "reasoning": {"effort": ...}}``."""

    def read(self, name: str, value: object, *, form: bool) -> Mapping[str, str]:
        """Return ``model`` and ``effort``, if given."""
        given = object_members(name, value, {"model", "reasoning"})
        chosen: dict[str, str] = {}
        if given.get("model") is not None:  # optional: a project without a choice of models must omit it
            chosen["model"] = Text().read(f"{name}.model", given["model"], form=form)
        if given.get("reasoning") is not None:
            effort = object_members(f"{name}.reasoning", given["reasoning"], {"effort"}).get("effort")
            if effort is not None:
                chosen["effort"] = EFFORTS.read(f"{name}.reasoning.effort", effort, form=form)
        return chosen


@frozen
class Unsupported:
    """Parameter that the model rejects, except for the values ``but``."""

    message: str
    code: str
    but: tuple[str, ...] = ()

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return an accepted value."""
        if isinstance(value, str) and value in self.but:
            return value
        raise unsupported(name, self.message, self.code)


@frozen
class Parameter:
    """Parameter of an endpoint."""

    check: Check
    default: object = None
    required: bool = False
    since: date | None = None
    """First day on which the API knew the parameter."""
    until: date | None = None
    """First day on which the API did not know the parameter any more."""
    in_forms: bool = True
    """Whether forms may contain the parameter."""

    def known_on(self, day: date | None) -> bool:
        """Return whether the API knows the parameter on a day. ``None`` is today."""
        if day is None:
            return self.until is None
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


def object_members(name: str, value: object, known: set[str]) -> Mapping[str, object]:
    """Return the members of a JSON object, which must all be in ``known``."""
    if not isinstance(value, dict):
        raise invalid_type(name, "an object", value)
    members = cast("Mapping[str, object]", value)
    for member in members:
        if member not in known:
            raise unknown_parameter(f"{name}.{member}")
    return members

"""What a single parameter may be: texts, numbers, choices and sizes, and what the API answers if it is not.

A check takes the value as it came (from JSON, or a text from a form), gives it back in its own type, or
raises a :class:`~imagesdk.emulator.answers.Refusal`. Which parameter has which check stands in ``rules``.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Protocol

from attrs import frozen

from imagesdk.emulator.answers import Refusal, invalid_type, invalid_value

__all__ = ["Check", "Choice", "Flag", "FreeSize", "Integer", "Parameter", "Text"]


class Check(Protocol):
    """The rule for one value."""

    def read(self, name: str, value: object, *, form: bool) -> object:
        """Return the value in its own type; ``form`` says that numbers come as text."""
        ...


@frozen
class Text:
    """A string that is not empty; ``max_length`` counts characters."""

    max_length: int | None = None

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise invalid_type(name, "a string", value)
        if not value:
            raise Refusal(
                f"Invalid '{name}': empty string. Expected a string with minimum length 1, but got an empty "
                "string instead.",
                param=name,
                code="empty_string",
            )
        if self.max_length is not None and len(value) > self.max_length:
            raise Refusal(
                f"Invalid '{name}': string too long. Expected a string with maximum length {self.max_length}, "
                f"but got a string with length {len(value)} instead.",
                param=name,
                code="string_above_max_length",
            )
        return value


@frozen
class Integer:
    """A whole number between two bounds, both allowed."""

    minimum: int
    maximum: int

    def read(self, name: str, value: object, *, form: bool) -> int:
        """Return the number."""
        if form and isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid_type(name, "an integer", value)
        if value < self.minimum:
            raise Refusal(
                f"Invalid '{name}': integer below minimum value. Expected a value >= {self.minimum}, but got "
                f"{value} instead.",
                param=name,
                code="integer_below_min_value",
            )
        if value > self.maximum:
            raise Refusal(
                f"Invalid '{name}': integer above maximum value. Expected a value <= {self.maximum}, but got "
                f"{value} instead.",
                param=name,
                code="integer_above_max_value",
            )
        return value


@frozen
class Choice:
    """One of a list of texts."""

    values: tuple[str, ...]

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise invalid_type(name, "a string", value)
        if value not in self.values:
            raise invalid_value(name, value, self.values)
        return value


@frozen
class FreeSize:
    """``auto``, or any ``WIDTHxHEIGHT`` that fits the arithmetic rule of GPT Image 2.

    Both edges are multiples of 16, none is longer than 3840, the long one is at most three times the short
    one, and there are 655 360 to 8 294 400 pixels.
    """

    def read(self, name: str, value: object, *, form: bool) -> str:
        """Return the size."""
        if not isinstance(value, str):
            raise invalid_type(name, "a string", value)
        problem = self._problem(value)
        if problem is not None:
            raise Refusal(f"Invalid size '{value}'. {problem}", param=name, code="invalid_value")
        return value

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
        if width * height < 655_360:
            return "Requested resolution is below the current minimum pixel budget."
        if max(width, height) > 3 * min(width, height):
            return "The longest edge must be at most three times the shortest edge."
        if width * height > 8_294_400:
            return "Requested resolution is above the current maximum pixel budget."
        return None


@frozen
class Flag:
    """Yes or no."""

    def read(self, name: str, value: object, *, form: bool) -> bool:
        """Return the answer."""
        if form and value in {"true", "false"}:
            return value == "true"
        if not isinstance(value, bool):
            raise invalid_type(name, "a boolean", value)
        return value


@frozen
class Parameter:
    """A parameter of an endpoint."""

    check: Check
    default: object = None
    required: bool = False
    since: date | None = None
    """The first day on which the API knew it."""

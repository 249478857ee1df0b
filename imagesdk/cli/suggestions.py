"""Suggestions for misspelt commands and options."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CHOICE = re.compile(
    r"argument (?P<name>[^:]+): invalid choice: '(?P<given>[^']*)' \(choose from (?P<choices>.+)\)"
)


def with_suggestion(message: str) -> str:
    """Add the nearest choice to argparse's message about an invalid choice."""
    if found := _CHOICE.search(message):
        choices = [choice.strip("' ") for choice in found["choices"].split(",")]
        return message + did_you_mean(found["given"], choices)
    return message


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return a question with the nearest known word; empty if none is near."""
    from difflib import get_close_matches

    by_name = {word.lstrip("-"): word for word in known}
    near = get_close_matches(given.partition("=")[0].lstrip("-"), list(by_name), n=1, cutoff=0.6)
    return f"; did you mean {by_name[near[0]]}?" if near else ""

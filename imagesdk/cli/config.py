"""``imagesdk config show``: print each setting, its value and its origin."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.exits import OK
from imagesdk.cli.session import has_flag, print_json
from imagesdk.cli.settings import settings_of


def run(options: Namespace) -> int:
    """Print the settings as a table, or as JSON."""
    settings = settings_of(options)
    if has_flag(options, "json"):
        print_json({each.name: {"value": each.value, "origin": each.origin} for each in settings})
        return OK
    width = max(len(each.name) for each in settings)
    for each in settings:
        origin = (
            each.origin if each.value is not None or each.origin == "default" else f"{each.origin} is not set"
        )
        print(f"{each.name:<{width}}  {'-' if each.value is None else each.value}  ({origin})")
    return OK

"""Tests of programs that use the Images API: a pytest plugin, and recordings of real exchanges.

Pytest loads this module at its start, so it imports nothing. Its fixtures are in ``plugin``. The names below load on
first use. They need the extra ``emulator``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesdk.emulator.log import RequestRecord
    from imagesdk.emulator.verdict import Finding, Verdict
    from imagesdk.testing.recording import recorded
    from imagesdk.testing.server import Expectation, ImageServer

__all__ = ["Expectation", "Finding", "ImageServer", "RequestRecord", "Verdict", "recorded"]

pytest_plugins = ("imagesdk.testing.plugin",)

_HOMES = {
    "Expectation": "imagesdk.testing.server",
    "Finding": "imagesdk.emulator.verdict",
    "ImageServer": "imagesdk.testing.server",
    "RequestRecord": "imagesdk.emulator.log",
    "Verdict": "imagesdk.emulator.verdict",
    "recorded": "imagesdk.testing.recording",
}


def __getattr__(name: str) -> object:
    # No __dir__ lists these names: pytest reads every attribute that a plugin lists.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _ = import_module("imagesdk.emulator").Emulator  # raises with the name of the extra if it is missing
    return getattr(import_module(home), name)

"""Command line ``imagesdk``: one module per command, on the blocking client.

Paths and data go to stdout, everything else to stderr. Heavy modules are imported on first use: ``--help`` loads neither
httpx nor the client.
"""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code (see :mod:`imagesdk.cli.exits`)."""
    from imagesdk.cli import exits, parser

    return exits.run_guarded(lambda: parser.parse(arguments), parser.dispatch, as_json="--json" in arguments)

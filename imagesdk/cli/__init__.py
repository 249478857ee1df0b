"""The command line, ``imagesdk``: one module per command, over the blocking client.

Paths and data go to stdout, everything else to stderr. Nothing heavy is imported before it is needed: ``--help``
loads neither httpx nor the client.
"""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code (see :mod:`imagesdk.cli.exits`)."""
    from imagesdk.cli import exits, parser

    return exits.run_guarded(lambda: parser.parse(arguments), parser.dispatch, as_json="--json" in arguments)

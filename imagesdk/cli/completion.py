"""``imagesdk completion SHELL``: print a completion script."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.exits import OK


def run(options: Namespace) -> int:
    """Print the script for bash, zsh or fish."""
    from imagesdk.cli.parser import build

    try:
        from shtab import complete
    except ModuleNotFoundError as error:
        message = "completion needs shtab, which the extra `cli` of imagesdk installs"
        raise ModuleNotFoundError(message, name=error.name) from error
    print(complete(build(), options.shell))
    return OK

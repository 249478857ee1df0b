"""The library's messages in the words of the command line: ``--no-check`` where it says ``check=False``.

Rule: an option is named only to a command that has it. Where there is none, the advice is left out or stays as it is.
"""

from __future__ import annotations

import re
from argparse import Namespace
from typing import Final, NamedTuple


class _Row(NamedTuple):
    """How one turn of phrase is said."""

    pattern: str
    words: str
    option: str | None = None
    """The option that it takes, as the parser calls it; ``None`` if it takes none."""
    without: str | None = None
    """What is said to a command that lacks the option; ``None`` leaves the words as they are."""


# From the most special row to the most general.
_ROWS: Final = (
    _Row(r",? or pass check=False\b", ", or give --no-check", "no_check", ""),
    _Row(r" ?\bcheck=False sends it anyway\.", " --no-check sends it anyway.", "no_check", ""),
    _Row(
        r'imagesdk\.prepare_image\([^()]*square="crop"\) makes one; "pad"',
        "--square crop makes one; --square pad",
        "square",
    ),
    _Row(
        r'imagesdk\.prepare_image\([^()]*square="crop"\) makes it square; square="pad"',
        "--square crop makes it square; --square pad",
        "square",
        "A square picture is asked for; one with borders",
    ),
    _Row(r'imagesdk\.prepare_image\([^()]*square="crop", max_bytes=[^()]*\)', "--square crop", "square"),
    _Row(r"; its square=, size=, alpha= and max_bytes= are for what else is asked for", ""),
    _Row(r"imagesdk\.prepare_image\([^()]*\)", "--square crop (or pad)", "square"),
    _Row(r"imagesdk\.make_mask\([^()]*\)", "--mask-box L,T,R,B", "mask_box"),
    _Row(r"\bPass mask=", "Give --mask", "mask", "Give a mask"),
    _Row(r"\bpass mask=", "give --mask", "mask", "give a mask"),
    _Row(r"^(\w+)=(?= is empty, or holds)", r"\1"),
    _Row(r"^(\w+)=(?=\S+ holds \{)", r"\1 "),
    _Row(r"\bout=(?=[^\s,.;])", "--out ", "out"),
    _Row(r"\bout=", "--out", "out"),
    _Row(r" with journal=", " with --journal", "journal", ""),
    _Row(r"\bjournal=", "--journal", "journal", "journal"),
    _Row(
        r"\bbudget is a number of US dollars, such as (\"[^\"]*\") or Decimal\(\"([^\"]*)\"\)",
        r"--budget is a number of US dollars, such as \1 or \2",
        "budget",
    ),
    _Row(r"\bbudget=", "--budget", "budget"),
    _Row(r"\b\w+=\S+ \((--[\w -]+)\)", r"\1"),
    _Row(r"\btotal must be a positive number( or None)?", "--timeout must be a positive number", "timeout"),
    _Row(
        r"\bconcurrency is a whole number of at least 1, or None",
        "--concurrency is a whole number of at least 1",
        "concurrency",
    ),
    _Row(
        r"\bgive it a longer timeout=, or tell the client a higher rate_limit=",
        "give a higher --limit",
        "limit",
        "give it a longer --timeout, or set a higher IMAGESDK_RATE_LIMIT",
    ),
    _Row(r"\btimeout=", "--timeout", "timeout", "time"),
    _Row(r"\brate_limit=", "--limit", "limit", "IMAGESDK_RATE_LIMIT"),
    _Row(
        r"pass api_key='' to send none, or allow_insecure=True if the network is your own",
        "or unset OPENAI_API_KEY to send none",
    ),
    _Row(r"keys go into api_key=, queries into extra_query=", "the key goes into OPENAI_API_KEY"),
    _Row(r",? or (pass )?api_key=", ""),
    _Row(r"\bbase_url=(?=[^\s,.;)])", "--base-url "),
    _Row(r"\bbase_url\b=?", "--base-url"),
    _Row(r", or give another idempotency_key=", ""),
    _Row(r"\(n=(\d*)\)", r"(-n \1)", "n"),
    _Row(r" \(see caps= of the client\)", ""),
    _Row(r" Larger ones can be let in with caps=Caps\(\.\.\.\) of the client\.", ""),
    _Row(r": images\.\w+\(\) or images\.stream\(\) shows partial images", ""),
    _Row(r"\bimages\.edit\(\)", "imagesdk edit"),
    _Row(
        r"\b(Use|Fetch it with) client\.images\.download\([^()]*\), and pass the bytes",
        "Download it, and give the file",
    ),
    _Row(
        r"\bfetch it with client\.images\.download\([^()]*\), and pass the bytes",
        "download it, and give the file",
    ),
)
_PARAMETER: Final = re.compile(r"\b([a-z_]+)=(?:\"([^\"]*)\"|'([^']*)')")


def in_options(message: str, options: Namespace) -> str:
    """Return a message of the library as a user of the command with these options can act on it."""
    for row in _ROWS:
        has = row.option is None or hasattr(options, row.option)
        words = row.words if has else row.without
        if words is not None:
            message = re.sub(row.pattern, words, message)

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2] or found[3] or ""
        return f"--{name.replace('_', '-')} {value}" if hasattr(options, name) else found[0]

    return _PARAMETER.sub(option, message).replace("(-n )", "(-n)")

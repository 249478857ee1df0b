"""``imagesdk generate PROMPT``: make pictures from a prompt."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.parameters import given
from imagesdk.cli.session import make_pictures, read_prompt


def run(options: Namespace) -> int:
    """Make the pictures and print their paths."""
    prompt = read_prompt(options.prompt)

    from imagesdk import Generate

    return make_pictures(options, Generate(prompt, **given(options)), "making pictures")

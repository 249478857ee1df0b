"""``imagesdk generate PROMPT``: make pictures from a prompt."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.session import make_pictures, read_prompt


def run(options: Namespace) -> int:
    """Make the pictures and print their paths."""
    prompt = read_prompt(options.prompt)

    from imagesdk import Generate

    job = Generate(
        prompt,
        model=options.model,
        n=options.n,
        size=options.size,
        quality=options.quality,
        output_format=options.output_format,
        user=options.user,
    )
    return make_pictures(options, job, "making pictures")

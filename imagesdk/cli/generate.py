"""``imagesdk generate PROMPT``: generate images from a prompt."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.parameters import job_parameters
from imagesdk.cli.session import read_prompt
from imagesdk.cli.single_call import make_images


def run(options: Namespace) -> int:
    """Generate the images and print their paths."""
    prompt = read_prompt(options.prompt)

    from imagesdk import Generate

    return make_images(options, Generate(prompt, **job_parameters(options)), "generating")

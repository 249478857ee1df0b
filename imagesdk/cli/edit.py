"""``imagesdk edit IMAGE PROMPT``: edit images with a prompt."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.exits import UsageError
from imagesdk.cli.parameters import job_parameters
from imagesdk.cli.session import read_prompt, read_source
from imagesdk.cli.single_call import make_images


def run(options: Namespace) -> int:
    """Edit the images and print the paths of the results."""
    if [*options.image, options.prompt, options.mask, options.markup].count("-") > 1:
        raise UsageError("only one of the images and the prompt can be read from stdin")
    images: list[str | bytes] = [read_source(name) for name in options.image]
    prompt = read_prompt(options.prompt)
    mask, markup = (None if name is None else read_source(name) for name in (options.mask, options.markup))

    from imagesdk import Edit, models
    from imagesdk.cli.shaping import prepare_images
    from imagesdk.models.catalog import OPENAI_EDIT_MODEL

    profile = models.lookup(options.model or OPENAI_EDIT_MODEL)
    images, mask = prepare_images(options, images, mask, profile.edit if profile else None)

    job = Edit(
        images[0] if len(images) == 1 else images, prompt, mask=mask, markup=markup, **job_parameters(options)
    )
    return make_images(options, job, "editing")

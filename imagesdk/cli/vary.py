"""``imagesdk vary IMAGE``: make variations of an image."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.parameters import job_parameters
from imagesdk.cli.session import read_source
from imagesdk.cli.single_call import make_images


def run(options: Namespace) -> int:
    """Make the variations and print their paths."""
    image = read_source(options.image)

    from imagesdk import Variation
    from imagesdk.cli.shaping import prepare_images
    from imagesdk.models import DALL_E_2  # the only model with variations

    (image,), _ = prepare_images(options, [image], None, DALL_E_2.variation)
    return make_images(options, Variation(image, **job_parameters(options)), "making variations")

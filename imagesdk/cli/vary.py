"""``imagesdk vary IMAGE``: make pictures that resemble one."""

from __future__ import annotations

from argparse import Namespace

from imagesdk.cli.parameters import given
from imagesdk.cli.session import make_pictures, read_source


def run(options: Namespace) -> int:
    """Make the variations and print their paths."""
    image = read_source(options.image)

    from imagesdk import Variation

    return make_pictures(options, Variation(image, **given(options)), "making variations")

"""``--square`` and ``--mask-box``: preparation of the images of a command."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from imagesdk.cli.exits import UsageError

if TYPE_CHECKING:
    from imagesdk.models import ImageRule

ImageArgument: TypeAlias = "str | bytes"
"""An image of the command line: a path, or the bytes from stdin."""


def parse_box(text: str) -> tuple[int, int, int, int]:
    """Parse ``LEFT,TOP,RIGHT,BOTTOM``."""
    try:
        left, top, right, bottom = map(int, text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not LEFT,TOP,RIGHT,BOTTOM in whole pixels") from None
    return left, top, right, bottom


def prepare_images(
    options: Namespace, images: Sequence[ImageArgument], mask: ImageArgument | None, rule: ImageRule | None
) -> tuple[list[ImageArgument], ImageArgument | None]:
    """Return the images and the mask, prepared by the options. The rule of the model limits their size in bytes."""
    square = options.square
    boxes = getattr(options, "mask_box", None)
    if boxes and mask is not None:
        raise UsageError("--mask and --mask-box exclude each other; give one of them")
    if square is None and not boxes:
        return list(images), mask

    from imagesdk import make_mask, prepare_image
    from imagesdk._media.sniff import HEAD_SIZE, sniff

    prepared: list[ImageArgument] = list(images)
    if square is not None:
        max_bytes = None if rule is None else rule.max_bytes
        alpha = square == "pad"
        squares = [prepare_image(image, square=square, alpha=alpha, max_bytes=max_bytes) for image in images]
        if mask is not None:
            edge = sniff(squares[0][:HEAD_SIZE]).width
            mask = prepare_image(mask, square=square, alpha=True, size=edge)
        prepared = [*squares]
    return prepared, make_mask(prepared[0], boxes=boxes) if boxes else mask

"""``--square`` and ``--mask-box``: the pictures of a command brought into shape before they are sent."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from imagesdk.cli.exits import UsageError

if TYPE_CHECKING:
    from imagesdk.models import ImageRule

Given: TypeAlias = "str | bytes"
"""A picture as the command line gives it: a path, or what came from stdin."""


def parse_box(text: str) -> tuple[int, int, int, int]:
    """Read ``LEFT,TOP,RIGHT,BOTTOM``."""
    try:
        left, top, right, bottom = map(int, text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not LEFT,TOP,RIGHT,BOTTOM in whole pixels") from None
    return left, top, right, bottom


def shaped(
    options: Namespace, images: Sequence[Given], mask: Given | None, rule: ImageRule | None
) -> tuple[list[Given], Given | None]:
    """Return the pictures and the mask as the options want them; ``rule`` says how many bytes they may have."""
    square = options.square
    boxes = getattr(options, "mask_box", None)
    if boxes and mask is not None:
        raise UsageError("--mask and --mask-box both say where to paint; give one of them")
    if square is None and not boxes:
        return list(images), mask

    from imagesdk import make_mask, prepare_image
    from imagesdk._media.sniff import HEAD_SIZE, sniff

    ready: list[Given] = list(images)
    if square is not None:
        most = None if rule is None else rule.max_bytes
        squares = [
            prepare_image(image, square=square, alpha=square == "pad", max_bytes=most) for image in images
        ]
        if mask is not None:
            edge = sniff(squares[0][:HEAD_SIZE]).width
            mask = prepare_image(mask, square=square, alpha=True, size=edge)
        ready = [*squares]
    return ready, make_mask(ready[0], boxes=boxes) if boxes else mask

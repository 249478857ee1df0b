"""Scenes as SVG documents: a sky, a sun, ridges, and the prompt as title.

A document depends only on the arguments. It has a width and a height and contains only shapes: no script,
style sheet, link or embedded image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from imagesdk.emulator.drawing.scenery import Colour, Dice, Palette, blend

__all__ = ["svg_document"]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RIDGES = 4
_STEPS = 24


def svg_document(
    key: str, palette: Palette, size: tuple[int, int], title: str, accents: Sequence[Colour] = ()
) -> bytes:
    """Return a scene of exactly ``size``. Each colour of ``accents`` becomes a lantern in the sky."""
    dice = Dice(key)
    width, height = size
    unit = min(size)
    top, middle, horizon = (_hex(colour) for colour in palette.sky)
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        f"<title>{escape(_NOT_IN_XML.sub(' ', title))}</title>",
        "<desc>imagesdk emulator (drawn by code, not by a model)</desc>",
        '<defs><linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">'
        f'<stop offset="0" stop-color="{top}"/><stop offset="0.4" stop-color="{middle}"/>'
        f'<stop offset="0.7" stop-color="{horizon}"/></linearGradient></defs>',
        f'<rect width="{width}" height="{height}" fill="url(#sky)"/>',
        _circle(
            dice.between(0.2, 0.8) * width,
            dice.between(0.15, 0.4) * height,
            unit * dice.between(0.06, 0.1),
            palette.light,
        ),
    ]
    for number, colour in enumerate(accents):
        x = width * (number + 1) / (len(accents) + 1)
        parts.append(_circle(x, height * 0.12, unit * 0.04, colour))
    for layer in range(_RIDGES):
        depth = layer / (_RIDGES - 1)
        parts.append(_ridge(dice, size, 0.5 + 0.32 * depth, blend(palette.far, palette.near, depth)))
    return "\n".join([*parts, "</svg>", ""]).encode()


def _ridge(dice: Dice, size: tuple[int, int], level: float, colour: Colour) -> str:
    width, height = size
    waves = [(dice.between(0.7, 2.2) * 1.9**k, dice.between(0, math.tau), 0.05 * 0.55**k) for k in range(3)]
    points: list[str] = []
    for step in range(_STEPS + 1):
        x = step / _STEPS
        y = level + sum(swing * math.sin(math.tau * rate * x + phase) for rate, phase, swing in waves)
        points.append(f"L{x * width:.1f} {y * height:.1f}")
    return f'<path d="M0 {height}{"".join(points)}L{width} {height}Z" fill="{_hex(colour)}"/>'


def _circle(x: float, y: float, radius: float, colour: Colour) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_hex(colour)}"/>'


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

"""Scenes as SVG documents that contain only shapes: no script, style sheet, link or embedded image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from xml.sax.saxutils import escape

from imagesdk.emulator.drawing.scenery import Colour, Palette, blend, ridge

__all__ = ["svg_document"]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RIDGES = 4


def svg_document(
    key: str, palette: Palette, size: tuple[int, int], title: str, accents: Sequence[Colour] = ()
) -> bytes:
    """Return a scene of exactly ``size``. Each colour of ``accents`` becomes a lantern in the sky."""
    dice = Random(key)  # noqa: S311 - a drawing, not a secret
    width, height = size
    unit = min(size)
    x, y = dice.uniform(0.2, 0.8) * width, dice.uniform(0.15, 0.4) * height
    sun = _circle(x, y, unit * 0.08, palette.light)
    gaps = len(accents) + 1
    lanterns = [_circle(width * n / gaps, height * 0.12, unit * 0.04, c) for n, c in enumerate(accents, 1)]
    ridges: list[str] = []
    for layer in range(_RIDGES):
        depth = layer / (_RIDGES - 1)
        line = "".join(f"L{x * width:.1f} {y * height:.1f}" for x, y in ridge(dice, 0.5 + 0.32 * depth, 0.05))
        fill = _hex(blend(palette.far, palette.near, depth))
        ridges.append(f'<path d="M0 {height}{line}L{width} {height}Z" fill="{fill}"/>')
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        f"<title>{escape(_NOT_IN_XML.sub(' ', title))}</title>",
        "<desc>imagesdk emulator (drawn by code, not by a model)</desc>",
        '<defs><linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">'
        f'<stop offset="0" stop-color="{_hex(palette.top)}"/>'
        f'<stop offset="0.4" stop-color="{_hex(palette.middle)}"/>'
        f'<stop offset="0.7" stop-color="{_hex(palette.horizon)}"/></linearGradient></defs>',
        f'<rect width="{width}" height="{height}" fill="url(#sky)"/>',
        *(sun, *lanterns, *ridges),
        "</svg>\n",
    ]
    return "\n".join(parts).encode()


def _circle(x: float, y: float, radius: float, colour: Colour) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_hex(colour)}"/>'


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

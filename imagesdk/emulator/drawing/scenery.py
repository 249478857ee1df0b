"""Landscapes that depend only on their key: a sky, a sun, ridges behind each other, sometimes water."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import TypeAlias

from attrs import frozen
from PIL import Image, ImageDraw

__all__ = ["Colour", "Palette", "Point", "blend", "landscape", "palette_of", "ridge"]

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
"""Shares of width and height."""

_OVER = 2  # factor at which ridges are drawn before they are reduced, so that their edges are smooth
_DRAWN_EDGE = 1536
"""Edge at which larger scenes are drawn before they are enlarged. Their shapes are soft anyway."""
_STEPS = 96  # number of lines that make up a ridge
_GLOW = [max(0.0, 1 - level / 180) ** 1.9 for level in range(256)]
_DISC = [min(1.0, max(0.0, (180 - level) / 6)) for level in range(256)]
"""Strength by level of Pillow's radial gradient, which is 181 at the middle of an edge."""


@frozen
class Palette:
    """Colours of a scene: the sky from top to horizon, the sun, and ridges far and near."""

    top: Colour
    middle: Colour
    horizon: Colour
    light: Colour
    far: Colour
    near: Colour


def _colour(code: str) -> Colour:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


_PALETTES = [
    Palette(*map(_colour, codes.split()))
    for codes in (
        "2b4c7e e08e79 f8d49b fff1cf c98b8b 33294a",  # dusk in rose
        "3f88b5 9ed0dc f4ead2 fffbe6 9cc0c0 1d4a4f",  # clear morning
        "7fb7a8 c6dfc2 f6f2d8 fffdf0 8fb79b 1f4a3a",  # spring green
        "5b3a73 d9607a fbb66b ffe9b8 b35d7c 2a1a3e",  # violet sunset
        "f0a868 f7cf8e fdeccb fffaf0 dba06c 5a2f2a",  # desert
        "10153a 2c3a78 7d6aa8 f6f1dc 5a5a9a 0d1029",  # blue night
        "6f8fc4 bcaee0 f7cfd8 fff4ec a49bcb 2e2f5e",  # lavender
        "d9573f f08a4b fbd07c fff3c4 b9503f 3a1526",  # ember
        "4aa3d8 a6dcf0 eaf7f2 ffffff 86bfd0 123f5c",  # northern sea
    )
]


def palette_of(key: str) -> Palette:
    """Return the palette that a key chooses."""
    return _PALETTES[int(Random(key).random() * len(_PALETTES))]  # noqa: S311 - a drawing, not a secret


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Return a mix of two colours. ``share`` is that of ``b``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def ridge(dice: Random, level: float, swing: float) -> list[Point]:
    """Return the points of a ridge from left to right."""
    waves = [(dice.uniform(0.4, 1.1) * 1.9**k, dice.uniform(0, math.tau), swing * 0.55**k) for k in range(4)]
    return [
        (x, level + sum(part * math.sin(math.tau * rate * x + phase) for rate, phase, part in waves))
        for x in (step / _STEPS for step in range(_STEPS + 1))
    ]


def landscape(key: str, palette: Palette, size: tuple[int, int]) -> Image.Image:
    """Draw a scene of exactly ``size``."""
    shrink = min(1.0, _DRAWN_EDGE / max(size))
    width, height = (max(16, round(edge * shrink)) for edge in size)
    dice = Random(key)  # noqa: S311 - a drawing, not a secret
    horizon = dice.uniform(0.5, 0.6)
    sky = [(0.0, palette.top), (horizon * 0.6, palette.middle), (horizon + 0.04, palette.horizon)]
    image = _gradient((width, height), sky)
    sun = dice.uniform(0.22, 0.78) * width
    for radius, strength, shape in ((0.8, 0.5, _GLOW), (0.27, 0.65, _GLOW), (0.07, 1, _DISC)):
        edge = round(min(width, height) * radius * 2)
        light = Image.radial_gradient("L").point([round(255 * strength * share) for share in shape])
        corner = round(sun - edge / 2), round((horizon - 0.22) * height - edge / 2)
        image.paste(palette.light, corner, light.resize((edge, edge), Image.Resampling.BICUBIC))
    if dice.random() < 0.45:
        _ridges(image, dice, palette, (horizon - 0.045, horizon - 0.005), (0.05, 0.3), 2)
        _water(image, dice, palette, horizon, sun)
        _ridges(image, dice, palette, (0.84, 0.93), (0.8, 1), 2)
    else:
        _ridges(image, dice, palette, (horizon - 0.03, 0.9), (0.06, 1), 5)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _gradient(size: tuple[int, int], stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """Return a vertical gradient through ``stops`` (place from 0 to 1, colour)."""
    column = bytearray()
    for y in range(size[1]):
        place = y / max(1, size[1] - 1)
        start, above = max((stop for stop in stops if stop[0] <= place), default=stops[0])
        end, below = min((stop for stop in stops if stop[0] > place), default=stops[-1])
        column += bytes(blend(above, below, (place - start) / (end - start) if end > start else 0))
    return Image.frombytes("RGB", (1, size[1]), bytes(column)).resize(size, Image.Resampling.NEAREST)


def _ridges(
    image: Image.Image, dice: Random, palette: Palette, levels: Point, shades: Point, count: int
) -> None:
    """Draw ridges from far to near, between two levels and two shares of the near colour."""
    width, height = image.width * _OVER, image.height * _OVER
    for layer in range(count):
        depth = layer / (count - 1)
        crest = ridge(dice, levels[0] + (levels[1] - levels[0]) * depth, 0.05 * (1 - 0.55 * depth))
        colour = blend(palette.far, palette.near, shades[0] + (shades[1] - shades[0]) * depth**0.9)
        mask = Image.new("L", (width, height))
        outline = [(x * width, y * height) for x, y in crest]
        ImageDraw.Draw(mask).polygon([*outline, (width, height), (0, height)], fill=255)
        top = min(y for _, y in crest)
        fill = _gradient(image.size, [(top, colour), (top + 0.3, blend(colour, palette.horizon, 0.16))])
        image.paste(fill, mask=mask.reduce(_OVER))


def _water(image: Image.Image, dice: Random, palette: Palette, horizon: float, sun: float) -> None:
    """Draw water below the horizon, with the light of the sun on its waves."""
    top, unit = round(horizon * image.height), min(image.size)
    deep = blend(palette.near, palette.top, 0.45)
    near = blend(palette.horizon, deep, 0.25)
    image.paste(_gradient((image.width, image.height - top), [(0.0, near), (0.9, deep)]), (0, top))
    canvas = ImageDraw.Draw(image)
    for row in range(48):
        nearness = (row / 48) ** 1.5
        x = sun + dice.uniform(-1, 1) * unit * (0.05 + 0.16 * nearness)
        y = top + nearness * (0.94 - horizon) * image.height
        half, thick = unit * dice.uniform(0.01, 0.06), unit * (0.001 + 0.002 * nearness)
        fill = blend(blend(near, deep, nearness), palette.light, dice.uniform(0.3, 0.8) * (1 - nearness))
        canvas.ellipse((x - half, y - thick, x + half, y + thick), fill=fill)

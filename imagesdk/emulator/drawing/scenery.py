"""Landscapes: a sky, a sun or a moon, ridges behind each other, sometimes water.

A scene depends only on its key: the same key gives the same pixels. Shapes are drawn at twice the size and
reduced, so that their edges are smooth.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import frozen
from PIL import Image, ImageDraw

__all__ = ["Colour", "Dice", "Palette", "landscape", "blend", "palette_of"]

Colour: TypeAlias = tuple[int, int, int]
Ridge: TypeAlias = Callable[[float], float]

_OVER = 2
_DRAWN_EDGE = 1536
"""Edge at which larger scenes are drawn before they are enlarged. Their shapes are soft anyway."""


class Dice:
    """Pseudo-random numbers from a key. Unlike ``random``, they are the same on every machine and version."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._drawn = 0

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        self._drawn += 1
        digest = hashlib.blake2b(self._drawn.to_bytes(8, "big"), key=hashlib.sha256(self._key).digest())
        return int.from_bytes(digest.digest()[:6], "big") / 2**48

    def between(self, low: float, high: float) -> float:
        """Return a number in [``low``, ``high``)."""
        return low + (high - low) * self.unit()

    def below(self, count: int) -> int:
        """Return a whole number from 0 to ``count - 1``."""
        return int(self.unit() * count)


@frozen
class Palette:
    """Colours of a scene."""

    sky: tuple[Colour, Colour, Colour]
    """Top, middle, horizon."""
    light: Colour
    """Sun or moon."""
    far: Colour
    near: Colour
    night: bool = False


def _rgb(*codes: str) -> tuple[Colour, ...]:
    return tuple((int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code in codes)


def _palette(
    top: str, middle: str, horizon: str, light: str, far: str, near: str, *, night: bool = False
) -> Palette:
    a, b, c, d, e, f = _rgb(top, middle, horizon, light, far, near)
    return Palette((a, b, c), d, e, f, night)


_PALETTES = (
    _palette("2b4c7e", "e08e79", "f8d49b", "fff1cf", "c98b8b", "33294a"),  # dusk in rose
    _palette("3f88b5", "9ed0dc", "f4ead2", "fffbe6", "9cc0c0", "1d4a4f"),  # clear morning
    _palette("10153a", "2c3a78", "7d6aa8", "f6f1dc", "5a5a9a", "0d1029", night=True),  # blue night
    _palette("5b3a73", "d9607a", "fbb66b", "ffe9b8", "b35d7c", "2a1a3e"),  # violet sunset
    _palette("f0a868", "f7cf8e", "fdeccb", "fffaf0", "dba06c", "5a2f2a"),  # desert
    _palette("7fb7a8", "c6dfc2", "f6f2d8", "fffdf0", "8fb79b", "1f4a3a"),  # spring green
    _palette("0f2f3d", "1f6f78", "8fd0a8", "e9fff0", "3b8a86", "08222b", night=True),  # northern night
    _palette("6f8fc4", "bcaee0", "f7cfd8", "fff4ec", "a49bcb", "2e2f5e"),  # lavender
    _palette("d9573f", "f08a4b", "fbd07c", "fff3c4", "b9503f", "3a1526"),  # ember
    _palette("4aa3d8", "a6dcf0", "eaf7f2", "ffffff", "86bfd0", "123f5c"),  # northern sea
)


def palette_of(dice: Dice) -> Palette:
    """Return the palette that the dice choose."""
    return _PALETTES[dice.below(len(_PALETTES))]


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Return a mix of two colours. ``share`` is that of ``b``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def gradient(size: tuple[int, int], stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """Return a vertical gradient through ``stops`` (place from 0 to 1, colour)."""
    width, height = size
    column = bytearray()
    for y in range(height):
        place = y / max(1, height - 1)
        left = max((stop for stop in stops if stop[0] <= place), default=stops[0])
        right = min((stop for stop in stops if stop[0] > place), default=stops[-1])
        span = right[0] - left[0]
        column += bytes(blend(left[1], right[1], (place - left[0]) / span if span > 0 else 0.0))
    return Image.frombytes("RGB", (1, height), bytes(column)).resize(
        (width, height), Image.Resampling.NEAREST
    )


def landscape(key: str, palette: Palette, size: tuple[int, int]) -> Image.Image:
    """Draw a scene of exactly ``size``."""
    shrink = min(1.0, _DRAWN_EDGE / max(size))
    width, height = (max(16, round(edge * shrink)) for edge in size)
    image = _Scene(Dice(key), palette, width, height).draw()
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


class _Scene:
    """Landscape that is drawn back to front."""

    def __init__(self, dice: Dice, palette: Palette, width: int, height: int) -> None:
        self.dice = dice
        self.palette = palette
        self.width = width
        self.height = height
        self.unit = min(width, height)
        self.horizon = dice.between(0.5, 0.6)
        self.light_at = (dice.between(0.22, 0.78), self.horizon - dice.between(0.1, 0.36))
        self.image = gradient(
            (width, height),
            [
                (0.0, palette.sky[0]),
                (self.horizon * 0.6, palette.sky[1]),
                (self.horizon + 0.04, palette.sky[2]),
            ],
        )

    def draw(self) -> Image.Image:
        if self.palette.night:
            self._stars()
        self._clouds()
        self._light()
        water = self.dice.unit() < 0.45
        if water:
            self._ridges(2, self.horizon - 0.045, self.horizon - 0.005, first=0.05, last=0.3)
            self._water()
            self._ridges(2, 0.84, 0.93, first=0.8, last=1.0)
        else:
            self._ridges(5, self.horizon - 0.03, 0.9, first=0.06, last=1.0)
        if not self.palette.night:
            self._birds()
        return self.image

    def _shape(self, paint: Callable[[ImageDraw.ImageDraw, float], None]) -> Image.Image:
        """Return a mask of the size of the image. ``paint`` receives a canvas and the pixels of its unit."""
        mask = Image.new("L", (self.width * _OVER, self.height * _OVER))
        paint(ImageDraw.Draw(mask), self.unit * _OVER)
        return mask.reduce(_OVER)

    def _stars(self) -> None:
        def paint(canvas: ImageDraw.ImageDraw, unit: float) -> None:
            for _ in range(150):
                x = self.dice.unit() * self.width * _OVER
                y = self.dice.unit() ** 1.4 * self.horizon * self.height * _OVER
                radius = unit * self.dice.between(0.0006, 0.0022)
                shine = 90 + self.dice.below(150)
                canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shine)

        self.image.paste((255, 250, 235), mask=self._shape(paint))

    def _light(self) -> None:
        x, y = self.light_at[0] * self.width, self.light_at[1] * self.height
        for radius, strength in ((0.8, 0.5), (0.27, 0.65)):
            edge = round(self.unit * radius * 2)
            # Pillow's gradient reaches 255 in the corners; at the middle of an edge it is 181.
            fade = [round(255 * strength * max(0.0, 1 - v / 180) ** 1.9) for v in range(256)]
            glow = Image.radial_gradient("L").point(fade)
            glow = glow.resize((edge, edge), Image.Resampling.BICUBIC)
            self.image.paste(self.palette.light, (round(x - edge / 2), round(y - edge / 2)), glow)
        size = self.dice.between(0.055, 0.085)
        if self.palette.night:
            size *= 0.75

        def paint(canvas: ImageDraw.ImageDraw, unit: float) -> None:
            cx, cy, radius = x * _OVER, y * _OVER, unit * size
            canvas.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=255)

        self.image.paste(self.palette.light, mask=self._shape(paint))

    def _clouds(self) -> None:
        def paint(canvas: ImageDraw.ImageDraw, unit: float) -> None:
            wide, high = self.width * _OVER, self.height * _OVER
            for _ in range(3 + self.dice.below(3)):
                x, y = self.dice.unit() * wide, self.dice.between(0.07, self.horizon - 0.16) * high
                thick = unit * self.dice.between(0.009, 0.017)
                length = unit * self.dice.between(0.07, 0.17)
                shade = 80 + self.dice.below(70)
                for row in range(2 + self.dice.below(2)):
                    half = length * self.dice.between(0.45, 1.0)
                    centre = x + length * self.dice.between(-0.6, 0.6)
                    top = y + row * thick * 1.7
                    shape = (centre - half, top, centre + half, top + thick * 2)
                    canvas.rounded_rectangle(shape, radius=thick, fill=shade)

        night = self.palette.night
        colour = blend(self.palette.sky[1], self.palette.light, 0.12 if night else 0.6)
        self.image.paste(colour, mask=self._shape(paint))

    def _ridges(self, count: int, top: float, bottom: float, *, first: float, last: float) -> None:
        for layer in range(count):
            depth = layer / max(1, count - 1)
            level = top + (bottom - top) * depth
            colour = blend(self.palette.far, self.palette.near, first + (last - first) * depth**0.9)
            ridge = self._ridge(level, 0.1 * (1 - 0.55 * depth), rough=depth < 0.5)
            trees = depth >= 0.7 and self.dice.unit() < 0.75
            self._fill_below(ridge, colour, trees=trees)

    def _ridge(self, level: float, swing: float, *, rough: bool) -> Ridge:
        waves = [
            (self.dice.between(0.8, 2.2) * 1.9**k, self.dice.between(0, math.tau), 0.55**k) for k in range(4)
        ]
        peaks = [
            (self.dice.between(4, 7) * 2.1**k, self.dice.between(0, math.tau), 0.11 * 0.5**k)
            for k in range(3)
        ]
        stretch = self.width / self.unit

        def ridge(x: float) -> float:
            height = sum(
                share * math.sin(math.tau * f * x * stretch / 2 + phase) for f, phase, share in waves
            )
            if rough:
                height += sum(
                    share * (1 - 2 * abs(math.sin(math.pi * f * x * stretch / 2 + phase)))
                    for f, phase, share in peaks
                )
            return level - swing * 0.5 * height

        return ridge

    def _fill_below(self, ridge: Ridge, colour: Colour, *, trees: bool) -> None:
        wide, high = self.width * _OVER, self.height * _OVER

        def paint(canvas: ImageDraw.ImageDraw, unit: float) -> None:
            steps = max(64, wide // 6)
            line = [(i / steps * wide, ridge(i / steps) * high) for i in range(steps + 1)]
            canvas.polygon([*line, (wide, high), (0, high)], fill=255)
            if trees:
                self._trees(canvas, unit, ridge)

        mask = self._shape(paint)
        level = min(ridge(i / 16) for i in range(17))
        haze = blend(colour, self.palette.sky[2], 0.16)
        fill = gradient((self.width, self.height), [(level, colour), (min(1.0, level + 0.3), haze)])
        self.image.paste(fill, mask=mask)

    def _trees(self, canvas: ImageDraw.ImageDraw, unit: float, ridge: Ridge) -> None:
        wide, high = self.width * _OVER, self.height * _OVER
        for _ in range(2 + self.dice.below(3)):
            grove = self.dice.unit()
            for _ in range(3 + self.dice.below(7)):
                place = grove + self.dice.between(-0.07, 0.07)
                x, foot = place * wide, ridge(place) * high + unit * 0.006
                tall = unit * self.dice.between(0.03, 0.075)
                for tier in range(3):
                    half = tall * (0.13 + 0.055 * tier)
                    peak, base = foot - tall * (1 - 0.24 * tier), foot - tall * (0.5 - 0.24 * tier)
                    canvas.polygon([(x, peak), (x - half, base), (x + half, base)], fill=255)
                canvas.rectangle((x - tall * 0.03, foot - tall * 0.1, x + tall * 0.03, foot), fill=255)

    def _water(self) -> None:
        top = round(self.horizon * self.height)
        deep = blend(self.palette.near, self.palette.sky[0], 0.45)
        surface = gradient(
            (self.width, self.height - top), [(0.0, blend(self.palette.sky[2], deep, 0.25)), (0.9, deep)]
        )
        self.image.paste(surface, (0, top))
        centre = self.light_at[0] * self.width * _OVER

        def paint(canvas: ImageDraw.ImageDraw, unit: float) -> None:
            high = self.height * _OVER
            for row in range(64):
                nearness = (row / 64) ** 1.5
                y = (self.horizon + 0.006 + nearness * (0.94 - self.horizon)) * high
                for _ in range(2):
                    reach = unit * (0.05 + 0.16 * nearness)
                    x = centre + self.dice.between(-1, 1) * reach
                    half = unit * self.dice.between(0.008, 0.05) * (0.5 + nearness)
                    thick = unit * (0.0012 + 0.0026 * nearness)
                    shine = round(self.dice.between(70, 200) * (1 - 0.55 * nearness))
                    canvas.ellipse((x - half, y - thick, x + half, y + thick), fill=shine)

        self.image.paste(self.palette.light, mask=self._shape(paint))

    def _birds(self) -> None:
        x0, y0 = self.dice.between(0.15, 0.8), self.dice.between(0.12, 0.3)

        def paint(canvas: ImageDraw.ImageDraw, unit: float) -> None:
            for _ in range(2 + self.dice.below(4)):
                x = (x0 + self.dice.between(-0.08, 0.08)) * self.width * _OVER
                y = (y0 + self.dice.between(-0.05, 0.05)) * self.height * _OVER
                wing = unit * self.dice.between(0.009, 0.018)
                line = max(1, round(unit * 0.0022))
                canvas.arc((x - 2 * wing, y - wing * 0.5, x, y + wing), 200, 335, fill=210, width=line)
                canvas.arc((x, y - wing * 0.5, x + 2 * wing, y + wing), 205, 340, fill=210, width=line)

        self.image.paste(self.palette.near, mask=self._shape(paint))

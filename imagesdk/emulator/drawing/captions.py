"""Captions: the prompt, drawn legibly into an image or a part of it.

The font is the one of Pillow, so that every machine draws the same pixels. It covers Latin letters. Accents
are removed, and other scripts show as boxes.
"""

from __future__ import annotations

import textwrap
import unicodedata
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Box", "write"]

Box: TypeAlias = tuple[int, int, int, int]

_INK = (255, 253, 246)
_SHADE = (8, 10, 20)
_MAX_LETTERS = 1500  # more never fit
_LINE = 1.25  # height of a line, as a multiple of the size of the font


def write(image: Image.Image, text: str, box: Box | None = None, *, narrow: bool = False) -> None:
    """Draw ``text`` at the bottom of ``box`` or of the whole image. ``narrow`` avoids the corners."""
    letters = unicodedata.normalize("NFKD", text[:_MAX_LETTERS])
    words = " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())
    whole = left, top, right, bottom = box or (0, 0, image.width, image.height)
    if narrow:
        dx, dy = round((right - left) * 0.15), round((bottom - top) * 0.15)
        left, top, right, bottom = left + dx, top + dy, right - dx, bottom - dy
    width, height = right - left, bottom - top
    if not words or width < 24 or height < 16:
        return
    unit = min(width, height)
    font, lines = _fit_text(words, width * 0.86, height * 0.3, unit)
    step, drop = round(font.size * _LINE), max(1, round(font.size * 0.05))
    first = bottom - round(unit * 0.055) - step * len(lines)
    shade = (whole[0], max(whole[1], first - round(unit * 0.22)), whole[2], whole[3])
    ramp = Image.linear_gradient("L").point([round(190 * (level / 255) ** 1.1) for level in range(256)])
    image.paste(_SHADE, shade, ramp.resize((shade[2] - shade[0], shade[3] - shade[1])))
    canvas = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        x, y = left + (width - font.getlength(line)) / 2, first + number * step
        canvas.text((x, y + drop), line, font=font, fill=_SHADE)
        canvas.text((x, y), line, font=font, fill=_INK)


def _fit_text(words: str, width: float, height: float, unit: int) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """Return the largest font in which the words fit, and their lines, truncated if they never fit."""
    largest, smallest = max(9, round(unit * 0.05)), max(9, round(unit * 0.022))
    size = largest
    while True:
        font = _font(size)
        # An m is wider than most letters, so that almost any line fits.
        columns, rows = max(1, int(width / font.getlength("m"))), max(1, int(height / (size * _LINE)))
        if size == smallest or len(textwrap.wrap(words, columns)) <= rows:
            return font, textwrap.wrap(words, columns, max_lines=rows, placeholder="…")
        size = max(smallest, size - max(1, largest // 14))


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this build of Pillow has no FreeType")
    return font

"""Captions: the prompt, drawn legibly into an image or a part of it.

The font is the one of Pillow, so that every machine draws the same pixels. It covers Latin letters. Accents
are removed, and other scripts show as boxes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Box", "write"]

Box: TypeAlias = tuple[int, int, int, int]

_INK = (255, 253, 246)
_SHADE = (8, 10, 20)
_MAX_LETTERS = 1500
"""Maximum number of characters. More never fit."""
_DASHES = {ord(dash): "-" for dash in "‐‑‒–—―−"}


def write(image: Image.Image, text: str, box: Box | None = None, *, narrow: bool = False) -> None:
    """Draw ``text`` at the bottom of ``box`` (left, top, right, bottom). The default is the whole image.

    ``narrow`` keeps the text away from the corners, for a box of which only the middle is visible.
    """
    words = " ".join(_plain(text[:_MAX_LETTERS]).split())
    whole = box or (0, 0, image.width, image.height)
    left, top, right, bottom = _inner(whole, 0.15) if narrow else whole
    width, height = right - left, bottom - top
    if not words or width < 24 or height < 16:
        return
    font, lines = _fit_text(words, width * 0.86, height * 0.3, min(width, height))
    step = round(font.size * 1.25)
    margin = round(min(width, height) * 0.055)
    first = bottom - margin - step * len(lines)
    _shade(image, (whole[0], max(whole[1], first - margin * 4), whole[2], whole[3]))
    canvas = ImageDraw.Draw(image)
    drop = max(1, round(font.size * 0.05))
    for number, line in enumerate(lines):
        x = left + (width - font.getlength(line)) / 2
        y = first + number * step
        canvas.text((x, y + drop), line, font=font, fill=_SHADE)
        canvas.text((x, y), line, font=font, fill=_INK)


def _inner(box: Box, share: float) -> Box:
    left, top, right, bottom = box
    dx, dy = round((right - left) * share), round((bottom - top) * share)
    return left + dx, top + dy, right - dx, bottom - dy


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.translate(_DASHES))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _fit_text(words: str, width: float, height: float, unit: int) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """Return the largest font in which the words fit, and their lines, truncated if they never fit."""
    largest, smallest = max(9, round(unit * 0.05)), max(9, round(unit * 0.022))
    for size in range(largest, smallest - 1, -max(1, largest // 14)):
        font = _font(size)
        lines = _wrapped(words, font, width, int(height / (size * 1.25)) + 1)
        if len(lines) * size * 1.25 <= height:
            return font, lines
    font = _font(smallest)
    room = max(1, int(height / (smallest * 1.25)))
    lines = _wrapped(words, font, width, room + 1)
    if len(lines) > room:
        last = lines[room - 1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: room - 1], last.rstrip() + "…"]
    return font, lines


def _wrapped(words: str, font: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """Return the first ``most`` lines of the text, breaking words that are too long."""
    lines = [""]
    for word in words.split(" "):
        rest = word
        longer = f"{lines[-1]} {rest}" if lines[-1] else rest
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        while len(lines) <= most and font.getlength(rest) > width:
            fits = next((k for k in range(1, len(rest) + 1) if font.getlength(rest[:k]) > width), len(rest))
            lines[-1], rest = rest[: max(1, fits - 1)], rest[max(1, fits - 1) :]
            lines.append("")
        lines[-1] = rest
        if len(lines) > most:
            break
    return lines[:most]


def _shade(image: Image.Image, box: Box) -> None:
    left, top, right, bottom = box
    ramp = Image.linear_gradient("L").point([round(190 * (v / 255) ** 1.1) for v in range(256)])
    mask = ramp.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    image.paste(_SHADE, box, mask)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this build of Pillow has no FreeType")
    return font

"""The pictures that the emulator answers with: painted, edited and varied.

Everything is a function of its arguments: the same seed, model, size, prompt and index give the same pixels.
Nothing here is a model's work. The functions are slow (tens of milliseconds) and belong in a thread.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

from attrs import frozen
from PIL import Image, ImageDraw, ImageOps

from imagesdk.emulator.captions import Box, write
from imagesdk.emulator.scenery import Dice, landscape, palette_of

__all__ = ["Brush"]


@frozen
class Brush:
    """What decides how a picture looks, beside its prompt and inputs."""

    seed: int
    model: str
    size: tuple[int, int]

    def paint(self, prompt: str, index: int, *, transparent: bool = False) -> Image.Image:
        """Draw a new picture: colours by the prompt, composition by the index, the prompt at its foot.

        ``transparent`` gives it as a sticker, with nothing around it.
        """
        picture = self._scene(prompt, index)
        write(picture, prompt)
        return self._sticker(picture) if transparent else picture

    def edit(self, image: Image.Image, mask: Image.Image | None, prompt: str, index: int) -> Image.Image:
        """Repaint ``image`` where ``mask`` (or, without one, the image itself) is fully transparent.

        Every other pixel is that of the image, brought to the size of the answer. An image with no
        transparent pixel and no mask is painted over softly as a whole, more so towards its foot.
        """
        opaque = _opaque(image if mask is None else mask)
        holes = _fitted(opaque, self.size, Image.Resampling.NEAREST).point([255, *[0] * 255])
        base = _fitted(image.convert("RGB"), self.size, Image.Resampling.LANCZOS)
        scene = self._scene(prompt, index)
        box = holes.getbbox()
        if box is None and mask is not None:
            return base
        if box is None:
            ramp = Image.linear_gradient("L").point([45 + round(190 * level / 255) for level in range(256)])
            whole = Image.composite(scene, base, ramp.resize(self.size, Image.Resampling.BILINEAR))
            write(whole, prompt)
            return whole
        write(scene, prompt, box, narrow=holes.crop(box).getextrema() != (255, 255))
        return Image.composite(scene, base, holes)

    def vary(self, image: Image.Image, index: int) -> Image.Image:
        """Derive a picture from ``image``: other hues, softly bent, every other one mirrored."""
        dice = Dice(f"{self.seed}|{self.model}|{self.size}|variation|{index}")
        flat = Image.new("RGB", image.size, (255, 255, 255))
        flat.paste(image.convert("RGB"), mask=_opaque(image))
        picture = _fitted(flat, self.size, Image.Resampling.LANCZOS)
        if index % 2 == 0:
            picture = ImageOps.mirror(picture)
        # 0.055, -0.055, 0.11, -0.11, ... of the circle: neighbours stay far apart, and near ones harmonious.
        turn = 0.055 * (index // 2 + 1) * (1 if index % 2 == 0 else -1)
        return _bent(_turned(picture, turn), dice)

    def _scene(self, prompt: str, index: int) -> Image.Image:
        palette = palette_of(Dice(f"{self.seed}|{prompt}"))
        return landscape(f"{self.seed}|{self.model}|{self.size}|{prompt}|{index}", palette, self.size)

    def _sticker(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        edge = min(width, height)
        shape = Image.new("L", (width * 2, height * 2))
        inset = edge * 0.08
        ImageDraw.Draw(shape).rounded_rectangle(
            (inset, inset, width * 2 - inset, height * 2 - inset), radius=edge * 0.3, fill=255
        )
        picture.putalpha(shape.reduce(2))
        return picture


def _opaque(image: Image.Image) -> Image.Image:
    """Return how opaque each pixel is, as an ``L`` picture; white for a picture without transparency."""
    if not image.has_transparency_data:
        return Image.new("L", image.size, 255)
    return image.convert("RGBA").getchannel("A")


def _fitted(image: Image.Image, size: tuple[int, int], how: Image.Resampling) -> Image.Image:
    return image if image.size == size else ImageOps.fit(image, size, how)


def _turned(picture: Image.Image, share: float) -> Image.Image:
    """Return the picture with every hue turned by ``share`` of the circle; greys get a tint of that hue."""
    hue, saturation, value = picture.convert("HSV").split()
    turn = round(share * 256)
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    turned = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    red, green, blue = colorsys.hsv_to_rgb(share % 1, 0.55, 1)
    tint = (round(red * 255), round(green * 255), round(blue * 255))
    return Image.blend(turned, ImageOps.colorize(value, (0, 0, 0), tint), 0.12)


def _bent(picture: Image.Image, dice: Dice) -> Image.Image:
    """Return the picture with its inside shifted along slow waves; its border stays where it is."""
    cells = 12
    width, height = picture.size
    phases = [dice.between(0, math.tau) for _ in range(2)]
    reach = min(width, height) * 0.022

    def corner(column: int, row: int) -> tuple[float, float]:
        x, y = column / cells, row / cells
        inside = math.sin(math.pi * x) * math.sin(math.pi * y)
        dx = reach * inside * math.sin(math.tau * 1.5 * y + phases[0])
        dy = reach * inside * math.sin(math.tau * 1.5 * x + phases[1])
        return x * width + dx, y * height + dy

    mesh: list[tuple[Box, Sequence[float]]] = []
    for row in range(cells):
        for column in range(cells):
            target = (
                column * width // cells,
                row * height // cells,
                (column + 1) * width // cells,
                (row + 1) * height // cells,
            )
            source = (
                *corner(column, row),
                *corner(column, row + 1),
                *corner(column + 1, row + 1),
                *corner(column + 1, row),
            )
            mesh.append((target, source))
    return picture.transform(picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)

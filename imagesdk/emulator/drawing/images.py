"""The pictures that the emulator answers with: painted, edited and varied.

Everything is a function of its arguments: the same seed, model, size, prompt and index give the same pixels.
Nothing here is a model's work. The functions are slow (tens of milliseconds) and belong in a thread.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

from attrs import frozen
from PIL import Image, ImageDraw, ImageOps, ImageStat

from imagesdk.emulator.drawing.captions import Box, write
from imagesdk.emulator.drawing.scenery import Dice, landscape, palette_of

__all__ = ["Brush", "Overlays", "coarse", "mean_colour", "sticker"]


@frozen
class Overlays:
    """What lies over the first picture of an edit and says where to paint."""

    mask: Image.Image | None = None
    markup: Image.Image | None = None


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
        return sticker(picture) if transparent else picture

    def edit(
        self,
        images: Sequence[Image.Image],
        prompt: str,
        index: int,
        overlays: Overlays,
        *,
        faithful: bool = False,
    ) -> Image.Image:
        """Repaint the first image where the mask (or, without one, the image itself) is fully transparent.

        Every other pixel is that of the image, brought to the size of the answer. An image with no
        transparent pixel and no mask is painted over softly as a whole, more so towards its foot, and less if it is
        to be ``faithful``; with a markup, where something is drawn. Further images hang in the new part, framed.
        """
        image = images[0]
        base = _fitted(image.convert("RGB"), self.size, Image.Resampling.LANCZOS)
        scene = self._scene(prompt, index)
        if overlays.markup is not None:
            holes = _fitted(_opaque(overlays.markup), self.size, Image.Resampling.NEAREST)
            holes = holes.point([0, *[255] * 255])
        else:
            opaque = _opaque(image if overlays.mask is None else overlays.mask)
            holes = _fitted(opaque, self.size, Image.Resampling.NEAREST).point([255, *[0] * 255])
        box = holes.getbbox()
        if box is None and (overlays.mask is not None or overlays.markup is not None):
            return base
        if box is None:
            reach = 95 if faithful else 190
            ramp = Image.linear_gradient("L").point([45 + round(reach * level / 255) for level in range(256)])
            whole = Image.composite(scene, base, ramp.resize(self.size, Image.Resampling.BILINEAR))
            _hang(whole, images[1:], (0, 0, *self.size))
            write(whole, prompt)
            return whole
        _hang(scene, images[1:], box)
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


def sticker(picture: Image.Image) -> Image.Image:
    """Cut a picture out with round corners and leave nothing around it."""
    width, height = picture.size
    edge = min(width, height)
    shape = Image.new("L", (width * 2, height * 2))
    inset = edge * 0.08
    ImageDraw.Draw(shape).rounded_rectangle(
        (inset, inset, width * 2 - inset, height * 2 - inset), radius=edge * 0.3, fill=255
    )
    picture.putalpha(shape.reduce(2))
    return picture


def coarse(picture: Image.Image, grain: int) -> Image.Image:
    """Return a picture as it is before it is finished: ``grain`` pixels of it have become one."""
    width, height = picture.size
    small = picture.resize((max(1, width // grain), max(1, height // grain)), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def mean_colour(image: Image.Image) -> tuple[int, int, int]:
    """Return the colour of a picture from far away."""
    red, green, blue = ImageStat.Stat(image.convert("RGB")).mean
    return round(red), round(green), round(blue)


def _hang(picture: Image.Image, images: Sequence[Image.Image], box: Box) -> None:
    """Hang framed pictures into the upper half of a box, up to eight in a row."""
    left, top, right, bottom = box
    columns = min(8, len(images))
    if not images or right - left < 8 * columns or bottom - top < 16:
        return
    rows = -(-len(images) // columns)
    cell = min((right - left) // columns, (bottom - top) // 2 // rows)
    edge, frame = max(2, cell * 4 // 5), max(1, cell // 40)
    start = left + (right - left - columns * cell) // 2
    for number, image in enumerate(images):
        x = start + number % columns * cell + (cell - edge) // 2
        y = top + number // columns * cell + (cell - edge) // 2
        picture.paste((250, 248, 240), (x, y, x + edge, y + edge))
        inner = edge - 2 * frame
        if inner > 0:
            small = ImageOps.fit(image.convert("RGB"), (inner, inner))
            picture.paste(small, (x + frame, y + frame))


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

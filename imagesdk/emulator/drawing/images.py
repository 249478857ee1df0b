"""Slow image synthesis, for a thread. Pixels depend only on seed, model, size, inputs, prompt and index."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from attrs import frozen
from PIL import Image, ImageDraw, ImageOps, ImageStat

from imagesdk.emulator.drawing.captions import Box, write
from imagesdk.emulator.drawing.scenery import Colour, landscape, palette_of
from imagesdk.emulator.uploads import InputImages

__all__ = ["Painter", "cut_out", "mean_colour", "pixelate"]


@frozen
class Painter:
    """Seed, model and size, which decide how images look besides prompt and inputs."""

    seed: int
    model: str
    size: tuple[int, int]

    def paint(self, prompt: str, index: int, *, transparent: bool = False) -> Image.Image:
        """Draw a new image with the prompt as its caption. ``transparent`` cuts it out of its background."""
        result = self._scene(prompt, index)
        write(result, prompt)
        return cut_out(result) if transparent else result

    def edit(self, inputs: InputImages, prompt: str, index: int, *, faithful: bool = False) -> Image.Image:
        """Repaint the first image where the mask (or, without one, the image itself) is fully transparent.

        Other pixels stay those of the image, scaled to ``size``. With a markup, the drawn parts are repainted.
        An image without transparent pixels, mask and markup is blended with a new scene, less if ``faithful``.
        Further images are pasted into the new part with frames.
        """
        image, *further = inputs.images
        base = _fit(image.convert("RGB"), self.size, Image.Resampling.LANCZOS)
        scene = self._scene(prompt, index)
        shown = _alpha(inputs.markup or inputs.mask or image)
        drawn = [0, *[255] * 255] if inputs.markup is not None else [255, *[0] * 255]
        holes = _fit(shown, self.size, Image.Resampling.NEAREST).point(drawn)
        box = holes.getbbox()
        if box is not None:
            _paste_framed(scene, further, box)
            write(scene, prompt, box, narrow=holes.crop(box).getextrema() != (255, 255))
            return Image.composite(scene, base, holes)
        if inputs.mask is not None or inputs.markup is not None:
            return base
        reach = 95 if faithful else 190
        ramp = Image.linear_gradient("L").point([45 + round(reach * level / 255) for level in range(256)])
        whole = Image.composite(scene, base, ramp.resize(self.size, Image.Resampling.BILINEAR))
        _paste_framed(whole, further, (0, 0, *self.size))
        write(whole, prompt)
        return whole

    def vary(self, image: Image.Image, index: int) -> Image.Image:
        """Return a variation of ``image``: other hues, every other one mirrored."""
        flat = Image.new("RGB", image.size, (255, 255, 255))
        flat.paste(image.convert("RGB"), mask=_alpha(image))
        result = _fit(flat, self.size, Image.Resampling.LANCZOS)
        if index % 2 == 0:
            result = ImageOps.mirror(result)
        # 0.055, -0.055, 0.11, -0.11, ... of the circle: neighbours differ clearly, and near hues harmonize.
        turn = 0.055 * (index // 2 + 1) * (1 if index % 2 == 0 else -1)
        return _rotate_hue(result, turn)

    def _scene(self, prompt: str, index: int) -> Image.Image:
        key = f"{self.seed}/{self.model}/{self.size}/{prompt}/{index}"
        return landscape(key, palette_of(f"{self.seed}/{prompt}"), self.size)


def cut_out(image: Image.Image) -> Image.Image:
    """Cut an image out with round corners on a transparent background."""
    width, height = image.size
    edge = min(width, height)
    shape = Image.new("L", (width * 2, height * 2))
    inset = edge * 0.08
    corners = (inset, inset, width * 2 - inset, height * 2 - inset)
    ImageDraw.Draw(shape).rounded_rectangle(corners, radius=edge * 0.3, fill=255)
    image.putalpha(shape.reduce(2))
    return image


def pixelate(image: Image.Image, grain: int) -> Image.Image:
    """Return a coarse version of an image, with blocks of ``grain`` pixels."""
    width, height = image.size
    small = image.resize((max(1, width // grain), max(1, height // grain)), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def mean_colour(image: Image.Image) -> Colour:
    """Return the mean colour of an image."""
    red, green, blue = ImageStat.Stat(image.convert("RGB")).mean
    return round(red), round(green), round(blue)


def _paste_framed(canvas: Image.Image, images: Sequence[Image.Image], box: Box) -> None:
    """Paste framed images into the upper half of a box, up to eight in a row."""
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
        canvas.paste((250, 248, 240), (x, y, x + edge, y + edge))
        inner = edge - 2 * frame
        if inner > 0:
            small = ImageOps.fit(image.convert("RGB"), (inner, inner))
            canvas.paste(small, (x + frame, y + frame))


def _alpha(image: Image.Image) -> Image.Image:
    """Return the opacity of each pixel as an ``L`` image, white without transparency."""
    return image.convert("RGBA").getchannel("A")


def _fit(image: Image.Image, size: tuple[int, int], how: Image.Resampling) -> Image.Image:
    return image if image.size == size else ImageOps.fit(image, size, how)


def _rotate_hue(image: Image.Image, share: float) -> Image.Image:
    """Return the image with every hue rotated by ``share`` of the circle. Greys get a tint of that hue."""
    hue, saturation, value = image.convert("HSV").split()
    turn = round(share * 256)
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    turned = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    red, green, blue = colorsys.hsv_to_rgb(share % 1, 0.55, 1)
    tint = (round(red * 255), round(green * 255), round(blue * 255))
    return Image.blend(turned, ImageOps.colorize(value, (0, 0, 0), tint), 0.12)

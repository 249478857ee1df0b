"""Encoders of images: PNG, JPEG, WebP and animated GIF."""

from __future__ import annotations

import math
from io import BytesIO

from PIL import Image, ImageDraw, PngImagePlugin

__all__ = ["animate", "encode", "rounded_duration"]

_COMMENT = "imagesdk emulator (drawn by code, not by a model)"
_SWAY = (0.06, 0.012)  # range of the movement of an animation, as shares of its width and height


def encode(image: Image.Image, output_format: str, quality: int = 100) -> bytes:
    """Return the bytes of a ``png``, ``jpeg`` or ``webp``. ``quality`` (0 to 100) applies to the last two."""
    buffer = BytesIO()
    if output_format == "png":
        about = PngImagePlugin.PngInfo()
        about.add_text("Software", _COMMENT)
        image.save(buffer, "PNG", compress_level=1, pnginfo=about)
    elif output_format == "jpeg":
        image.convert("RGB").save(buffer, "JPEG", quality=min(95, max(1, quality)))
    else:
        image.save(buffer, "WEBP", quality=quality, method=0)
    return buffer.getvalue()


def animate(image: Image.Image, frames: int, milliseconds: int) -> bytes:
    """Return an endless GIF of a swaying image with a progress bar at the bottom."""
    width, height = image.size
    reach_x, reach_y = max(1, round(width * _SWAY[0])), max(1, round(height * _SWAY[1]))
    large = image.convert("RGB").resize((width + 2 * reach_x, height + 2 * reach_y))
    palette = large.quantize(colors=255)
    drawn: list[Image.Image] = []
    for number in range(frames):
        turn = math.tau * number / frames
        x = reach_x + round(reach_x * math.cos(turn))
        y = reach_y + round(reach_y * math.sin(turn))
        frame = large.crop((x, y, x + width, y + height))
        # Pillow merges equal frames, so the bar makes each frame different even if the image is plain.
        bar = (0, height - max(2, height // 80), round(width * (number + 1) / frames), height)
        ImageDraw.Draw(frame).rectangle(bar, fill=(255, 255, 255) if number % 2 else (0, 0, 0))
        drawn.append(frame.quantize(palette=palette, dither=Image.Dither.NONE))
    buffer = BytesIO()
    drawn[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=drawn[1:],
        duration=rounded_duration(milliseconds),
        loop=0,
        comment=_COMMENT.encode(),
    )
    return buffer.getvalue()


def rounded_duration(milliseconds: int) -> int:
    """Return the duration of a frame, rounded to 10 ms and at most 655 350."""
    return min(655_350, max(10, (milliseconds + 5) // 10 * 10))

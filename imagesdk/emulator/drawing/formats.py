"""How pictures are encoded for an answer: PNG, JPEG, WebP, and an animated GIF."""

from __future__ import annotations

import math
from io import BytesIO

from PIL import Image, ImageDraw, PngImagePlugin

__all__ = ["animate", "encode", "rounded_duration"]

_COMMENT = "imagesdk emulator (drawn by code, not by a model)"
_SWAY = (0.06, 0.012)
"""How far an animation moves, as a share of its width and of its height."""


def encode(picture: Image.Image, output_format: str, quality: int = 100) -> bytes:
    """Return the bytes of a ``png``, ``jpeg`` or ``webp``; ``quality`` (0 to 100) is for the last two."""
    buffer = BytesIO()
    if output_format == "png":
        about = PngImagePlugin.PngInfo()
        about.add_text("Software", _COMMENT)
        picture.save(buffer, "PNG", compress_level=1, pnginfo=about)
    elif output_format == "jpeg":
        picture.convert("RGB").save(buffer, "JPEG", quality=min(95, max(1, quality)))
    else:
        picture.save(buffer, "WEBP", quality=quality, method=0)
    return buffer.getvalue()


def animate(picture: Image.Image, frames: int, milliseconds: int) -> bytes:
    """Return a GIF of a picture that sways, for ever, with a bar at its foot that shows how far it has come."""
    width, height = picture.size
    reach_x, reach_y = max(1, round(width * _SWAY[0])), max(1, round(height * _SWAY[1]))
    large = picture.convert("RGB").resize((width + 2 * reach_x, height + 2 * reach_y))
    palette = large.quantize(colors=255)
    drawn: list[Image.Image] = []
    for number in range(frames):
        turn = math.tau * number / frames
        x = reach_x + round(reach_x * math.cos(turn))
        y = reach_y + round(reach_y * math.sin(turn))
        frame = large.crop((x, y, x + width, y + height))
        # No two frames are alike even where the picture is plain: like ones would become a single longer one.
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
    """Return how long a frame is shown: rounded to 10 ms, and at most 655 350."""
    return min(655_350, max(10, (milliseconds + 5) // 10 * 10))

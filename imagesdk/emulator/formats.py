"""How pictures are encoded for an answer."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, PngImagePlugin

__all__ = ["encode"]


def encode(picture: Image.Image, output_format: str, quality: int = 100) -> bytes:
    """Return the bytes of a ``png``, ``jpeg`` or ``webp``; ``quality`` (0 to 100) is for the last two."""
    buffer = BytesIO()
    if output_format == "png":
        about = PngImagePlugin.PngInfo()
        about.add_text("Software", "imagesdk emulator (drawn by code, not by a model)")
        picture.save(buffer, "PNG", compress_level=1, pnginfo=about)
    elif output_format == "jpeg":
        picture.convert("RGB").save(buffer, "JPEG", quality=min(95, max(1, quality)))
    else:
        picture.save(buffer, "WEBP", quality=quality, method=0)
    return buffer.getvalue()

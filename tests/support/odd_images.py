"""Pictures as people have them: from phones, printers, scanners and painting programs."""

from __future__ import annotations

import io
from typing import Any

import PIL.Image

PIL.Image.init()
AVIF = ["AVIF"] if "AVIF" in PIL.Image.SAVE else []
"""The name of the format, where Pillow is new enough for it."""


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def halves(width: int = 40, height: int = 20, mode: str = "RGB") -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (width, height), "red")
    picture.paste("blue", (width // 2, 0, width, height))
    return picture.convert(mode)


def exif(orientation: int = 1) -> bytes:
    """Return EXIF that turns a picture, and tells who made it where."""
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "SECRET CAMERA"
    tags.get_ifd(0x8825)[1] = "N"
    return tags.tobytes()


def phone(orientation: int = 6) -> bytes:
    """Return a JPEG as a phone writes it: lying on its side, several pictures in one file."""
    further = [halves(20, 10)]
    return encoded(halves(), "MPO", save_all=True, append_images=further, quality=95, exif=exif(orientation))


def inks() -> bytes:
    return encoded(halves(mode="CMYK"), "JPEG", quality=95)


def holed(width: int = 64, height: int = 64) -> bytes:
    """Return a mask: opaque but for a hole in the middle."""
    mask = PIL.Image.new("RGBA", (width, height), "black")
    mask.paste((0, 0, 0, 0), (width // 4, height // 4, width // 2, height // 2))
    return encoded(mask)

"""Hooks of Schemathesis: most image parts of a form are small images, so that requests get past their decoding."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import Any

from hypothesis import strategies as st
from PIL import Image

_schemathesis: Any = import_module("schemathesis")  # installed in the session of these checks only


def _encoded(mode: str, edge: int, image_format: str) -> bytes:
    buffer = BytesIO()
    Image.new(mode, (edge, edge)).save(buffer, image_format)
    return buffer.getvalue()


for _media_type, _format in (("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")):
    _modes = ("RGB",) if _format == "JPEG" else ("RGBA", "RGB")
    _images = [_encoded(mode, edge, _format) for mode in _modes for edge in (16, 64)]
    _schemathesis.openapi.media_type(_media_type, st.sampled_from(_images) | st.binary(max_size=99))

"""Notebook display: MIME bundles of bounded size for IPython.

https://ipython.readthedocs.io/en/stable/config/integrating.html. No function here raises, fetches a URL, or lets text
of a server act in the page. Text is escaped, and an SVG is an ``<img>``, whose scripts do not run.
"""

from __future__ import annotations

import base64
from collections.abc import Container, Iterable
from html import escape
from typing import Any, Protocol, TypeAlias

from imagesdk._media.pillow import eight_bit, encode_image, open_image, upright
from imagesdk._media.sniff import HEAD_SIZE, sniff

MimeBundle: TypeAlias = "tuple[dict[str, str], dict[str, Any]]"
"""Data by media type, and metadata by media type."""
_Kinds: TypeAlias = "Container[str] | None"
"""Media types that the notebook asks for or does not want."""

_NATIVE = frozenset({"image/png", "image/jpeg", "image/gif"})
"""Media types that every notebook shows by itself. All others need an ``<img>``."""
_WIDTH = 512
"""Maximum width of one image, in pixels of the page."""
_WIDTH_IN_GRID = 256
_PIXEL_RATIO = 2
"""Pixels of a preview per pixel of the page, for high-density screens."""
_PREVIEW_BYTES = 512 * 1024
"""Images of this size and more are replaced by a preview."""
_MAX_BYTES = 8 * 1024 * 1024
"""Images of this size and more are left out if no preview can be made."""


class NotebookImage(Protocol):
    """The attributes of :class:`imagesdk.Image` that the display uses."""

    @property
    def loaded(self) -> bool: ...
    @property
    def bytes(self) -> bytes: ...
    @property
    def url(self) -> str | None: ...
    @property
    def revised_prompt(self) -> str | None: ...


def image_bundle(image: NotebookImage, text: str, *, include: _Kinds, exclude: _Kinds) -> MimeBundle:
    """Return the bundle of one image. ``text`` is its plain text. Blocks if the image is in a file."""
    shown = _load(image, _WIDTH)
    if shown is None:
        return _select({"text/plain": f"{text} {_note(image)}"}, {}, include, exclude)
    media_type, data, size = shown
    if media_type not in _NATIVE:
        return _select({"text/plain": text, "text/html": _tag(image, shown)}, {}, include, exclude)
    metadata = {media_type: {"width": size[0], "height": size[1]}} if size else {}
    return _select({"text/plain": text, media_type: _base64(data)}, metadata, include, exclude)


def grid_bundle(
    images: Iterable[NotebookImage], text: str, *, include: _Kinds, exclude: _Kinds
) -> MimeBundle:
    """Return the bundle of several images, side by side. Blocks if they are in files."""
    figures: list[str] = []
    for image in images:
        shown = _load(image, _WIDTH_IN_GRID)
        caption = escape(repr(image) if shown else f"{image!r} {_note(image)}")
        title = f' title="{escape(str(image.revised_prompt))}"' if image.revised_prompt else ""
        figures.append(
            f'<figure style="margin:0;max-width:{_WIDTH_IN_GRID}px"{title}>{_tag(image, shown) if shown else ""}'
            f'<figcaption style="font-size:smaller;overflow-wrap:anywhere">{caption}</figcaption></figure>'
        )
    data = {"text/plain": text}
    if figures:
        data["text/html"] = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(figures)}</div>'
    return _select(data, {}, include, exclude)


_Shown: TypeAlias = "tuple[str, bytes, tuple[int, int] | None]"
"""Media type, data, and width and height on the page."""


def _load(image: NotebookImage, width: int) -> _Shown | None:
    """Return an image as it goes into the page; ``None`` if it cannot be shown."""
    try:
        data = image.bytes if image.loaded else b""
        facts = sniff(data[:HEAD_SIZE])
        if facts.media_type is None:
            return None
        media_type, size = facts.media_type, facts.shown
        if media_type != "image/svg+xml" and not facts.animated and len(data) >= _PREVIEW_BYTES:
            media_type, data = _preview(media_type, data, width * _PIXEL_RATIO)
        if len(data) >= _MAX_BYTES:
            return None
        if size and size[0] > width:
            size = width, max(1, round(size[1] * width / size[0]))
        return media_type, data, size
    except Exception:  # noqa: BLE001 - a missing file or a broken image must not break the page
        return None


def _preview(media_type: str, data: bytes, edge: int) -> tuple[str, bytes]:
    """Return a smaller image, or the same one if Pillow is missing or cannot decode it."""
    try:
        image = eight_bit(upright(open_image("image", data)))
        image.thumbnail((edge, edge))
        file_format = "png" if image.mode == "RGBA" else "jpeg"
        return f"image/{file_format}", encode_image(image, file_format)
    except Exception:  # noqa: BLE001
        return media_type, data


def _tag(image: NotebookImage, shown: _Shown) -> str:
    media_type, data, size = shown
    attributes = f' width="{size[0]}" height="{size[1]}"' if size else ""
    return (
        f'<img src="data:{media_type};base64,{_base64(data)}"{attributes}'
        f' style="max-width:min(100%,{_WIDTH}px);height:auto" alt="{escape(repr(image))}">'
    )


def _select(data: dict[str, str], metadata: dict[str, Any], include: _Kinds, exclude: _Kinds) -> MimeBundle:
    kinds = {kind for kind in data if (not include or kind in include) and not (exclude and kind in exclude)}
    return (
        {kind: value for kind, value in data.items() if kind in kinds},
        {kind: value for kind, value in metadata.items() if kind in kinds},
    )


def _note(image: NotebookImage) -> str:
    if image.loaded:
        return "(cannot be shown here)"
    return "(only a URL so far: client.images.download(image) fetches it)" if image.url else "(nothing in it)"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

"""How pictures show themselves in a notebook: as MIME bundles of a size that a page can bear.

https://ipython.readthedocs.io/en/stable/config/integrating.html. Nothing here raises, fetches a URL, or lets anything
that a server said act in the page: texts are escaped, and an SVG is shown as an image, where its scripts do not run.
"""

from __future__ import annotations

import base64
from collections.abc import Container, Iterable
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, field, frozen

from imagesdk._media.pillow import eight_bit, encode_image, open_image, upright
from imagesdk._media.sniff import HEAD_SIZE, sniff

if TYPE_CHECKING:
    from imagesdk.types import Image

MimeBundle: TypeAlias = "tuple[dict[str, str], dict[str, Any]]"
"""Data by media type, and what is to be known of each."""

_NATIVE = frozenset({"image/png", "image/jpeg", "image/gif"})
"""What every notebook shows by itself; the rest goes through an ``<img>``."""
_WIDTH = 512
"""Pixels of the page that a picture takes at most."""
_WIDTH_IN_GRID = 256
_DENSE = 2
"""Pixels of a preview for each of the page, for screens that have them."""
_LARGE = 512 * 1024
"""Bytes from which a preview is made."""
_TOO_LARGE = 8 * 1024 * 1024
"""Bytes that are not put into a page, where no preview can be made."""


@frozen
class _Shown:
    """A picture as it goes into the page."""

    media_type: str
    data: bytes = field(repr=False)
    width: int | None
    height: int | None

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode("ascii")

    def tag(self, text: str) -> str:
        measures = f' width="{self.width}" height="{self.height}"' if self.width and self.height else ""
        style = ' style="max-width:100%;height:auto"'
        return (
            f'<img src="data:{self.media_type};base64,{self.base64}"{measures}{style} alt="{escape(text)}">'
        )


def image_bundle(
    image: Image, text: str, *, include: Container[str] | None, exclude: Container[str] | None
) -> MimeBundle:
    """Return the bundle of one picture; ``text`` is for where none can be shown. Blocks if it is in a file."""
    shown = _shown(image, _WIDTH)
    data, metadata = {"text/plain": text if shown else f"{text} {_note(image)}"}, dict[str, Any]()
    if shown is not None and shown.media_type in _NATIVE:
        data[shown.media_type] = shown.base64
        if shown.width and shown.height:
            metadata[shown.media_type] = {"width": shown.width, "height": shown.height}
    elif shown is not None:
        data["text/html"] = shown.tag(repr(image))
    return _wanted(data, metadata, include, exclude)


def grid_bundle(
    images: Iterable[Image], text: str, *, include: Container[str] | None, exclude: Container[str] | None
) -> MimeBundle:
    """Return the bundle of several pictures, side by side. Blocks if they are in files."""
    figures: list[str] = []
    for image in images:
        shown = _shown(image, _WIDTH_IN_GRID)
        caption = repr(image) if shown else f"{image!r} {_note(image)}"
        title = f' title="{escape(str(image.revised_prompt))}"' if image.revised_prompt else ""
        figures.append(
            f'<figure style="margin:0;max-width:{_WIDTH_IN_GRID}px"{title}>{shown.tag(repr(image)) if shown else ""}'
            f'<figcaption style="font-size:smaller;overflow-wrap:anywhere">{escape(caption)}</figcaption></figure>'
        )
    data = {"text/plain": text}
    if figures:
        data["text/html"] = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(figures)}</div>'
    return _wanted(data, {}, include, exclude)


def _wanted(
    data: dict[str, str],
    metadata: dict[str, Any],
    include: Container[str] | None,
    exclude: Container[str] | None,
) -> MimeBundle:
    kinds = {kind for kind in data if (not include or kind in include) and not (exclude and kind in exclude)}
    return (
        {kind: value for kind, value in data.items() if kind in kinds},
        {kind: value for kind, value in metadata.items() if kind in kinds},
    )


def _note(image: Image) -> str:
    if image.loaded:
        return "(cannot be shown here)"
    return "(only a URL so far: client.images.download(image) fetches it)" if image.url else "(nothing in it)"


def _shown(image: Image, width: int) -> _Shown | None:
    try:
        return _read(image, width) if image.loaded else None
    except Exception:  # noqa: BLE001 - a missing file, a broken picture: a page is no place to fail
        return None


def _read(image: Image, width: int) -> _Shown | None:
    data = image.bytes
    facts = sniff(data[:HEAD_SIZE])
    if facts.media_type is None:
        return None
    across, down = facts.shown or (None, None)
    shown = _Shown(facts.media_type, data, across, down)
    raster = facts.media_type != "image/svg+xml"
    if raster and not facts.animated and len(data) >= _LARGE:
        shown = _preview(shown, width * _DENSE)
    if len(shown.data) >= _TOO_LARGE:
        return None
    if across and down and across > width:
        across, down = width, max(1, round(down * width / across))
    return evolve(shown, width=across, height=down)


def _preview(shown: _Shown, edge: int) -> _Shown:
    """Make a picture smaller, if Pillow is there and can."""
    try:
        picture = eight_bit(upright(open_image("image", shown.data)))
        picture.thumbnail((edge, edge))
        kind = "png" if picture.mode == "RGBA" else "jpeg"
        return evolve(shown, media_type=f"image/{kind}", data=encode_image(picture, kind))
    except Exception:  # noqa: BLE001 - then it is shown as it is
        return shown

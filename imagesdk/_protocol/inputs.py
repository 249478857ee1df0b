"""The images of a job, as they are sent.

An input image is an :class:`~imagesdk.types.Upload`, whose bytes the client sends, or a :class:`RemoteImage`, which the server
fetches or has. A form holds uploads only. JSON holds both: an upload becomes a data URL, encoded while it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from attrs import frozen

from imagesdk.types import Upload


@frozen(repr=False)
class RemoteImage:
    """A picture that the server has, or fetches: a URL or the id of an uploaded file."""

    url: str | None = None
    file_id: str | None = None

    @property
    def name(self) -> str:
        """What to call it in a message: without the query, which may hold a signature."""
        return (self.url or "").split("?")[0] or self.file_id or ""

    def __repr__(self) -> str:
        return f"<Remote {self.name}>"


InputImage: TypeAlias = "Upload | RemoteImage"


@frozen
class InputImages:
    """What was found where the caller said that the pictures are."""

    images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    markup: InputImage | None = None

    def __iter__(self) -> Iterator[InputImage]:
        yield from self.images
        yield from (picture for picture in (self.mask, self.markup) if picture is not None)

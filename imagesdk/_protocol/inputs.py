"""Input images of a request.

========================================  ========================  ==================================
input image                               in a form                 in JSON
========================================  ========================  ==================================
:class:`~imagesdk.types.Upload`           a file                    a data URL, encoded while sending
:class:`RemoteImage`                      not possible              a URL or a file id
========================================  ========================  ==================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from attrs import frozen

from imagesdk.types import Upload


@frozen(repr=False)
class RemoteImage:
    """An image that the server fetches from a URL, or has as an uploaded file."""

    url: str | None = None
    file_id: str | None = None

    @property
    def name(self) -> str:
        """The name for messages: the file id, or the URL without its query, which may contain a signature."""
        return (self.url or "").split("?")[0] or self.file_id or ""

    def __repr__(self) -> str:
        return f"<Remote {self.name}>"


InputImage: TypeAlias = "Upload | RemoteImage"


@frozen
class InputImages:
    """The opened images of a job."""

    images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    markup: InputImage | None = None

    def __iter__(self) -> Iterator[InputImage]:
        yield from self.images
        yield from (image for image in (self.mask, self.markup) if image is not None)

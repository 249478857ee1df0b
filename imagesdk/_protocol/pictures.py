"""The pictures of a job, made ready to be sent."""

from __future__ import annotations

from attrs import frozen

from imagesdk.types import Upload


@frozen
class Pictures:
    """What was found where the caller said that the pictures are."""

    images: tuple[Upload, ...] = ()
    mask: Upload | None = None
    markup: Upload | None = None

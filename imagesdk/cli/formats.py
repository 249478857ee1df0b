"""Output formats by file name: ``-o cat.jpg`` requests a JPEG if the model makes JPEGs."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesdk import Job


def with_named_format(job: Job, out: str, base_url: str) -> Job:
    """Return the job with the format of the file name, unless it has its own or its model does not make it."""
    import attrs

    from imagesdk import Variation, models
    from imagesdk._media.sniff import named_media_type
    from imagesdk._protocol.hosts import Host

    named_format = (named_media_type(out) or "").removeprefix("image/")
    if named_format not in {"jpeg", "webp"} or isinstance(job, Variation) or job.output_format is not None:
        return job
    profile = models.lookup(job.model or Host.parse(base_url).default_model(job))
    makes = profile is not None and named_format in profile.output_formats
    if not makes or (named_format == "jpeg" and job.background == "transparent"):
        return job
    return attrs.evolve(job, output_format=named_format)


def extension_warning(location: str, media_type: str | None) -> str | None:
    """Return a warning if a file name does not match its format; otherwise ``None``."""
    from imagesdk._media.sniff import extension, named_media_type

    path = PurePath(location)
    named = named_media_type(path.name)
    if named is None or media_type is None or named == media_type:
        return None
    kind = media_type.removeprefix("image/").partition("+")[0].upper()
    return f"{location} is a {kind}; a matching name is {path.with_suffix('.' + extension(media_type)).name}"

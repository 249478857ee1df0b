"""Final names of the files that one call writes.

An image that has arrived is paid for. If it cannot be moved to its final name, its temporary file is kept, and the error
names that file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from imagesdk._engine.sink import ReceivedImage
from imagesdk._media.atomic import move_into_place, write_file
from imagesdk._media.output import OutputPath, OutputTemplate, image_path
from imagesdk._media.remote_path import RemotePath
from imagesdk._media.sniff import HEAD_SIZE, extension, sniff
from imagesdk._runtime.threads import run_blocking, run_stoppable

if TYPE_CHECKING:
    from imagesdk._media.remote_files import Content


@frozen
class OutputNames:
    """The parsed ``out=`` of one call, with the values of its template fields."""

    template: OutputTemplate
    id: str
    slug: str
    fsync: bool = False
    job: int = 0

    is_recorded: bool = False
    """Whether a journal names the temporary files, so that another run can move them."""

    @property
    def is_remote(self) -> bool:
        """Whether the files are uploaded to a remote file system, rather than moved."""
        return isinstance(self.template.folder, RemotePath)

    def path(self, index: int, ext: str) -> OutputPath:
        """Return the final path of the image at ``index`` of the response."""
        first, path = (
            self.template.path(index=i, job=self.job, id=self.id, slug=self.slug, ext=ext) for i in (0, index)
        )
        surplus = index and path == first  # the server sent more images than the request asked for
        return path.with_stem(f"{path.stem}-{index}") if surplus else path

    async def move_into_place(self, index: int, received: ReceivedImage) -> OutputPath:
        """Rename or upload a temporary file to its final path, and return that path.

        Raises:
            OSError: If the file cannot be moved. The error names the temporary file, which is kept.
        """
        path = self.path(index, extension(received.facts.media_type))
        assert received.temporary is not None  # noqa: S101 - only called for files
        try:
            if isinstance(path, RemotePath):
                await upload(received.temporary, path, replace=True)
                await run_blocking(received.temporary.unlink)
            else:
                with anyio.CancelScope(shield=True):
                    await run_blocking(partial(move_into_place, fsync=self.fsync), received.temporary, path)
        except OSError as error:
            raise keep(received, error) from error
        received.temporary = None
        return path


async def check_target(to: str | os.PathLike[str], index: int) -> None:
    """Check that an image can be saved to a file, a folder or a template.

    Raises:
        InvalidRequestError: If ``to`` is not a path or a URL.
        ConfigurationError: If a package for the URL is missing.
    """
    place = await run_blocking(image_path, "to", to, index, "png")
    if isinstance(place, RemotePath):
        from imagesdk._media.remote_files import open_file_system

        await run_blocking(open_file_system, place)


async def write_target(data: bytes, to: str | os.PathLike[str], index: int) -> None:
    """Save an image to a file, a folder or a template, and replace an existing file.

    Raises:
        OSError: If the file cannot be written.
    """
    ext = extension(sniff(data[:HEAD_SIZE]).media_type)
    place = await run_blocking(image_path, "to", to, index, ext)
    if isinstance(place, RemotePath):
        await upload(data, place, replace=True)
    else:
        await run_blocking(write_file, place, data)


async def upload(source: Path | bytes, final: RemotePath, *, replace: bool, owner: str = "") -> Content:
    """Write a remote file, and return the identity of its content. Cancelling stops the upload, and leaves no file.

    Raises:
        FileExistsError: If the name is taken and must not be replaced.
        OSError: If the file cannot be written.
    """
    from imagesdk._media import remote_files

    return await run_stoppable(
        lambda is_stopped: remote_files.upload(
            source, final, replace=replace, owner=owner, is_stopped=is_stopped
        ),
        remote_files.StoppedError,
    )


def keep(received: ReceivedImage, error: OSError, *, owner: str = "") -> OSError:
    """Keep the temporary file of an image that cannot be moved, and return an error that names the file.

    With ``owner`` no journal names the file, so it loses the name of the run, which would remove it.
    """
    temporary, received.temporary = received.temporary, None
    place = ""
    if temporary is not None and os.path.lexists(temporary):
        with suppress(OSError):
            temporary = temporary.replace(temporary.with_name(temporary.name.replace(f"-{owner}-", "-")))
        place = f" The image is kept in {temporary}."
    return type(error)(error.errno, f"{(error.strerror or str(error)).rstrip('.')}.{place}", error.filename)

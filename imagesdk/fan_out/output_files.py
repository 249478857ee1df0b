"""Output files of a run, local and remote: unique names, moves to final names, and the state of written files.

A run never replaces a file that it did not write. If a name is taken, the run appends a number:

=======================  ==============================
names that exist         name of the new file
=======================  ==============================
none                     ``a.png``
``a.png``                ``a-2.png``
``a.png``, ``a-2.png``   ``a-3.png``
=======================  ==============================

The folder of an image is created, and the way to it checked, before the job is sent. An image that arrives and cannot be
moved keeps its temporary file, which the error names. No loop here is without a bound.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
from attrs import evolve, field, frozen

from imagesdk._calls.file_names import OutputNames, keep, upload
from imagesdk._engine.request_body import read_piece
from imagesdk._engine.sink import ReceivedImage
from imagesdk._media.atomic import move_if_free
from imagesdk._media.output import OutputPath, OutputTemplate, check_output, check_place, slug
from imagesdk._media.remote_path import RemotePath
from imagesdk._media.sniff import extension
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import InvalidRequestError
from imagesdk.fan_out.fingerprint import Hashes
from imagesdk.fan_out.job_source import Item
from imagesdk.jobs import Variation
from imagesdk.remedies import Remedy

State: TypeAlias = Literal["whole", "absent", "changed"]
"""State of the files of a job: complete, at least one missing, or at least one changed."""
_MAX_NUMBER = 100_000
"""Highest number that a name gets."""
_MAX_RIVALS = 100
"""Times that another program may take the name of an image just before the run does."""
_SHORT_NAME = 140
"""Bytes of a name that every file system takes: eCryptfs allows 143, and a number may follow."""


@frozen
class WrittenFile:
    """Image file that a run has written, or is about to move to its final name."""

    index: int
    path: OutputPath
    temporary: Path
    sha256: str
    size: int
    tag: str | None = None
    """Hash that a remote file system has of the file."""


class TakenNames:
    """Names that jobs of one run have reserved and no file has yet. Thread-safe.

    Args:
        checked: Folders to which images can be moved.
    """

    def __init__(self, *checked: OutputPath) -> None:
        self.checked: set[OutputPath] = set(checked)
        self._lock = threading.Lock()
        self._names: set[OutputPath] = set()

    def take(self, wanted: OutputPath) -> OutputPath:
        """Reserve the wanted name, or a numbered one if it is taken. Blocks."""
        for number in range(1, _MAX_NUMBER + 1):
            path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
            with self._lock:
                if path in self._names:
                    continue
                self._names.add(path)
            if not is_there(path):  # remote files take a while, so without the lock
                return path
            self.release(path)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(wanted))

    def release(self, path: OutputPath) -> None:
        """End a reservation: the file exists now, or will not be written."""
        with self._lock:
            self._names.discard(path)


@frozen(kw_only=True)
class RunNames(OutputNames):
    """File names of one job of a run."""

    taken: TakenNames
    owner: str = ""
    """Name of the journal in temporary files; empty without a journal."""
    written: dict[int, WrittenFile] = field(factory=dict[int, WrittenFile])
    """By index of the image in the response."""
    before_move: Callable[[int, ReceivedImage], Awaitable[None]] | None = None
    """Called with a downloaded image, whose final name is reserved, before it is moved."""

    async def check(self, owner: str) -> None:
        """Create the folder of the images, and check that a temporary file of the run can be moved to it.

        Raises:
            OSError: If it cannot.
        """
        if self.is_remote:
            if self.template.folder not in self.taken.checked:
                await run_blocking(partial(check_output, self.template, owner, once=True))
                self.taken.checked.add(self.template.folder)
            return
        final, other = self.path(0, "png"), self.path(0, "webp")
        folder = final.parent if final.parent == other.parent else self.template.folder
        if folder not in self.taken.checked or len(os.fsencode(final.name)) > _SHORT_NAME:
            await run_blocking(check_place, self.template.temporary_folder, final, other, owner)
            self.taken.checked.add(folder)

    async def reserve(self, index: int, received: ReceivedImage) -> WrittenFile:
        """Reserve the final name of an image that is in a temporary file."""
        self.written[index] = await run_blocking(self._reserve, index, received)
        return self.written[index]

    async def move_into_place(self, index: int, received: ReceivedImage) -> OutputPath:
        """Move or upload a temporary file to its final name, and return that name.

        Raises:
            OSError: If the file cannot be moved. The error names the temporary file, which is kept.
        """
        with anyio.CancelScope(shield=not self.is_remote):
            try:
                await self._move(index, received)
            except OSError as error:
                self.taken.checked.clear()
                raise keep(received, error) from error
        file = self.written[index]
        self.taken.release(file.path)
        received.temporary = None
        return file.path

    async def _move(self, index: int, received: ReceivedImage) -> WrittenFile:
        file = self.written.get(index) or await self.reserve(index, received)
        if self.before_move is not None:
            await self.before_move(index, received)
        for _ in range(_MAX_RIVALS):
            try:
                if isinstance(file.path, RemotePath):
                    content = await upload(file.temporary, file.path, replace=False, owner=self.owner)
                    self.written[index] = evolve(file, tag=content.tag)
                    await run_blocking(file.temporary.unlink)
                else:
                    await run_blocking(partial(move_if_free, fsync=self.fsync), file.temporary, file.path)
            except FileExistsError:  # another program has just created it
                self.taken.release(file.path)
                file = await self.reserve(index, received)
            else:
                return file
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file.path))

    def _reserve(self, index: int, received: ReceivedImage) -> WrittenFile:
        temporary = received.temporary
        assert temporary is not None  # noqa: S101 - only called for images in files
        sha256 = hash_of(temporary)
        path = self.taken.take(self.path(index, extension(received.facts.media_type)))
        return WrittenFile(index, path, temporary, sha256, temporary.stat().st_size)


def names_for(
    item: Item,
    name: str,
    template: OutputTemplate,
    taken: TakenNames,
    *,
    fsync: bool,
    owner: str,
    is_recorded: bool,
) -> RunNames:
    """Return the file names of a job. ``name`` is its ``{id}`` if it has no label."""
    job = item.job
    return RunNames(
        template=template,
        id=slug(item.label, 80) if item.label else name,
        slug=slug("variation" if isinstance(job, Variation) else job.prompt),
        fsync=fsync,
        job=item.place,
        taken=taken,
        owner=owner,
        is_recorded=is_recorded,
    )


def run_template(out: str | os.PathLike[str]) -> OutputTemplate:
    """Parse ``out=`` of a run.

    Raises:
        InvalidRequestError: If the template gives the images of several jobs the same name.
    """
    template = OutputTemplate.parse(out)
    if not any(f"{{{name}" in template.template for name in ("job", "id", "slug")):
        raise InvalidRequestError(
            f"out is {os.fspath(out)!r}, which gives the images of all jobs the same name.",
            param="out",
            value=os.fspath(out),
            allowed="a folder, or a template with {job}, {id} or {slug}",
            remedies=(Remedy.PUT_IN_TEMPLATE.of("{job} or {id}"),),
        )
    return template


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file. Blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(files: list[WrittenFile]) -> State:
    """Move files that still have temporary names, and return the state of all. Blocks."""
    for file in files:
        if not is_there(file.path) and hash_if_there(file.temporary) == file.sha256:
            if isinstance(file.path, RemotePath):
                from imagesdk._media import remote_files

                remote_files.upload(file.temporary, file.path, replace=False)
                file.temporary.unlink()
            else:
                move_if_free(file.temporary, file.path, fsync=True)
    return state_as_is(files)


def state_as_is(files: list[WrittenFile]) -> State:
    """Return the state of files, without moving any. Blocks."""
    for file in files:
        found = has_content(file)
        if found is None and (sha256 := hash_if_there(file.temporary)) is not None:
            found = sha256 == file.sha256
        if found is None:
            return "absent"
        if not found:
            return "changed"
    return "whole"


def is_there(path: OutputPath) -> bool:
    """Return whether a name is taken. Blocks."""
    if isinstance(path, Path):
        return os.path.lexists(path)
    from imagesdk._media.remote_files import exists

    return exists(path)


def has_content(file: WrittenFile) -> bool | None:
    """Return whether the final file has the content that was written; ``None`` if it is not there. Blocks."""
    if isinstance(file.path, Path):
        sha256 = hash_if_there(file.path)
        return None if sha256 is None else sha256 == file.sha256
    from imagesdk._media.remote_files import Content, holds

    return holds(file.path, Content(file.sha256, file.size, file.tag))


def hash_if_there(path: Path) -> str | None:
    """Return the SHA-256 of a file, or ``None`` if there is no file of that name. Blocks."""
    try:
        return hash_of(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


async def hashes_of(inputs: InputImages) -> Hashes:
    """Hash the input images of a job."""
    return Hashes(
        [await _hashed(image) for image in inputs.images],
        None if inputs.mask is None else await _hashed(inputs.mask),
        None if inputs.markup is None else await _hashed(inputs.markup),
    )


async def _hashed(image: InputImage) -> str:
    if isinstance(image, RemoteImage):
        return f"file {image.file_id}" if image.file_id else f"url {image.url}"
    hashed, done = hashlib.sha256(), 0
    while done < image.size and (piece := await read_piece(image, done)):
        await run_blocking(hashed.update, piece)
        done += len(piece)
    return hashed.hexdigest()

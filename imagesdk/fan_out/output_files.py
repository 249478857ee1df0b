"""The files of a run: names that are nobody else's, and whether what was written is still there.

Rule: a run never replaces a file that it did not make; where a name is taken, a number is put behind it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
from attrs import field, frozen

from imagesdk._calls.file_names import OutputNames
from imagesdk._engine.request_body import read_piece
from imagesdk._engine.sink import ReceivedImage
from imagesdk._media.atomic import move_if_free
from imagesdk._media.output import OutputTemplate
from imagesdk._media.sniff import extension
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import InvalidRequestError
from imagesdk.fan_out.fingerprint import Hashes

_APART = ("job", "id", "slug")

State: TypeAlias = Literal["whole", "absent", "changed"]
"""What has become of the files of a job."""


@frozen
class WrittenFile:
    """A picture that a run has written, or is about to."""

    index: int
    path: Path
    temporary: Path
    sha256: str
    size: int


class TakenNames:
    """Names that jobs of one run have chosen and not given to a file yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[Path] = set()

    def take(self, wanted: Path) -> Path:
        """Return the wanted name, or one like it that nothing has. Blocks for moments."""
        with self._lock:
            for number in count(1):
                path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
                if path not in self._names and not os.path.lexists(path):
                    self._names.add(path)
                    return path
        raise AssertionError

    def give_back(self, path: Path) -> None:
        """Say that there is a file of that name now, or never will be."""
        with self._lock:
            self._names.discard(path)


@frozen(kw_only=True)
class RunNames(OutputNames):
    """What the files of one job of a run are called."""

    taken: TakenNames
    written: dict[int, WrittenFile] = field(factory=dict[int, WrittenFile])
    """By their place in the response."""

    async def reserve(self, index: int, received: ReceivedImage) -> WrittenFile:
        """Choose the name of a picture that is in a temporary file."""
        self.written[index] = await run_blocking(self._reserve, index, received)
        return self.written[index]

    async def move_into_place(self, index: int, received: ReceivedImage) -> Path:
        """Give a temporary file its final name, and return that."""
        file = self.written.get(index)
        with anyio.CancelScope(shield=True):
            while True:
                file = file or await self.reserve(index, received)
                try:
                    await run_blocking(partial(move_if_free, fsync=self.fsync), file.temporary, file.path)
                except FileExistsError:  # made by another program just now
                    self.taken.give_back(file.path)
                    file = None
                else:
                    break
        assert file is not None  # noqa: S101 - nothing ends the loop before
        self.taken.give_back(file.path)
        received.temporary = None
        return file.path

    def _reserve(self, index: int, received: ReceivedImage) -> WrittenFile:
        temporary = received.temporary
        assert temporary is not None  # noqa: S101 - only called for files
        found = hash_of(temporary)
        path = self.taken.take(self.path(index, extension(received.facts.media_type)))
        return WrittenFile(index, path, temporary, found, temporary.stat().st_size)


def destination_of(out: str | os.PathLike[str]) -> OutputTemplate:
    """Read ``out=`` of a run.

    Raises:
        InvalidRequestError: it would give the pictures of several jobs one name.
    """
    destination = OutputTemplate.parse(out)
    if not any(f"{{{name}" in destination.template for name in _APART):
        raise InvalidRequestError(
            f"out={os.fspath(out)!r} gives the pictures of all jobs the same name; name a folder, or put {{job}} or "
            "{id} into it.",
            param="out",
            value=os.fspath(out),
            allowed="a folder, or a template with {job}, {id} or {slug}",
        )
    return destination


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file. Blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(files: list[WrittenFile]) -> State:
    """Return what has become of files; those that still wait for their final name get it. Blocks.

    Raises:
        OSError: one cannot be read.
    """
    for file in files:
        if not os.path.lexists(file.path) and _hash_if_there(file.temporary) == file.sha256:
            move_if_free(file.temporary, file.path, fsync=True)
    return state_as_is(files)


def state_as_is(files: list[WrittenFile]) -> State:
    """Return what has become of files, and leave them as they are. Blocks.

    Raises:
        OSError: one cannot be read.
    """
    for file in files:
        found = _hash_if_there(file.path) or _hash_if_there(file.temporary)
        if found is None:
            return "absent"
        if found != file.sha256:
            return "changed"
    return "whole"


def _hash_if_there(path: Path) -> str | None:
    try:
        return hash_of(path)
    except FileNotFoundError:
        return None


async def hashes_of(pictures: InputImages) -> Hashes:
    """Read the pictures that a job sends.

    Raises:
        OSError: one cannot be read.
    """
    return Hashes(
        [await _hashed(picture) for picture in pictures.images],
        None if pictures.mask is None else await _hashed(pictures.mask),
        None if pictures.markup is None else await _hashed(pictures.markup),
    )


async def _hashed(picture: InputImage) -> str:
    if isinstance(picture, RemoteImage):
        return f"file {picture.file_id}" if picture.file_id else f"url {picture.url}"
    hashed, done = hashlib.sha256(), 0
    while done < picture.size and (piece := await read_piece(picture, done)):
        await run_blocking(hashed.update, piece)
        done += len(piece)
    return hashed.hexdigest()

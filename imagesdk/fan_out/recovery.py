"""Recovery of a run before its first job is read: images that an earlier run has received are put in place.

The run holds the lock of its journal, so no other process works on these files.

1. A response that the journal could not record, because its disk was full, is in a file beside the images. It is recorded.
2. An image that is ``received`` and has its temporary name is moved to its final name, or to a free one if that is taken.
3. Temporary files of this journal that no record names are removed: their process was killed.

What cannot be known is left alone: a damaged file, a file of another journal, a place that cannot be written to.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from imagesdk._media.atomic import remove_left_over
from imagesdk._media.output import OutputTemplate
from imagesdk.fan_out.output_files import (
    TakenNames,
    WrittenFile,
    has_content,
    hash_if_there,
    is_there,
    state_of,
)
from imagesdk.fan_out.rows import COLUMNS, DAMAGE, record_of
from imagesdk.fan_out.serialization import files_of, with_files
from imagesdk.fan_out.store import JobRecord

_ASIDE: Final = ".imagesdk-{}-{}.json"


@frozen
class Unfinished:
    """What an earlier run has left over."""

    files: list[WrittenFile] = field(factory=list[WrittenFile])
    """Received images that may have temporary names."""
    recorded: list[Path] = field(factory=list[Path])
    """Files of responses that the journal has now."""
    unrecorded: list[WrittenFile] = field(factory=list[WrittenFile])
    """Images of responses that the journal does not know."""


def owner_of(journal: Path, folder: Path) -> str:
    """Return the name of a journal in temporary files of ``folder``. It stays the same if both are moved."""
    try:
        relative = os.path.relpath(journal, folder)
    except ValueError:  # another drive
        relative = str(journal.absolute())
    return hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]


def set_aside(folder: Path, owner: str, record: JobRecord, answer: Mapping[str, Any]) -> None:
    """Write a response that the journal cannot record to a file beside its images. Blocks."""
    path = folder / _ASIDE.format(owner, hashlib.sha256(record.key.encode()).hexdigest()[:16])
    text = json.dumps({"key": record.key, "idempotency_key": record.idempotency_key, "answer": answer})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def unfinished(db: sqlite3.Connection, journal: Path, folder: Path, owner: str) -> Unfinished:
    """Record the responses that were set aside and the free names of received images. Return what is to be moved."""
    found, taken = Unfinished(), TakenNames()
    for path, aside in _set_aside(folder, owner):
        if _record_aside(db, aside):
            found.recorded.append(path)
        else:
            found.unrecorded.extend(files_of(aside["answer"], journal.parent))
    rows = db.execute(f"SELECT {COLUMNS} FROM records WHERE state = 'received'").fetchall()  # noqa: S608 - constants
    for row in rows:
        record = record_of(row, journal)
        if record.response is None:
            continue
        files = [_with_free_name(file, taken) for file in files_of(record.response, journal.parent)]
        found.files.extend(files)
        answer = with_files(record.response, files, journal.parent)
        if answer != record.response:
            db.execute("UPDATE jobs SET answer = ? WHERE key = ?", (json.dumps(answer), record.key))
    return found


def put_in_place(found: Unfinished, template: OutputTemplate, owner: str) -> None:
    """Move received images to their final names, then remove what no record names. Blocks."""
    kept = {file.temporary.name for file in found.unrecorded}
    for file in found.files:
        with suppress(OSError):  # the job reports it
            state_of([file])
        with suppress(OSError):
            if has_content(file):
                continue
        kept.add(file.temporary.name)
    remove_left_over(template.temporary_folder, owner, kept)
    if not isinstance(template.folder, Path):
        from imagesdk._media import remote_files

        remote_files.remove_left_over(template.folder, owner)
    for path in found.recorded:
        with suppress(OSError):
            path.unlink()


def _set_aside(folder: Path, owner: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in folder.glob(_ASIDE.format(owner, "*")):
        with suppress(OSError, *DAMAGE):
            aside = json.loads(path.read_text("utf-8"))
            files_of(aside["answer"], folder)
            yield path, {name: aside[name] for name in ("key", "idempotency_key", "answer")}


def _record_aside(db: sqlite3.Connection, aside: Mapping[str, Any]) -> bool:
    """Record a response, unless the job has ended since. Return whether the journal knows the attempt."""
    one = (aside["key"], aside["idempotency_key"])
    query = "SELECT state FROM jobs WHERE key = ? AND idempotency_key = ?"
    row = db.execute(query, one).fetchone()
    if row is not None and row[0] in {"sending", "unknown"}:
        answer = json.dumps(aside["answer"])
        db.execute(
            "UPDATE jobs SET state = 'received', answer = ?, error = NULL WHERE key = ?", (answer, one[0])
        )
    return row is not None


def _with_free_name(file: WrittenFile, taken: TakenNames) -> WrittenFile:
    """Return a file with a final name that no other file has."""
    with suppress(OSError):
        if not is_there(file.path):
            return evolve(file, path=taken.take(file.path))
        if not has_content(file) and hash_if_there(file.temporary) == file.sha256:
            return evolve(file, path=taken.take(file.path))
    return file

"""Snapshots of an emulator: as one JSON object, or in a folder that outlives the process.

A snapshot has the time that was added to the clock, the images that the limit counts, the files, the result URLs, the
drawn images and the bill. It has no requests, no queued faults, no batches and none of their output files.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from imagesdk.emulator.billing import Bill
from imagesdk.emulator.files import StoredFile
from imagesdk.emulator.state import EmulatorState

__all__ = ["DataFolder", "restore", "take"]

Keep: TypeAlias = Callable[[str, bytes], str]
"""Keeps the bytes of a name and returns the text by which they are found again."""
Load: TypeAlias = Callable[[str], bytes]

_VERSION = 1


def take(state: EmulatorState, keep: Keep | None = None) -> dict[str, object]:
    """Return the snapshot of a state. Without ``keep``, it contains the bytes of all files and images."""
    keep = keep or (lambda name, data: base64.b64encode(data).decode())
    secret, results = state.results.dump()
    return {
        "version": _VERSION,
        "advanced": state.clock.added,
        "bill": state.bill.dump(),
        "granted": [] if state.window is None else [list(one) for one in state.window.granted],
        "files": [
            {
                "id": file.id,
                "filename": file.filename,
                "purpose": file.purpose,
                "created_at": file.created_at,
                "expires_at": file.expires_at,
                "data": keep(file.id, file.data),
            }
            for file in state.files.stored()
            if file.made is None
        ],
        "results": [
            {"name": name, "expires": expires, "data": keep(name, data)} for name, data, expires in results
        ],
        "secret": secret.hex(),
        "drawn": [
            {"sha256": digest.hex(), "model": model, "created": created}
            for digest, model, created in state.drawn.dump()
        ],
    }


def restore(state: EmulatorState, given: Mapping[str, object], load: Load | None = None) -> None:
    """Replace a state by a snapshot.

    Raises:
        ValueError: If the snapshot is not complete, or of another version.
    """
    load = load or (lambda text: base64.b64decode(text, validate=True))
    if given.get("version") != _VERSION:
        raise ValueError(f"a snapshot has version {_VERSION}, not {given.get('version')!r}")
    try:
        files = [
            StoredFile(
                id=_text(one["id"]),
                filename=_text(one["filename"]),
                purpose=_text(one["purpose"]),
                created_at=int(_number(one["created_at"])),
                expires_at=None if one["expires_at"] is None else int(_number(one["expires_at"])),
                data=load(_text(one["data"])),
            )
            for one in _objects(given["files"])
        ]
        results = [
            (_text(one["name"]), load(_text(one["data"])), _number(one["expires"]))
            for one in _objects(given["results"])
        ]
        drawn = [
            (bytes.fromhex(_text(one["sha256"])), _text(one["model"]), int(_number(one["created"])))
            for one in _objects(given["drawn"])
        ]
        granted = [
            (_number(when), int(_number(images)))
            for when, images in cast("Sequence[tuple[object, object]]", given["granted"])
        ]
        secret = bytes.fromhex(_text(given["secret"]))
        advanced = _number(given["advanced"])
        bill = Bill()
        bill.restore(cast("Mapping[str, Mapping[str, str]]", given["bill"]))
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the snapshot is not complete: {error}") from None
    state.reset()
    state.clock.advance(advanced)
    state.bill.restore(bill.dump())
    state.files.restore(files)
    state.results.restore(secret, results)
    state.drawn.restore(drawn)
    if state.window is not None:
        state.window.granted = granted


class DataFolder:
    """Folder with the last snapshot: ``state.json``, and each file and image beside it under its name."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._saved = -1

    def load(self, state: EmulatorState) -> bool:
        """Restore the state. Return whether the folder had one.

        Raises:
            ValueError: If the folder has no complete snapshot of this version.
            OSError: If it cannot be read.
        """
        try:
            given: object = json.loads((self.path / "state.json").read_bytes())
        except FileNotFoundError:
            return False
        if not isinstance(given, dict):
            raise ValueError(f"{self.path / 'state.json'} is not a snapshot")
        restore(state, cast("Mapping[str, object]", given), self._load)
        return True

    def save(self, state: EmulatorState) -> None:
        """Write what has changed since the last time. This blocks.

        Raises:
            OSError: If the folder cannot be written.
        """
        changes = state.changes
        if changes == self._saved:
            return
        blobs = self.path / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        kept: set[str] = set()

        def keep(name: str, data: bytes) -> str:
            kept.add(name)
            if not (blobs / name).exists():
                _replace(blobs / name, data)
            return name

        text = json.dumps(take(state, keep), indent=1)
        _replace(self.path / "state.json", text.encode())
        for name in os.listdir(blobs):  # noqa: PTH208 - names alone
            if name not in kept:
                (blobs / name).unlink(missing_ok=True)
        self._saved = changes

    def _load(self, name: str) -> bytes:
        if not re.fullmatch(r"(file|img)-[\w.-]+", name, re.ASCII):
            raise ValueError(f"the snapshot names an odd file: {name!r}")
        return (self.path / "blobs" / name).read_bytes()


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it has the old content or the new one at any time."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)


def _objects(value: object) -> list[Mapping[str, object]]:
    return [cast("Mapping[str, object]", one) for one in cast("list[object]", value) if isinstance(one, dict)]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value

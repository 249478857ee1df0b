"""Seed file: the options, files and faults that an emulator starts with, as JSON or TOML.

```toml
limit = "5/min"
as_of = "2026-12-01"

[[files]]
id = "file-otter"
path = "otter.png"
purpose = "vision"

[[faults]]
fault = 429
retry_after = 1
```
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from attrs import frozen

from imagesdk.emulator.fault_words import RequestedFault, read_fault
from imagesdk.emulator.files import StoredFile
from imagesdk.emulator.options import EmulatorOptions, read_options
from imagesdk.emulator.state import EmulatorState

__all__ = ["Seed", "read_seed_file"]


@frozen
class Seed:
    """Content of a seed file."""

    options: EmulatorOptions
    files: Sequence[tuple[str, str, Path]] = ()
    """Id, purpose and path of each file."""
    faults: Sequence[RequestedFault] = ()
    advance: float = 0.0
    """Seconds to add to the clock."""

    def plant(self, state: EmulatorState) -> None:
        """Add the files and faults to a state that has been reset.

        Raises:
            OSError: If a file cannot be read.
        """
        state.clock.advance(self.advance)
        now = int(state.clock())
        state.files.restore(
            [
                StoredFile(name, path.name, purpose, now, None, path.read_bytes())
                for name, purpose, path in self.files
            ]
        )
        for requested in self.faults:
            state.faults.add(requested.fault, requested.on, requested.times)


def read_seed_file(path: str | os.PathLike[str]) -> Seed:
    """Read a seed file: TOML if its name ends with ``.toml``, else JSON.

    Raises:
        ValueError: If the file cannot be parsed, or a name or value in it is not known.
        OSError: If the file cannot be read.
    """
    source = Path(path)
    text = source.read_text(encoding="utf-8")
    try:
        parsed: object = tomllib.loads(text) if source.suffix == ".toml" else json.loads(text)
        if not isinstance(parsed, dict):
            raise ValueError("a seed file has one object")
        given = dict(cast("Mapping[str, object]", parsed))
        files = [_file(one, source.parent) for one in _tables(given.pop("files", []), "files")]
        faults = [read_fault(one) for one in _tables(given.pop("faults", []), "faults")]
        advance = given.pop("advance", 0.0)
        if isinstance(advance, bool) or not isinstance(advance, int | float) or not advance >= 0:
            raise ValueError(f"advance is a number of seconds of at least 0, not {advance!r}")
        return Seed(read_options(given), files, faults, advance)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _tables(value: object, name: str) -> list[Mapping[str, object]]:
    listed = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(one, dict) for one in listed):
        raise ValueError(f"{name} is a list of objects")
    return cast("list[Mapping[str, object]]", listed)


def _file(given: Mapping[str, object], folder: Path) -> tuple[str, str, Path]:
    name, purpose, path = given.get("id"), given.get("purpose", "vision"), given.get("path")
    if not (isinstance(name, str) and isinstance(purpose, str) and isinstance(path, str)):
        raise ValueError('a file has a "path", an "id" and perhaps a "purpose"')
    return name, purpose, folder / path

"""Remote file systems in memory that fail on request."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from attrs import define, field

from imagesdk._media import remote_files

REGISTRY: Any = import_module("fsspec.registry")
_MEMORY: Any = import_module("fsspec.implementations.memory")
_File: Any = _MEMORY.MemoryFile
_FileSystem: Any = _MEMORY.MemoryFileSystem


def _super(parent: Any) -> Any:
    return parent


@define(eq=False)
class Lab:
    """State of the file system ``lab://``."""

    files: dict[str, Any] = field(factory=dict[str, Any])
    problem: Exception | None = None
    """Raised when a file is created."""
    loses_bytes: bool = False
    may_list: bool = True
    """Without it, S3 says of a missing object that it is forbidden."""
    held: threading.Event | None = None
    """While it is not set, writing waits."""
    writing: threading.Event = field(factory=threading.Event)
    """Set when an image is about to be written while ``held`` is not."""
    options: list[dict[str, Any]] = field(factory=list[dict[str, Any]])

    def content(self) -> dict[str, bytes]:
        """Return the files by name."""
        return {name.lstrip("/"): file.getvalue() for name, file in sorted(self.files.items())}

    def put(self, name: str, data: bytes) -> None:
        """Create a file, as another program does."""
        self.files[f"/{name}"] = _File(None, f"/{name}", data)


@contextmanager
def laboratory() -> Generator[Lab, None, None]:
    """Register ``lab://``, a file system of its own, and yield its state."""
    lab = Lab()
    cast("Any", remote_files)._checked.clear()

    class File(_File):  # type: ignore[misc]
        def write(self, data: Any) -> int:
            if lab.held is not None and "probe" not in str(self.path):
                lab.writing.set()
                assert lab.held.wait(10)
            return cast("int", _super(super()).write(data[:-1] if lab.loses_bytes else data))

    class FileSystem(_FileSystem):  # type: ignore[misc]
        protocol = "lab"
        store = lab.files
        pseudo_dirs = [""]  # noqa: RUF012 - as its base has it
        cachable = False

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            _super(super()).__init__(*args, **kwargs)
            lab.options.append(kwargs)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            bare = path.removeprefix("lab://").rpartition("@")[2]
            return cast("str", _super(super())._strip_protocol(bare))

        @staticmethod
        def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
            user, at, _ = path.removeprefix("lab://").rpartition("@")
            return {"login": user} if at else {}

        def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
            if mode == "rb":
                return _super(super())._open(path, mode, **kwargs)
            if lab.problem is not None:
                raise lab.problem
            _super(super())._open(path, mode, **kwargs)
            self.store[path] = File(self, path)
            return self.store[path]

        def info(self, path: str, **kwargs: Any) -> Any:
            try:
                return _super(super()).info(path, **kwargs)
            except FileNotFoundError:
                if lab.may_list:
                    raise
                raise PermissionError("Forbidden") from None

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
            with self.open(path, "wb") as file:
                file.write(value)

    REGISTRY.register_implementation("lab", FileSystem, clobber=True)
    try:
        yield lab
    finally:
        REGISTRY._registry.pop("lab")

"""Store of a URL."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from attrs import evolve

from imagesdk._coordination.sqlite_store import SqliteStore
from imagesdk._coordination.store import LedgerStore
from imagesdk.errors import ConfigurationError
from imagesdk.policies import SharedStore

_MISSING: Final = (
    "A shared store in Redis needs the package redis: pip install redis, or the extra `redis` of imagesdk."
)


def resolve(shared: SharedStore) -> SharedStore:
    """Return a store whose path does not depend on the current folder. Check what can be checked without a connection.

    Raises:
        ConfigurationError: If the package redis is missing, or if the URL names no file.
    """
    if _is_sqlite(shared):
        return evolve(shared, url=f"sqlite:///{quote(str(_path_of(shared)))}")
    if find_spec("redis") is None:
        raise ConfigurationError(_MISSING, param="shared")
    return shared


def open_store(shared: SharedStore) -> LedgerStore:
    """Return the store of a URL, which is not connected yet.

    Raises:
        ConfigurationError: If the package redis is missing, or if the URL cannot be used.
    """
    if _is_sqlite(shared):
        return SqliteStore(_path_of(shared))
    shared = resolve(shared)
    from imagesdk._coordination.redis_store import RedisStore

    return RedisStore(shared.url, shared.name)


def file_of(shared: SharedStore) -> Path | None:
    """Return the file of a store; ``None`` if it is on a server."""
    return _path_of(shared) if _is_sqlite(shared) else None


def _is_sqlite(shared: SharedStore) -> bool:
    return shared.url.lower().startswith("sqlite:")


def _path_of(shared: SharedStore) -> Path:
    """Return the path of a file: relative after three slashes, absolute after four."""
    rest = shared.url.partition("://")[2]
    if not rest.startswith("/") or rest.endswith("/") or "?" in rest:
        allowed = "written like sqlite:///name.sqlite or sqlite:////folder/name.sqlite"
        raise ConfigurationError.for_parameter("shared", shared.name, allowed=allowed)
    return Path(unquote(rest[1:])).absolute()

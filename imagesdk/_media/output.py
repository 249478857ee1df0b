"""Where pictures go on disk: names from templates, and files that are whole or absent.

A picture is written into a temporary file beside its final place and renamed there when it is whole. A name
can only come out inside the folder that the caller named. Everything here blocks; async callers go through
a thread.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import string
import time
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from attrs import frozen

from imagesdk.errors import InvalidRequestError

FOLDER_TEMPLATE: Final = "{slug}-{id}-{index}.{ext}"
"""The name of a picture when ``out=`` is a folder."""

_FIELDS: Final = ("index", "job", "id", "slug", "ext")
_KNOWN_WHEN_SAVED: Final = frozenset({"index", "ext"})
_TEMPLATE: Final = re.compile(r"(?<!\{)\{(?:index|job|id|slug|ext)\b")
"""In a path that a picture is saved to. Other braces stay as they are: some programs put them into names of files."""
_HOMES: Final = ("~/", f"~{os.sep}")
_TEMPORARY: Final = ".imagesdk-{}.part"
_IS_TEMPORARY: Final = re.compile(r"\.imagesdk-[0-9a-f]{16}\.part")
_PADDING: Final = re.compile(r"[<>^]?0?\d{0,3}d?")
_STALE: Final = 24 * 3600.0
"""Seconds since the last write after which nobody can still be writing a temporary file."""
_LONGEST_NAME: Final = 255
"""Bytes that a file name may have, on nearly all systems."""
_swept: set[Path] = set()
"""Folders that were looked through for stale files."""
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789")}
)


def slug(text: str, limit: int = 40) -> str:
    """Return a short piece of ``text`` that is safe in a file name on every system.

    Letters and digits of any script are kept, all else becomes ``-``; ``image`` when nothing is left.
    """
    folded = unicodedata.normalize("NFKC", text[: 8 * limit]).lower()
    kept = re.sub(r"[\W_]+", "-", folded).strip("-")[:limit]
    while len(kept.encode()) > 3 * limit:
        kept = kept[:-1]
    kept = kept.strip("-") or "image"
    return f"{kept}-" if kept in _DEVICES else kept


@frozen
class Destination:
    """A parsed ``out=``: a folder, one file, or a template of names."""

    folder: Path
    """The folder that all pictures end up in or below."""
    template: str
    """The name below it, with ``{index}``, ``{job}``, ``{id}``, ``{slug}`` and ``{ext}``."""

    @classmethod
    def parse(cls, out: str | os.PathLike[str], *, n: int = 1, param: str = "out") -> Destination:
        """Read ``out=`` (or what else ``param`` names) of a call that asks for ``n`` pictures.

        A path with ``{...}`` is a template. A path with an extension, unless it is a folder already, is
        one file. Any other path is a folder.

        Raises:
            InvalidRequestError: the template has an unknown field or would give two pictures one name.
        """
        text = path_to_write(param, out)
        fields = _fields(text, param)
        if fields is None:
            path = Path(text)
            if text.endswith(("/", os.sep)) or not path.suffix or path.is_dir():
                return cls(path, FOLDER_TEMPLATE)
            destination = cls(path.parent, path.name.replace("{", "{{").replace("}", "}}"))
        else:
            parts = Path(text).parts
            fixed = next(i for i, part in enumerate(parts) if _fields(part, param))
            rest = parts[fixed:]
            if ".." in rest:
                raise InvalidRequestError(
                    f"A template cannot leave its folder with '..': {text!r}.", param=param, value=text
                )
            destination = cls(Path(*parts[:fixed]), "/".join(rest))
        if n > 1 and "index" not in (fields or ()):
            raise InvalidRequestError(
                f"out={text!r} gives all {n} pictures the same name; name a folder, or put {{index}} into it.",
                param="out",
                value=text,
                allowed="a folder, or a template with {index}",
            )
        return destination

    def path(self, *, index: int, job: int, id: str, slug: str, ext: str) -> Path:  # noqa: A002 - the template's own words
        """Return the final path of one picture; the slug is cut where a name would be longer than files can have."""
        while True:
            name = self.template.format(index=index, job=job, id=id, slug=slug, ext=ext)
            if len(slug) == 1 or all(len(os.fsencode(part)) <= _LONGEST_NAME for part in name.split("/")):
                return self.folder / name
            slug = slug[:-1].rstrip("-") or "x"


def path_to_write(param: str, path: str | os.PathLike[str]) -> str:
    """Return a path that is to be written to. ``~/`` is the home folder, as in a shell; so is it for every such path.

    A folder that is called ``~`` and there already is meant as it is written: what was made in it stays found.

    Raises:
        InvalidRequestError: it is no path, is empty, or holds what no file name can have.
    """
    if not isinstance(cast("object", path), (str, os.PathLike)):
        raise InvalidRequestError(
            f"{param} must be a path, not a value of type {type(path).__name__}.",
            param=param,
            value=path,
            allowed="a path",
        )
    text = os.fsdecode(path)
    if not text or "\0" in text or not _can_be_named(text):
        raise InvalidRequestError(
            f"{param}= is empty, or holds a NUL or another character that no file name can have.",
            param=param,
            value=text,
        )
    if text.startswith(_HOMES) and not Path("~").is_dir():
        return os.path.expanduser(text)  # noqa: PTH111 - a path would lose the slash at its end
    return text


def path_for(param: str, path: str | os.PathLike[str], index: int, ext: str) -> Path:
    """Return where a picture goes that is saved to ``path``: a file, a folder, or a template of index and extension.

    Raises:
        InvalidRequestError: there is no such path, or the template holds something else.
    """
    text = path_to_write(param, path)
    if _TEMPLATE.search(text):
        unknown = (_fields(text, param) or set[str]()) - _KNOWN_WHEN_SAVED
        if unknown:
            raise InvalidRequestError(
                f"{param}={text!r} holds {{{min(unknown)}}}, which is not known when a picture is saved; it may hold "
                "{index} and {ext}.",
                param=param,
                value=text,
                allowed="{index} and {ext}",
            )
        return Destination.parse(text, param=param).path(index=index, job=0, id="", slug="x", ext=ext)
    final = Path(text)
    if text.endswith(("/", os.sep)) or final.is_dir():
        final /= f"image-{index}.{ext}"
    return final


def _can_be_named(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _fields(text: str, param: str) -> set[str] | None:
    """The template fields in ``text``; ``None`` when it is a plain path."""
    if "{" not in text:
        return None
    try:
        parts = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
        fields = {str(name) for name, _, _ in parts}
        if not all(conversion is None and _PADDING.fullmatch(spec or "") for _, spec, conversion in parts):
            fields = {""}  # a format can make any character of a number
        text.format(index=0, job=0, id="0", slug="s", ext="png")
    except (ValueError, KeyError, IndexError, AttributeError):
        fields = {""}
    if not fields <= set(_FIELDS):
        raise InvalidRequestError(
            f"The template {text!r} cannot be read; it may hold {', '.join(f'{{{name}}}' for name in _FIELDS)}.",
            param=param,
            value=text,
            allowed="{index}, {job}, {id}, {slug} and {ext}",
        )
    return fields or None


def check_writable(folder: Path, template: str = FOLDER_TEMPLATE) -> None:
    """Make ``folder`` if it is missing, and find out whether files can be made in it that are called by ``template``.

    Raises:
        OSError: they cannot.
    """
    descriptor, temporary = create_temporary(folder)
    os.close(descriptor)
    temporary.unlink()
    final = Destination(folder, template).path(index=0, job=0, id="0" * 8, slug="x", ext="webp")
    for part in final.relative_to(folder).parts:
        with suppress(FileNotFoundError):
            (
                folder / part
            ).lstat()  # raises for a name that is too long, also below a folder that is yet to be made
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(final.lstat().st_mode):  # raises for a name below a file
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))


def create_temporary(folder: Path) -> tuple[int, Path]:
    """Create an empty file of ours in ``folder`` (made if missing) and return its descriptor and path.

    The first time in a folder, files that a process left behind when it was killed are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _swept:
        _swept.add(folder)
        _remove_stale(folder)
    path = folder / _TEMPORARY.format(secrets.token_hex(8))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def _remove_stale(folder: Path) -> None:
    before = time.time() - _STALE
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _IS_TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry).unlink()


def move_into_place(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Give a whole temporary file its final name, replacing what is there; ``fsync`` makes the name last, too."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(final)
    if fsync:
        _make_names_last(final.parent)


def move_if_free(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Give a whole temporary file its final name, unless something is there.

    Raises:
        FileExistsError: something is.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        temporary.replace(final)
    else:
        temporary.unlink()
    if fsync:
        _make_names_last(final.parent)


def _make_names_last(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_file(final: Path, data: bytes) -> Path:
    """Write ``data`` to ``final``: whole, or not at all."""
    descriptor, temporary = create_temporary(final.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        move_into_place(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return final

"""Where pictures go on disk: names from templates, and files that are whole or absent.

A picture is written into a temporary file beside its final place and renamed there when it is whole. A name
can only come out inside the folder that the caller named. Everything here blocks; async callers go through
a thread.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import string
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from attrs import frozen

from imagesdk._media.atomic import create_temporary
from imagesdk.errors import InvalidRequestError

FOLDER_TEMPLATE: Final = "{slug}-{id}-{index}.{ext}"
"""The name of a picture when ``out=`` is a folder."""

_FIELDS: Final = ("index", "job", "id", "slug", "ext")
_KNOWN_WHEN_SAVED: Final = frozenset({"index", "ext"})
_TEMPLATE: Final = re.compile(r"(?<!\{)\{(?:index|job|id|slug|ext)\b")
"""In a path that a picture is saved to. Other braces stay as they are: some programs put them into names of files."""
_HOMES: Final = ("~/", f"~{os.sep}")
_PADDING: Final = re.compile(r"[<>^]?0?\d{0,3}d?")
_LONGEST_NAME: Final = 255
"""Bytes that a file name may have, on nearly all systems."""
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
class OutputTemplate:
    """A parsed ``out=``: a folder, one file, or a template of names."""

    folder: Path
    """The folder that all pictures end up in or below."""
    template: str
    """The name below it, with ``{index}``, ``{job}``, ``{id}``, ``{slug}`` and ``{ext}``."""

    @classmethod
    def parse(cls, out: str | os.PathLike[str], *, n: int = 1, param: str = "out") -> OutputTemplate:
        """Read ``out=`` (or what else ``param`` names) of a call that asks for ``n`` pictures.

        A path with ``{...}`` is a template. A path with an extension, unless it is a folder already, is
        one file. Any other path is a folder.

        Raises:
            InvalidRequestError: the template has an unknown field or would give two pictures one name.
        """
        text = expand_output_path(param, out)
        fields = _template_fields(text, param)
        if fields is None:
            path = Path(text)
            if text.endswith(("/", os.sep)) or not path.suffix or path.is_dir():
                return cls(path, FOLDER_TEMPLATE)
            destination = cls(path.parent, path.name.replace("{", "{{").replace("}", "}}"))
        else:
            parts = Path(text).parts
            fixed = next(i for i, part in enumerate(parts) if _template_fields(part, param))
            rest = parts[fixed:]
            if ".." in rest:
                raise InvalidRequestError(
                    f"A template cannot leave its folder with '..': {text!r}.", param=param, value=text
                )
            destination = cls(Path(*parts[:fixed]), "/".join(rest))
        destination.check_count(n)
        return destination

    def check_count(self, n: int) -> None:
        """Raise an error if ``n`` images would not get different names.

        Raises:
            InvalidRequestError: If ``n`` is more than 1 and there is no ``{index}`` in the template.
        """
        if n > 1 and "index" not in (_template_fields(self.template, "out") or ()):
            text = str(self.folder / self.template.replace("{{", "{").replace("}}", "}"))
            raise InvalidRequestError(
                f"out={text!r} gives all {n} pictures the same name; name a folder, or put {{index}} into it.",
                param="out",
                value=text,
                allowed="a folder, or a template with {index}",
            )

    def path(self, *, index: int, job: int, id: str, slug: str, ext: str) -> Path:  # noqa: A002 - the template's own words
        """Return the final path of one picture; the slug is cut where a name would be longer than files can have."""
        while True:
            name = self.template.format(index=index, job=job, id=id, slug=slug, ext=ext)
            if len(slug) == 1 or all(len(os.fsencode(part)) <= _LONGEST_NAME for part in name.split("/")):
                return self.folder / name
            slug = slug[:-1].rstrip("-") or "x"


def expand_output_path(param: str, path: str | os.PathLike[str]) -> str:
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
    if not text or "\0" in text or not _is_encodable(text):
        raise InvalidRequestError(
            f"{param}= is empty, or holds a NUL or another character that no file name can have.",
            param=param,
            value=text,
        )
    if text.startswith(_HOMES) and not Path("~").is_dir():
        return os.path.expanduser(text)  # noqa: PTH111 - a path would lose the slash at its end
    return text


def image_path(param: str, path: str | os.PathLike[str], index: int, ext: str) -> Path:
    """Return where a picture goes that is saved to ``path``: a file, a folder, or a template of index and extension.

    Raises:
        InvalidRequestError: there is no such path, or the template holds something else.
    """
    text = expand_output_path(param, path)
    if _TEMPLATE.search(text):
        unknown = (_template_fields(text, param) or set[str]()) - _KNOWN_WHEN_SAVED
        if unknown:
            raise InvalidRequestError(
                f"{param}={text!r} holds {{{min(unknown)}}}, which is not known when a picture is saved; it may hold "
                "{index} and {ext}.",
                param=param,
                value=text,
                allowed="{index} and {ext}",
            )
        return OutputTemplate.parse(text, param=param).path(index=index, job=0, id="", slug="x", ext=ext)
    final = Path(text)
    if text.endswith(("/", os.sep)) or final.is_dir():
        final /= f"image-{index}.{ext}"
    return final


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _template_fields(text: str, param: str) -> set[str] | None:
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
    final = OutputTemplate(folder, template).path(index=0, job=0, id="0" * 8, slug="x", ext="webp")
    for part in final.relative_to(folder).parts:
        with suppress(FileNotFoundError):
            (
                folder / part
            ).lstat()  # raises for a name that is too long, also below a folder that is yet to be made
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(final.lstat().st_mode):  # raises for a name below a file
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))

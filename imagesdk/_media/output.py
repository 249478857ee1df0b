"""Output paths: ``out=`` templates, slugs, and a check that the folder can be written to.

A URL of a file system that fsspec knows, such as ``s3://bucket/folder/``, is a folder or a template as well. A template cannot produce a path outside the folder that the caller named. Functions that touch the disk block, so async
code runs them in a thread.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import string
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias, cast

from attrs import frozen

from imagesdk._media.atomic import create_temporary, make_folder
from imagesdk._media.remote_path import RemotePath, is_remote, local_path_of, parse_remote
from imagesdk._media.source_text import refused
from imagesdk.errors import InvalidRequestError
from imagesdk.remedies import Remedy

OutputPath: TypeAlias = Path | RemotePath
"""A local path, or the URL of a remote file system."""

FOLDER_TEMPLATE: Final = "{slug}-{id}-{index}.{ext}"
"""The template for ``out=`` without a file name."""

_FIELDS: Final = ("index", "job", "id", "slug", "ext")
_KNOWN_WHEN_SAVED: Final = frozenset({"index", "ext"})
_TEMPLATE: Final = re.compile(r"(?<!\{)\{(?:index|job|id|slug|ext)\b")
"""Fields in the path of ``save``. Other braces stay unchanged, because some programs put them into file names."""
_HOMES: Final = ("~/", f"~{os.sep}")
_PADDING: Final = re.compile(r"[<>^]?0?\d{0,3}d?")
_MAX_NAME_BYTES: Final = 255
"""Maximum length of a file name on nearly all systems."""
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789")}
)


def slug(text: str, limit: int = 40) -> str:
    """Return the letters and digits of ``text``, joined by ``-``, as part of a file name; ``image`` if it has none."""
    folded = unicodedata.normalize("NFKC", text[: 8 * limit]).lower()
    kept = re.sub(r"[\W_]+", "-", folded).strip("-")[:limit]
    while len(kept.encode()) > 3 * limit:
        kept = kept[:-1]
    kept = kept.strip("-") or "image"
    return f"{kept}-" if kept in _DEVICES else kept


@frozen
class OutputTemplate:
    """A parsed ``out=``: a folder, and a template for the path below it."""

    folder: OutputPath
    """The folder that contains all images, directly or in subfolders."""
    template: str
    """The path below the folder, with ``{index}``, ``{job}``, ``{id}``, ``{slug}`` and ``{ext}``."""
    spool: Path | None = None
    """The local folder of images that are being received; the folder itself by default."""

    @property
    def temporary_folder(self) -> Path:
        """The local folder of temporary files: for a remote folder, the folder of the system unless ``spool`` names one."""
        if self.spool is not None:
            return self.spool
        return Path(tempfile.gettempdir()) if isinstance(self.folder, RemotePath) else self.folder

    @classmethod
    def parse(cls, out: str | os.PathLike[str], *, n: int = 1, param: str = "out") -> OutputTemplate:
        """Parse ``out=``: a template has ``{...}``, a file an extension, and all other paths are folders."""
        text = expand_output_path(param, out)
        fields = _template_fields(text, param)
        if is_remote(text):
            template = cls._parse_remote(text, param, has_fields=fields is not None)
        elif fields is None:
            path = Path(text)
            if text.endswith(("/", os.sep)) or not path.suffix or path.is_dir():
                return cls(path, FOLDER_TEMPLATE)
            template = cls(path.parent, literal_template(path.name))
        else:
            parts = Path(text).parts
            fixed = next(i for i, part in enumerate(parts) if _template_fields(part, param))
            rest = parts[fixed:]
            if ".." in rest:
                raise refused(param, f"is {text!r}, a template that leaves its folder with '..'", text)
            template = cls(Path(*parts[:fixed]), "/".join(rest))
        template.check_count(n)
        return template

    @classmethod
    def _parse_remote(cls, text: str, param: str, *, has_fields: bool) -> OutputTemplate:
        path = parse_remote(param, text)
        root, _, rest = path.url.partition("://")
        parts = rest.split("/")
        if not has_fields:
            if text.endswith("/") or len(parts) == 1 or path.stem == path.name:
                return cls(path, FOLDER_TEMPLATE)
            return cls(path.parent, literal_template(path.name))
        fixed = next(i for i, part in enumerate(parts) if _template_fields(part, param))
        if not fixed:
            problem = f"is {path.url!r}, a template whose bucket or first folder is not fixed"
            raise refused(param, problem, path.url, "s3://bucket/{slug}-{index}.{ext}")
        return cls(RemotePath(f"{root}://{'/'.join(parts[:fixed])}"), "/".join(parts[fixed:]))

    def check_count(self, n: int) -> None:
        """Raise an error if ``n`` images would not get different names."""
        if n > 1 and "index" not in (_template_fields(self.template, "out") or ()):
            text = str(self.folder / self.template.replace("{{", "{").replace("}}", "}"))
            problem = f"is {text!r}, which gives all {n} images the same name"
            allowed = "a folder, or a template with {index}"
            raise refused("out", problem, text, allowed, Remedy.PUT_IN_TEMPLATE.of("{index}"))

    def path(self, *, index: int, ext: str, job: int = 0, id: str = "", slug: str = "x") -> OutputPath:  # noqa: A002 - the template's own words
        """Return the final path of one image. The slug is cut if a name would be longer than 255 bytes."""
        while True:
            name = self.template.format(index=index, job=job, id=id, slug=slug, ext=ext)
            if len(slug) == 1 or all(len(os.fsencode(part)) <= _MAX_NAME_BYTES for part in name.split("/")):
                return self.folder / name
            slug = slug[:-1].rstrip("-") or "x"


def expand_output_path(param: str, path: str | os.PathLike[str]) -> str:
    """Return an output path as text, with ``~/`` expanded to the home folder unless a folder has that name."""
    if not isinstance(cast("object", path), (str, os.PathLike)):
        shown = f"of type {type(path).__name__}"
        raise InvalidRequestError.for_parameter(param, path, allowed="a path", shown=shown)
    text = os.fsdecode(path)
    if not text or "\0" in text or not _is_encodable(text):
        raise refused(param, "is empty, or holds a NUL or another character that no file name can have", text)
    if text.startswith(_HOMES) and not Path("~").is_dir():
        return os.path.expanduser(text)  # noqa: PTH111 - a path would lose the slash at its end
    return local_path_of(param, text)


def expand_local_path(param: str, path: str | os.PathLike[str], *remedies: Remedy) -> str:
    """Return an output path as text, as :func:`expand_output_path` does, unless it is the URL of a remote file."""
    text = expand_output_path(param, path)
    if is_remote(text):
        url = parse_remote(param, text).url
        raise refused(param, f"is {url!r}, a URL, and must be a local path", url, "a local path", *remedies)
    return text


def image_path(param: str, path: str | os.PathLike[str], index: int, ext: str) -> OutputPath:
    """Return the final path of an image that is saved to ``path``: a file, a folder, or a template."""
    text = expand_output_path(param, path)
    if _TEMPLATE.search(text):
        unknown = (_template_fields(text, param) or set[str]()) - _KNOWN_WHEN_SAVED
        if unknown:
            allowed = "{index} and {ext}"
            unknown_field = f"{{{min(unknown)}}} is not known when an image is saved; allowed: {allowed}"
            raise refused(param, f"is {text!r}, and {unknown_field}", text, allowed)
        return OutputTemplate.parse(text, param=param).path(index=index, ext=ext)
    if is_remote(text):
        remote = OutputTemplate.parse(text, param=param)
        if remote.template == FOLDER_TEMPLATE:
            return remote.folder / f"image-{index}.{ext}"
        return remote.path(index=index, ext=ext)
    final = Path(text)
    if text.endswith(("/", os.sep)) or final.is_dir():
        final /= f"image-{index}.{ext}"
    return final


def is_file(text: str) -> bool:
    """Return whether the text of an output path is the name of an existing file. Blocks."""
    if not is_remote(text):
        return Path(text).is_file()
    template = OutputTemplate.parse(text)
    if template.template == FOLDER_TEMPLATE:
        return False
    from imagesdk._media.remote_files import exists

    path = template.path(index=0, ext="png")
    return isinstance(path, RemotePath) and exists(path)


def literal_template(name: str) -> str:
    """Return a template that produces exactly ``name``."""
    return name.replace("{", "{{").replace("}", "}}")


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _template_fields(text: str, param: str) -> set[str] | None:
    """Return the template fields in ``text``; ``None`` for a plain path."""
    if "{" not in text:
        return None
    try:
        parts = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
        fields = {str(name) for name, _, _ in parts}
        if not all(conversion is None and _PADDING.fullmatch(spec or "") for _, spec, conversion in parts):
            fields = {""}  # other formats could produce any character
        text.format(index=0, job=0, id="0", slug="s", ext="png")
    except (ValueError, KeyError, IndexError, AttributeError):
        fields = {""}
    if not fields <= set(_FIELDS):
        known = ", ".join(f"{{{name}}}" for name in _FIELDS)
        problem = f"is {text!r}, which is not a template; allowed: {known}"
        raise refused(param, problem, text, "{index}, {job}, {id}, {slug} and {ext}")
    return fields or None


def open_output(
    out: str | os.PathLike[str], *, n: int = 1, job_id: str = "0", slug: str = "x"
) -> OutputTemplate:
    """Parse ``out=`` of a call, create the folder of its images and check that they can be moved there. Blocks."""
    template = OutputTemplate.parse(out, n=n)
    check_output(template, once=True)
    if "/" in template.template and isinstance(template.folder, Path):
        final, other = (template.path(index=0, id=job_id, slug=slug, ext=ext) for ext in ("png", "webp"))
        check_place(template.folder, final, other)
    return template


def check_output(template: OutputTemplate, owner: str = "", *, once: bool = False) -> None:
    """Check that images can be written to an output folder, and create the folder if it is missing. Blocks.

    ``once`` skips a remote folder that this process has checked before.
    """
    if isinstance(template.folder, Path):
        check_writable(template.folder, template.template, owner)
        return
    from imagesdk._media.remote_files import check_folder

    check_writable(template.temporary_folder, owner=owner)
    check_folder(template.folder, once=once)


def check_writable(folder: Path, template: str = FOLDER_TEMPLATE, owner: str = "") -> None:
    """Create ``folder`` if it is missing, and check that files named by ``template`` can be created in it. Blocks."""
    descriptor, temporary = create_temporary(folder, owner)
    os.close(descriptor)
    temporary.unlink(missing_ok=True)
    final = OutputTemplate(folder, template).path(index=0, id="0" * 8, ext="webp")
    assert isinstance(final, Path)  # noqa: S101 - below a local folder
    _check_names(folder, final)
    with suppress(FileNotFoundError):
        # A name below a file raises NotADirectoryError.
        if stat.S_ISDIR(final.lstat().st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))


def check_place(folder: Path, final: OutputPath, other: OutputPath, owner: str = "") -> None:
    """Create the folder of an image, and check that a temporary file in ``folder`` can be moved to it. Blocks.

    ``other`` is the final path with another extension: a folder with ``{ext}`` in its name is not created.
    """
    assert isinstance(final, Path)  # noqa: S101 - below a local folder
    descriptor, temporary = create_temporary(folder, owner)
    os.close(descriptor)
    try:
        _check_names(folder, final)
        if final.parent == other.parent:
            make_folder(final.parent)
            temporary = temporary.replace(final.parent / temporary.name)
    finally:
        temporary.unlink(missing_ok=True)


def _check_names(folder: Path, final: Path) -> None:
    for part in final.relative_to(folder).parts:
        # A name that is too long raises here, also below a folder that does not exist yet.
        with suppress(FileNotFoundError):
            os.lstat(folder / part)

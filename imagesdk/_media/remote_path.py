"""URLs of remote output files, such as ``s3://bucket/folder/``, as paths. Pure.

A password in a URL stays in the memory of this process. No path, error, log or journal has it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import frozen

from imagesdk._media.source_text import refused

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(?:::[^/]*)?://(.*)", re.DOTALL)
"""A scheme of one letter is a drive of Windows."""
_WORN: Final = re.compile(r"(?:s3a?|gc?s|abfss?|az|adl|oci|oss|hdfs|sftp|ssh|ftp|smb|memory):/[^/]")
"""A URL after a ``Path`` has removed a slash."""
_PASSWORD: Final = re.compile(r":([^/@]*)@")
_LOCAL: Final = {"file", "local"}
_READ_ONLY: Final = {"http", "https", "data"}

_passwords: dict[str, str] = {}
"""Passwords by the public form of a URL up to its host."""


@frozen
class RemotePath:
    """Path of a file or folder on a remote file system."""

    url: str
    """URL without a password and without a slash at its end."""

    @property
    def protocol(self) -> str:
        """The scheme of the URL."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its extension."""
        head, dot, _ = self.name.rpartition(".")
        return head if dot and head else self.name

    @property
    def parent(self) -> RemotePath:
        """The folder of the file."""
        return RemotePath(self.url.rpartition("/")[0])

    def with_stem(self, stem: str) -> RemotePath:
        """Return the path with another name and the same extension."""
        return self.parent / f"{stem}{self.name[len(self.stem) :]}"

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(
            f"{self.url.rstrip('/')}/{name}" if not self.url.endswith("://") else self.url + name
        )

    def __str__(self) -> str:
        return self.url

    @property
    def full_url(self) -> str:
        """The URL with its password, for the file system alone."""
        root = _root_of(self.url)
        password = _passwords.get(root)
        return self.url if password is None else root.replace("@", f":{password}@", 1) + self.url[len(root) :]

    def without_password(self, text: str) -> str:
        """Return a text of the file system without the password of this URL."""
        password = _passwords.get(_root_of(self.url))
        return text.replace(password, "***").replace(unquote(password), "***") if password else text


def is_remote(text: str) -> bool:
    """Return whether a text is the URL of a remote file system."""
    return _URL.match(text) is not None


def local_path_of(param: str, text: str) -> str:
    """Return the path in a ``file://`` URL, and every other text unchanged.

    Raises:
        InvalidRequestError: If the text is a URL that a ``Path`` has changed.
    """
    if _WORN.match(text):
        problem = f"is {_shown(text)!r}, a URL that has lost a slash in a Path"
        raise refused(param, problem, _shown(text), "a URL as a str")
    found = _URL.match(text)
    if found is None or found[1].lower() not in _LOCAL:
        return text
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"}:
        raise refused(param, f"is {text!r}, which names a file of another host", text, "file:///folder/")
    from urllib.request import url2pathname  # takes 10 ms

    return url2pathname(parts.path)


def parse_remote(param: str, text: str) -> RemotePath:
    """Parse the URL of a remote file or folder.

    Raises:
        InvalidRequestError: If no file can be written to the URL.
    """
    found = _URL.match(text)
    assert found is not None  # noqa: S101 - the caller has asked is_remote
    shown = _shown(text)
    scheme, rest = found[1].lower(), found[2].rstrip("/")
    parts = rest.split("/")
    if scheme in _READ_ONLY:
        raise refused(
            param, f"is {shown!r}, and no file can be written to {scheme}", shown, "s3://bucket/folder/"
        )
    if "::" in text or "?" in rest or "#" in rest:
        raise refused(param, f"is {shown!r}, a URL with '::', '?' or '#'", shown, "s3://bucket/folder/")
    if ".." in parts or "." in parts or "" in parts[1:]:
        raise refused(
            param, f"is {shown!r}, a URL with an empty part, '.' or '..'", shown, "s3://bucket/folder/"
        )
    password = _PASSWORD.search(parts[0])
    root = f"{scheme}://{_PASSWORD.sub('@', parts[0], count=1)}"
    if password is not None:
        _passwords[root] = password[1]
    return RemotePath("/".join([root, *parts[1:]]))


def _root_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _shown(text: str) -> str:
    return _PASSWORD.sub(":***@", text, count=1)

"""Responses and errors as JSON, and back, for the journal.

===================  ====================================================================
value                JSON
===================  ====================================================================
file                 path relative to the folder of the journal, so that it can be moved
remote file          URL without a password, and the hash that the file system has
URL of an image      only until the image is in a file
error of a file      class, ``errno``, ``strerror`` and path, so that it is restored as it was
API key              never
===================  ====================================================================
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from imagesdk import errors
from imagesdk._calls.finish import at
from imagesdk._media.output import OutputPath
from imagesdk._media.remote_path import RemotePath
from imagesdk.errors import APIError, APIStatusError, ImageSDKError
from imagesdk.fan_out.output_files import WrittenFile
from imagesdk.remedies import Remedy
from imagesdk.types import Image, ImagesResponse, SvgUsage, Usage

_OUTPUT_FACTS = ("size", "quality", "background", "output_format")
_RESPONSE_FACTS = (*_OUTPUT_FACTS, "request_id", "safety_identifier", "idempotency_key")
_IMAGE_FACTS = ("index", "url", "media_type", "width", "height", "revised_prompt")
_STATUS_FACTS = ("status_code", "code", "type", "param")
_CALL_FACTS = ("request_id", "attempts", "maybe_billed", "idempotency_key", "task_id")
_FILE_FACTS = ("errno", "strerror", "filename")


def response_record(response: ImagesResponse, files: Iterable[WrittenFile], folder: Path) -> dict[str, Any]:
    """Return a response and its files as JSON. Images in files have no URL."""
    written = {file.index: file for file in files}
    images: list[dict[str, Any]] = []
    for image in response:
        facts = _known({name: getattr(image, name) for name in _IMAGE_FACTS})
        if file := written.get(image.index):
            facts.pop("url", None)
            paths = {**_place(file.path, folder), "temporary": _from(file.temporary, folder)}
            facts["file"] = _known({**paths, "sha256": file.sha256, "size": file.size, "tag": file.tag})
        images.append(facts)
    return _known(
        {
            "images": images,
            "created": None if response.created is None else response.created.isoformat(),
            "usage": _usage(response.usage),
            "svg_usage": _usage(response.svg_usage),
            "cost": None if response.cost is None else str(response.cost),
            "missing": response.missing or None,
            **{name: getattr(response, name) for name in _RESPONSE_FACTS},
        }
    )


def files_of(record: Mapping[str, Any], folder: Path) -> list[WrittenFile]:
    """Return the files of a response."""
    found = [(image["index"], image["file"]) for image in record["images"] if "file" in image]
    return [
        WrittenFile(
            index,
            place_of(file, folder),
            folder / file["temporary"],
            file["sha256"],
            file["size"],
            file.get("tag"),
        )
        for index, file in found
    ]


def place_of(file: Mapping[str, Any], folder: Path) -> OutputPath:
    """Return the path or the URL of a file."""
    return RemotePath(file["url"]) if "url" in file else folder / file["path"]


def with_files(record: Mapping[str, Any], files: Iterable[WrittenFile], folder: Path) -> dict[str, Any]:
    """Return a response with other names for its files."""
    places = {file.index: _place(file.path, folder) for file in files}
    images = [
        {**image, "file": {**image["file"], **places[image["index"]]}} if "file" in image else image
        for image in record["images"]
    ]
    return {**record, "images": images}


def response_of(record: Mapping[str, Any], folder: Path) -> ImagesResponse:
    """Return the response of a record. Its images have the final paths of their files."""
    images = [
        image if "file" not in facts else at(image, place_of(facts["file"], folder))
        for facts in record["images"]
        for image in [Image(**{name: facts.get(name) for name in _IMAGE_FACTS})]
    ]
    return ImagesResponse(
        data=tuple(images),
        created=datetime.fromisoformat(record["created"]) if "created" in record else None,
        usage=Usage(**record["usage"]) if "usage" in record else None,
        svg_usage=SvgUsage(**record["svg_usage"]) if "svg_usage" in record else None,
        cost=Decimal(record["cost"]) if "cost" in record else None,
        **_chosen(record, (*_RESPONSE_FACTS, "missing")),
    )


def error_record(error: Exception) -> dict[str, Any]:
    """Return an error as JSON."""
    facts = _known({name: getattr(error, name, None) for name in _STATUS_FACTS + _CALL_FACTS})
    if not isinstance(error, ImageSDKError):
        if isinstance(error, OSError):
            facts = _known(
                {"errno": error.errno, "strerror": error.strerror, "filename": _name(error.filename)}
            )
        return {"error": type(error).__name__, "message": str(error), **facts}
    remedies = [[remedy.kind, remedy.value] for remedy in error.remedies]
    return {"error": type(error).__name__, "message": error.summary, "remedies": remedies, **facts}


def error_of(record: Mapping[str, Any]) -> ImageSDKError | OSError:
    """Return the error of a record."""
    name, message = str(record.get("error")), str(record.get("message", ""))
    builtin: object = getattr(builtins, name, None)
    if isinstance(builtin, type) and issubclass(builtin, OSError):
        facts = [record.get(fact) for fact in _FILE_FACTS]
        return builtin(*facts) if facts[0] is not None else builtin(message)  # old records have no facts
    kind: object = getattr(errors, name, ImageSDKError)
    remedies = tuple(Remedy(kind, value) for kind, value in record.get("remedies", ()))  # none in old records
    if not (isinstance(kind, type) and issubclass(kind, ImageSDKError)):
        return ImageSDKError(message, remedies=remedies)
    if issubclass(kind, APIStatusError):
        return kind(message, remedies=remedies, **_chosen(record, _STATUS_FACTS + _CALL_FACTS))
    if issubclass(kind, APIError):
        return kind(message, remedies=remedies, **_chosen(record, _CALL_FACTS))
    return kind(message, remedies=remedies)


def _name(filename: object) -> str | None:
    return (
        None if filename is None else os.fsdecode(filename) if isinstance(filename, bytes) else str(filename)
    )


def _usage(usage: Usage | SvgUsage | None) -> dict[str, Any] | None:
    return None if usage is None else _known(attrs.asdict(usage, recurse=False))


def _chosen(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: record[name] for name in names if name in record}


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _place(path: OutputPath, folder: Path) -> dict[str, str]:
    return {"path": _from(path, folder)} if isinstance(path, Path) else {"url": path.url}


def _from(path: Path, folder: Path) -> str:
    path, folder = path.absolute(), folder.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

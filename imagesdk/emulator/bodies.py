"""Parser of request bodies: JSON or form, into plain fields and files. It knows no model.

A body may be as large as a cap and no larger: the announced length is checked before anything is read, and what is
read is counted. A JSON body is held in memory about three times while it is parsed.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import cast

from attrs import field, frozen
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.rules import Fields

__all__ = ["Body", "SentFile", "read_body"]

# The parser logs a warning for each odd byte, which Python prints where a program has set up no logging.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())

_MAX_JSON = 128 * 1024 * 1024
_MAX_FORM = 920 * 1024 * 1024
"""The most images of any model, each as large as may be, a mask, a markup and some fields."""
_FIELDS_BESIDE = 4 * 1024 * 1024  # bytes of a form beside its only file
_MAX_FIELD = 4 * 1024 * 1024
_MAX_FIELDS = 64
_MAX_FILES = 64
_MAX_FILE = 64 * 1024 * 1024
"""Bytes of a file that are read. Every model rejects larger files."""


@frozen
class SentFile:
    """File part of a form."""

    name: str
    """Name of the form field."""
    media_type: str
    size: int
    data: bytes = field(repr=False)
    """The bytes that were read."""
    filename: str = ""


@frozen
class Body:
    """Parsed request body."""

    fields: Fields
    files: tuple[SentFile, ...] = ()


async def read_body(request: Request, *expected: str, only_file: int | None = None) -> Body:
    """Read a body of one of the media types ``expected``.

    A form has at most one file of ``only_file`` bytes. Without this number, it has the images of a model.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in expected:
        await drain(request)
        accepted = " or ".join(f"'{one}'" for one in expected)
        raise Refusal(
            f"Unsupported content type: '{media_type}'. This API method only accepts {accepted} requests, but "
            f"you specified the header 'Content-Type: {content_type}'. Please try again with a supported content "
            "type.",
            code="unsupported_content_type",
        )
    if media_type == "application/json":
        return await _read_json(request)
    if only_file is None:
        return await _read_form(request, _MAX_FILE, _MAX_FORM)
    return await _read_form(request, only_file, only_file + _FIELDS_BESIDE)


async def drain(request: Request) -> None:
    """Read and discard the rest of a body. A client may still be sending when its request is rejected."""
    # Starlette raises RuntimeError for a body that was already read to its end, and a body that stalls is refused.
    with contextlib.suppress(ClientDisconnect, RuntimeError, Refusal):
        async for _ in request.stream():
            pass


async def _pieces(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield a body of at most ``limit`` bytes."""
    too_large = Refusal(
        f"Request body is too large. Maximum size is {limit} bytes.", status=413, code="request_too_large"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    size = 0
    async with aclosing(request.stream()) as stream:
        async for piece in stream:
            size += len(piece)
            if size > limit:
                raise too_large
            yield piece


def parse_object(data: bytes | bytearray) -> Mapping[str, object] | None:
    """Parse a JSON object; return ``None`` if the text is not one."""
    try:
        parsed: object = json.loads(data)
        if b"\\u" in data:
            # JSON allows half of a surrogate pair, UTF-8 does not: this raises for it.
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", parsed) if isinstance(parsed, dict) else None


async def _read_json(request: Request) -> Body:
    data = bytearray()
    async with aclosing(_pieces(request, _MAX_JSON)) as pieces:
        async for piece in pieces:
            data += piece
    fields = parse_object(data)
    if fields is None:
        raise Refusal(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your "
            "HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        )
    return Body(Fields(values={name: [value] for name, value in fields.items()}))


async def _read_form(request: Request, max_file: int, max_form: int) -> Body:
    values: dict[str, list[object]] = {}
    counts: dict[str, int] = {}
    files: list[SentFile] = []
    # Not request.form(): older versions of Starlette leave the stream open after a malformed form.
    async with aclosing(_pieces(request, max_form)) as stream:
        parser = MultiPartParser(
            request.headers, stream, max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD
        )
        try:
            form = await parser.parse()
            for given, value in form.multi_items():
                name = _without_surrogates(given)
                if isinstance(value, UploadFile):
                    data = await value.read(max_file)
                    media_type = value.content_type or "application/octet-stream"
                    filename = _without_surrogates(value.filename or "")
                    files.append(SentFile(name, media_type, value.size or 0, data, filename))
                    counts[name] = counts.get(name, 0) + 1
                else:
                    values.setdefault(name, []).append(_without_surrogates(value))
        except (MultiPartException, FormParserError) as error:
            await drain(request)
            detail = error.message if isinstance(error, MultiPartException) else "Invalid multipart data."
            raise Refusal(f"We could not parse the form of your request: {detail}") from error
        finally:
            # Also those of parts that never end, which are not in the form.
            for opened in getattr(parser, "_files_to_close_on_error", ()):
                opened.close()
    return Body(Fields(values=values, files=counts, form=True), tuple(files))


def _without_surrogates(text: str) -> str:
    """Replace halves of surrogate pairs, which some charsets can produce."""
    return text.encode(errors="replace").decode()

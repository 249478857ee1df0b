"""Reading a request: JSON or a form, into plain fields and files. No rule of any model stands here.

Whatever is wrong with the bytes ends in a :class:`~imagesdk.emulator.answers.Refusal`, never in a crash.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
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

_MAX_FIELD = 4 * 1024 * 1024
_MAX_FILES = 64
_MAX_FILE = 64 * 1024 * 1024
"""More of a file than this is not read: every model refuses it anyway."""


@frozen
class SentFile:
    """One file part of a form."""

    name: str
    """The name of its field."""
    media_type: str
    size: int
    data: bytes = field(repr=False)
    """What was read of it."""
    filename: str = ""


@frozen
class Body:
    """A request body."""

    fields: Fields
    files: tuple[SentFile, ...] = ()


async def read_body(request: Request, *expected: str, max_file: int = _MAX_FILE) -> Body:
    """Read a body of one of the media types ``expected``, and at most ``max_file`` bytes of each of its files."""
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
    return await (_read_json(request) if media_type == "application/json" else _read_form(request, max_file))


async def drain(request: Request) -> None:
    """Read the rest of a body and forget it: a client is still sending while it is refused."""
    # A body that was read to its end already is a RuntimeError of Starlette.
    with contextlib.suppress(ClientDisconnect, RuntimeError):
        async for _ in request.stream():
            pass


async def _read_json(request: Request) -> Body:
    try:
        parsed: object = json.loads(await request.body())
        # Half of a surrogate pair is legal in JSON and in nothing else: this raises for it.
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise Refusal(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your "
            "HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        )
    fields = cast("Mapping[str, object]", parsed)
    return Body(Fields(values={name: [value] for name, value in fields.items()}))


async def _read_form(request: Request, max_file: int) -> Body:
    values: dict[str, list[object]] = {}
    counts: dict[str, int] = {}
    files: list[SentFile] = []
    try:
        # Not request.form(): older Starlettes leave the stream open when a form is broken.
        async with aclosing(request.stream()) as stream:
            parser = MultiPartParser(request.headers, stream, max_files=_MAX_FILES, max_part_size=_MAX_FIELD)
            form = await parser.parse()
    except (MultiPartException, FormParserError) as error:
        await drain(request)
        detail = error.message if isinstance(error, MultiPartException) else "Invalid multipart data."
        raise Refusal(f"We could not parse the form of your request: {detail}") from error
    try:
        for given, value in form.multi_items():
            name = _whole(given)
            if isinstance(value, UploadFile):
                data = await value.read(max_file)
                media_type = value.content_type or "application/octet-stream"
                filename = _whole(value.filename or "")
                files.append(SentFile(name, media_type, value.size or 0, data, filename))
                counts[name] = counts.get(name, 0) + 1
            else:
                values.setdefault(name, []).append(_whole(value))
    finally:
        await form.close()
    return Body(Fields(values=values, files=counts, form=True), tuple(files))


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs, which a strange charset can bring in."""
    return text.encode(errors="replace").decode()

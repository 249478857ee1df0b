"""``--dry-run`` of a single call: the request that it would send, and a curl line. Neither contains the key.

The request is built by the client itself, and ends in a transport that sends nothing.
"""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Iterator, Mapping
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING, Any, cast

from attrs import define, frozen

from imagesdk.cli.exits import OK
from imagesdk.cli.session import has_flag, note, open_client, print_json

if TYPE_CHECKING:
    import httpx

    from imagesdk import CallOptions, Job

_LONGEST = 200
"""Characters of a text that are shown: a data: URL has millions."""
_KEY_HEADERS = {"authorization": "Bearer $OPENAI_API_KEY", "api-key": "$AZURE_OPENAI_API_KEY"}
_NOT_SHOWN = {"host", "content-length", "accept-encoding", "connection"}
_REFUSAL = {"error": {"message": "dry run", "type": "invalid_request_error"}}


@frozen
class Part:
    """One part of a form."""

    name: str
    value: str | None
    """The text of the part; ``None`` for a file."""
    filename: str | None = None
    media_type: str | None = None
    size: int = 0


@define
class _Recorder:
    """The request that a client wanted to send."""

    request: httpx.Request | None = None
    body: bytes = b""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        import httpx

        self.request, self.body = request, await request.aread()
        return httpx.Response(400, json=_REFUSAL)


def print_request(options: Namespace, job: Job, call: CallOptions) -> int:
    """Print the request of a job and a curl line, or both as JSON."""
    import httpx

    from imagesdk import BadRequestError, RetryPolicy

    recorder = _Recorder()

    def http_client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(recorder))

    terms: dict[str, Any] = {
        "http_client": http_client,
        "retry": RetryPolicy(max_attempts=1),
        "rate_limit": None,
    }
    with open_client(options, sends=False, **terms) as client:
        try:
            client.images.send(job, **call)
        except BadRequestError:
            if recorder.request is None:
                raise
    assert recorder.request is not None  # noqa: S101 - the transport was asked
    _print(options, recorder.request, recorder.body)
    return OK


def _print(options: Namespace, request: httpx.Request, body: bytes) -> None:
    headers = {
        name: _KEY_HEADERS.get(name, value)
        for name, value in request.headers.items()
        if name not in _NOT_SHOWN
    }
    url, content_type = str(request.url), headers.get("content-type", "")
    document: Any = None
    parts: list[Part] = []
    if content_type.startswith("multipart/form-data"):
        headers["content-type"] = "multipart/form-data"
        parts = list(form_parts(body, content_type.partition("boundary=")[2].strip('"')))
    else:
        document = _short(json.loads(body))
    sources = _sources(options)
    line = curl_line(url, headers, document, parts, sources)
    if has_flag(options, "json"):
        form = [
            {"name": part.name, "value": part.value, "filename": part.filename, "bytes": part.size}
            for part in parts
        ]
        facts = {
            "method": request.method,
            "url": url,
            "headers": headers,
            "json": document,
            "form": form or None,
        }
        print_json({**facts, "curl": line})
        return
    print(f"{request.method} {url}")
    for name, value in headers.items():
        print(f"{name}: {value}")
    print()
    if parts:
        for part in parts:
            print(
                f"{part.name}: {_short(part.value) if part.value is not None else f'{part.filename} ({part.size} bytes)'}"
            )
    else:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    print(f"\n{line}")
    note(options, "imagesdk: dry run, nothing was sent")


def form_parts(body: bytes, boundary: str) -> Iterator[Part]:
    """Parse the parts of a form."""
    for piece in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = BytesHeaderParser().parsebytes(head)
        content = content.removesuffix(b"\r\n")
        name = str(headers.get_param("name", header="content-disposition"))
        filename = headers.get_filename()
        if filename is None:
            yield Part(name, content.decode("utf-8", "replace"), size=len(content))
        else:
            yield Part(name, None, filename, headers.get_content_type(), len(content))


def curl_line(
    url: str, headers: Mapping[str, str], document: Any, parts: list[Part], sources: Mapping[str, list[str]]
) -> str:
    """Return a command for curl. The shell puts the key in, from its variable."""
    words = ["curl", shlex.quote(url)]
    for name in ("authorization", "api-key"):
        if name in headers:
            words += ["-H", f'"{name}: {headers[name]}"']
    left = {name: list(paths) for name, paths in sources.items()}
    for part in parts:
        if part.value is not None:
            words += ["--form-string", shlex.quote(f"{part.name}={part.value}")]
            continue
        paths = left.get(part.name.removesuffix("[]"), [])
        path = paths.pop(0) if paths else part.filename or "FILE"
        words += ["-F", shlex.quote(f"{part.name}=@{path};type={part.media_type}")]
    if not parts:
        words += ["-H", shlex.quote("content-type: application/json")]
        words += ["-d", shlex.quote(json.dumps(document, ensure_ascii=False))]
    return " ".join(words)


def _sources(options: Namespace) -> dict[str, list[str]]:
    """Return the files of the command line by the name of their part."""
    images: list[str] | str = getattr(options, "image", [])
    found = {"image": images if isinstance(images, list) else [images]}
    for name in ("mask", "markup"):
        path: str | None = getattr(options, name, None)
        if path is not None:
            found[name] = [path]
    return found


def _short(value: object) -> object:
    """Shorten long texts, such as images as data: URLs."""
    if isinstance(value, str):
        if len(value) <= _LONGEST or not value.startswith("data:"):
            return value
        return f"{value[:40]}... ({len(value)} characters)"
    if isinstance(value, list):
        return [_short(each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: _short(each) for name, each in cast("dict[str, object]", value).items()}
    return value

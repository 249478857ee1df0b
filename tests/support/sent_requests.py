"""Requests that respx received: the last one, its JSON, and the parts of its form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import respx


def sent_to(route: respx.Route) -> list[httpx.Request]:
    calls: Any = route.calls
    return [call.request for call in calls]


def last_sent(wire: respx.MockRouter) -> httpx.Request:
    request: httpx.Request = wire.calls.last.request
    return request


def sent_json(wire: respx.MockRouter) -> Any:
    return json.loads(last_sent(wire).content)


def sent_parts(wire: respx.MockRouter) -> list[tuple[str, bytes]]:
    request = last_sent(wire)
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    first, *middle, last = request.content.split(b"--" + boundary.encode())
    assert (first, last) == (b"", b"--\r\n")
    parts = [part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n") for part in middle]
    return [(head.decode(), body) for head, _, body in parts]


def form_text(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def form_file(name: str, filename: str, media_type: str, data: bytes) -> tuple[str, bytes]:
    head = (
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {media_type}'
    )
    return head, data

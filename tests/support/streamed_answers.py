"""Answers that are streams of server-sent events, and handlers that say them piece by piece."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.support.socket_servers import Conversation, Handler

EVENT_STREAM = "text/event-stream; charset=utf-8"


def event(kind: str, picture: bytes | None = None, *, named: bool = True, **fields: Any) -> bytes:
    data: dict[str, Any] = {"type": kind, **fields}
    if picture is not None:
        data["b64_json"] = base64.b64encode(picture).decode()
    return (f"event: {kind}\n" if named else "").encode() + f"data: {json.dumps(data)}\n\n".encode()


def partial(picture: bytes, index: int = 0, **fields: Any) -> bytes:
    return event("image_generation.partial_image", picture, partial_image_index=index, **fields)


def completed(picture: bytes, **fields: Any) -> bytes:
    return event("image_generation.completed", picture, created_at=1_700_000_000, **fields)


async def begin(talk: Conversation, **headers: str) -> None:
    lines = ["HTTP/1.1 200 OK", f"content-type: {EVENT_STREAM}", "transfer-encoding: chunked"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    await talk.send(("\r\n".join(lines) + "\r\n\r\n").encode())


async def say(talk: Conversation, data: bytes) -> None:
    await talk.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def end(talk: Conversation) -> None:
    await talk.send(b"0\r\n\r\n")


def streams(*pieces: bytes, ends: bool = True, **headers: str) -> Handler:
    async def step(talk: Conversation) -> None:
        await begin(talk, **headers)
        for piece in pieces:
            await say(talk, piece)
        if ends:
            await end(talk)
        else:
            talk.hang_up()

    return step

"""A client of the emulator in process, with short calls for the requests that tests make."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, TypeAlias

import httpx
from PIL import Image, ImageChops, ImageStat

from imagesdk.emulator import EmulatorState
from tests.support.batch_files import GENERATIONS, jsonl

SMALL = {"model": "dall-e-2", "prompt": "x", "size": "256x256"}
"""The cheapest request."""

File: TypeAlias = tuple[str, tuple[str, bytes, str]]


class Clock:
    """Seconds since the epoch. Only a test advances them."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Api(httpx.AsyncClient):
    """Client of one emulator, with the state of that."""

    def __init__(self, state: EmulatorState, base_url: str, **options: Any) -> None:
        super().__init__(base_url=base_url, **options)
        self.state = state

    async def generate(self, **fields: object) -> httpx.Response:
        """Send a generation: a small one of dall-e-2, unless the test names a model."""
        body = {"prompt": "x", **fields} if "model" in fields else {**SMALL, **fields}
        return await self.post("/images/generations", json=body)

    async def edit(self, *files: File, **fields: str) -> httpx.Response:
        return await self.post("/images/edits", data={"prompt": "x", **fields}, files=list(files))

    async def vary(self, *files: File, **fields: str) -> httpx.Response:
        return await self.post("/images/variations", data=fields, files=list(files))

    async def batch(self, lines: Iterable[object] | bytes, **terms: object) -> dict[str, Any]:
        """Upload lines and create their batch."""
        data = lines if isinstance(lines, bytes) else jsonl(lines)
        file = await self.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", data)})
        body = {
            "input_file_id": file.json()["id"],
            "endpoint": GENERATIONS,
            "completion_window": "24h",
            **terms,
        }
        answer = await self.post("/batches", json=body)
        assert answer.status_code == 200, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def look(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch in its current state."""
        answer = await self.get(f"/batches/{batch['id']}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """Return the lines of an output or error file."""
        answer = await self.get(f"/files/{file_id}/content")
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["content-length"]) == len(answer.content)
        return [json.loads(text) for text in answer.text.splitlines()]


Connect: TypeAlias = Callable[..., Api]
"""Makes a client of an emulator with the options that a test names, and without a limit."""


def file(name: str, data: bytes, media_type: str = "image/png") -> File:
    return name, ("x.png", data, media_type)


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(mode: str = "RGB", size: tuple[int, int] = (64, 64), colour: int | tuple[int, ...] = 0) -> bytes:
    return encoded(Image.new(mode, size, colour))


def images_in(answer: httpx.Response) -> list[Image.Image]:
    assert answer.status_code == 200, answer.text[:500]
    return [Image.open(BytesIO(b64decode(item["b64_json"]))) for item in answer.json()["data"]]


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return how far two images are apart on average, from 0 to 255."""
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(ImageStat.Stat(difference).mean) / 3

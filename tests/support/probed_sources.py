"""Sources as a call opens them: the upload, its bytes, or the error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from imagesdk import InvalidRequestError, Upload
from imagesdk._calls.sources import open_inputs
from imagesdk._engine.request_body import read_piece
from imagesdk._protocol.requests import Sources


@asynccontextmanager
async def probed(source: Any) -> AsyncGenerator[Upload, None]:
    async with open_inputs(Sources((source,))) as inputs:
        upload = inputs.images[0]
        assert isinstance(upload, Upload)
        yield upload


async def probe(source: Any) -> Upload:
    async with probed(source) as upload:
        return upload


async def read(upload: Upload) -> bytes:
    data = b""
    while piece := await read_piece(upload, len(data)):
        data += piece
    return data


async def probe_and_read(source: Any) -> tuple[Upload, bytes]:
    async with probed(source) as upload:
        return upload, await read(upload)


async def refusal(source: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        async with open_inputs(Sources((source,))):
            pass
    assert caught.value.param == "image"
    return caught.value

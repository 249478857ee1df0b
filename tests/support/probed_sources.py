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
    """Open a file for as long as the block lasts."""
    async with open_inputs(Sources((source,))) as inputs:
        upload = inputs.images[0]
        assert isinstance(upload, Upload)
        yield upload


async def probe(source: Any) -> Upload:
    """Return the upload of a file."""
    async with probed(source) as upload:
        return upload


async def read(upload: Upload) -> bytes:
    """Return the bytes that would be sent."""
    data = b""
    while piece := await read_piece(upload, len(data)):
        data += piece
    return data


async def probe_and_read(source: Any) -> tuple[Upload, bytes]:
    """Return the upload of a file, and its bytes."""
    async with probed(source) as upload:
        return upload, await read(upload)


async def refusal(source: Any) -> InvalidRequestError:
    """Return the error of a source that cannot be opened."""
    with pytest.raises(InvalidRequestError) as caught:
        async with open_inputs(Sources((source,))):
            pass
    assert caught.value.param == "image"
    return caught.value

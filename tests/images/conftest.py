"""Fixtures for calls against servers that respx plays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import respx

from imagesdk import AsyncClient
from imagesdk._protocol.hosts import OPENAI_BASE_URL
from tests.support.small_images import answer, png

OWN_BASE_URL = "https://images.test/v1"


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    """Servers that answer every request with one image, and keep the requests."""
    with respx.mock(assert_all_called=False) as wire:
        for base_url in (OPENAI_BASE_URL, OWN_BASE_URL):
            for path in ("generations", "edits", "variations"):
                wire.post(f"{base_url}/images/{path}").respond(content=answer(png(2, 2)))
        yield wire


@pytest.fixture
async def openai_client() -> AsyncIterator[AsyncClient]:
    """A client of OpenAI."""
    async with AsyncClient(api_key="sk-1", organization="org-1", project="proj-1") as client:
        yield client


@pytest.fixture
async def own(make_client: Callable[..., AsyncClient]) -> AsyncIterator[AsyncClient]:
    """A client of another server."""
    async with make_client(OWN_BASE_URL) as client:
        yield client


@pytest.fixture
async def client(client: AsyncClient) -> AsyncIterator[AsyncClient]:
    """A client of the emulator, which is closed after the test."""
    async with client:
        yield client

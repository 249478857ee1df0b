"""Fixtures for calls against servers that respx plays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from imagesdk import AsyncClient


@pytest.fixture
async def openai_client() -> AsyncIterator[AsyncClient]:
    """A client of OpenAI."""
    async with AsyncClient(api_key="sk-1", organization="org-1", project="proj-1") as client:
        yield client


@pytest.fixture
async def client(client: AsyncClient) -> AsyncIterator[AsyncClient]:
    """A client of the emulator, which is closed after the test."""
    async with client:
        yield client

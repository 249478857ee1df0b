"""The cost of a response, by server, model and format."""

from collections.abc import Mapping
from decimal import Decimal

import attrs
import pytest
import respx

from imagesdk import AsyncClient, Generate, models
from tests.support.small_images import answer, png, usage

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

OPENAI = "https://api.openai.com/v1"
AZURE = "https://mine.openai.azure.com/openai/v1"
HERE = "http://127.0.0.1:8000/v1"
OTHER = "https://images.test/v1"
DOLLARS = (Decimal(10 * 5) + 196 * 30) / 1_000_000
JOB = Generate("a cat", model="gpt-image-2")


async def cost_at(
    base_url: str, job: Generate = JOB, *, fields: Mapping[str, object] | None = None, **extra_body: str
) -> Decimal | None:
    """Send a job to a server that returns one image, its usage and other fields, and return the cost."""
    with respx.mock() as wire:
        body = answer(png(2, 2), usage=usage(196), **fields or {})
        wire.post(f"{base_url}/images/generations").respond(content=body)
        async with AsyncClient(base_url=base_url, api_key="sk-1", rate_limit=None) as client:
            return (await client.images.send(job, extra_body=extra_body)).cost


@pytest.mark.parametrize("base_url", [OPENAI, AZURE, HERE, OTHER])
async def test_the_cost_follows_list_prices_where_they_apply_and_is_unknown_elsewhere(base_url: str) -> None:
    assert await cost_at(base_url) == (None if base_url == OTHER else DOLLARS)


async def test_the_cost_follows_a_registered_price_for_every_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_profiles", dict(vars(models)["_profiles"]))
    own = attrs.evolve(models.GPT_IMAGE_2.price, image_output=Decimal(15), list_price=False)
    models.register(attrs.evolve(models.GPT_IMAGE_2, price=own))
    assert await cost_at(OTHER) == (Decimal(10 * 5) + 196 * 15) / 1_000_000


async def test_the_cost_of_vector_graphics_is_unknown() -> None:
    job = Generate("a cat", model="gpt-image-2.6-flare")
    assert await cost_at(OPENAI, job) == DOLLARS
    assert await cost_at(OPENAI, attrs.evolve(job, output_format="svg")) is None
    author = {"model": "m", "input_tokens": 1, "output_tokens": 1, "reasoning_tokens": 0, "total_tokens": 2}
    for fields in ({"output_format": "svg"}, {"svg_usage": author}):
        assert await cost_at(OPENAI, job, fields=fields) is None


async def test_the_cost_is_that_of_the_model_in_extra_body() -> None:
    assert await cost_at(OPENAI, model="gpt-image-1.5") == (Decimal(10 * 5) + 196 * 32) / 1_000_000
    assert await cost_at(OPENAI, model="unheard-of") is None

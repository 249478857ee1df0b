"""What a response says that it cost, by who answered and with what."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType

import attrs
import pytest
import respx

from imagesdk import AsyncClient, Generate, models
from tests.support.small_images import answer, png

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

MAKER = "https://api.openai.com/v1"
AZURE = "https://mine.openai.azure.com/openai/v1"
HERE = "http://127.0.0.1:8000/v1"
OTHER = "https://images.test/v1"
USAGE = {
    "input_tokens": 10,
    "output_tokens": 196,
    "total_tokens": 206,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
}
DOLLARS = (Decimal(10 * 5) + 196 * 30) / 1_000_000
JOB = Generate("a cat", model="gpt-image-2")


class AsyncCost:
    """Sends a job to a server that answers with one picture and its usage, and tells the cost."""

    def __init__(self, make_client: Callable[..., AsyncClient]) -> None:
        self._make_client = make_client

    async def __call__(
        self,
        base_url: str,
        job: Generate = JOB,
        *,
        answered: Mapping[str, object] = MappingProxyType({}),
        **extra_body: str,
    ) -> Decimal | None:
        with respx.mock() as wire:
            body = answer(png(2, 2), usage=USAGE, **answered)
            wire.post(f"{base_url}/images/generations").respond(content=body)
            async with self._make_client(base_url, api_key="sk-1") as client:
                response = await client.images.send(job, extra_body=extra_body)
        return response.cost


@pytest.fixture
def cost_at(make_client: Callable[..., AsyncClient]) -> AsyncCost:
    return AsyncCost(make_client)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test register what it likes."""
    monkeypatch.setattr(models, "_profiles", dict(vars(models)["_profiles"]))


@pytest.mark.parametrize("base_url", [MAKER, AZURE, HERE])
async def test_the_cost_follows_list_prices_where_they_apply(cost_at: AsyncCost, base_url: str) -> None:
    assert await cost_at(base_url) == DOLLARS


async def test_the_cost_is_unknown_for_another_server_with_a_model_of_the_same_name(
    cost_at: AsyncCost,
) -> None:
    assert await cost_at(OTHER) is None


@pytest.mark.usefixtures("table")
async def test_the_cost_follows_a_registered_price_for_every_server(cost_at: AsyncCost) -> None:
    own = attrs.evolve(models.GPT_IMAGE_2.price, image_output=Decimal(15), list_price=False)
    models.register(attrs.evolve(models.GPT_IMAGE_2, price=own))
    assert await cost_at(OTHER) == (Decimal(10 * 5) + 196 * 15) / 1_000_000


async def test_the_cost_of_vector_graphics_is_unknown(cost_at: AsyncCost) -> None:
    job = Generate("a cat", model="gpt-image-2.6-flare")
    assert await cost_at(MAKER, job) == DOLLARS
    assert await cost_at(MAKER, attrs.evolve(job, output_format="svg")) is None
    author = {"model": "m", "input_tokens": 1, "output_tokens": 1, "reasoning_tokens": 0, "total_tokens": 2}
    for answered in ({"output_format": "svg"}, {"svg_usage": author}):
        assert await cost_at(MAKER, job, answered=answered) is None


async def test_the_cost_is_that_of_the_model_in_extra_body(cost_at: AsyncCost) -> None:
    assert await cost_at(MAKER, model="gpt-image-1.5") == (Decimal(10 * 5) + 196 * 32) / 1_000_000
    assert await cost_at(MAKER, model="unheard-of") is None

"""``AsyncClient.azure``: requests of both API forms on the wire, and calls to the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import respx

from imagesdk import (
    AsyncClient,
    AuthenticationError,
    Client,
    CompletedImage,
    ConfigurationError,
    InvalidRequestError,
    ModerationError,
    NotFoundError,
    RetryPolicy,
)
from imagesdk._protocol.azure import AzureHost
from imagesdk.emulator import Emulator
from tests.support.leaks import KEY, leaks
from tests.support.sent_requests import sent_to
from tests.support.small_images import answer, png, usage

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

RESOURCE = "https://images.openai.azure.com"
V1 = f"{RESOURCE}/openai/v1"
DATED = "2025-04-01-preview"
CLASSIC = f"{RESOURCE}/openai/deployments/my%20images"
ANSWER = answer(png())


def azure_at(endpoint: str, **options: Any) -> AsyncClient:
    """A client of a resource, without a limit."""
    terms: dict[str, Any] = {"api_key": KEY, "deployment": "my images", "rate_limit": None, **options}
    if "token_provider" in options:
        del terms["api_key"]
    return AsyncClient.azure(endpoint, **terms)


azure = partial(azure_at, RESOURCE)


def sent(route: respx.Route) -> httpx.Request:
    """The one request that a route got."""
    (request,) = sent_to(route)
    return request


def token() -> str:
    return "a-token-of-azure-0123456789"


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [({"api_key": KEY}, "api-key", KEY), ({"token_provider": token}, "authorization", f"Bearer {token()}")],
    ids=["key", "token"],
)
@pytest.mark.parametrize("api_version", [None, DATED])
@respx.mock
async def test_the_deployment_is_in_the_body_or_with_a_date_in_the_path(
    api_version: str | None, auth: dict[str, Any], header: str, value: str
) -> None:
    base_url, query = (CLASSIC, f"?api-version={DATED}") if api_version else (V1, "")
    made = respx.post(f"{base_url}/images/generations").respond(content=ANSWER)
    edited = respx.post(f"{base_url}/images/edits").respond(content=ANSWER)
    model: dict[str, Any] = {"model": "gpt-image-2"} if api_version else {}

    async with azure(api_version=api_version, **model, **auth) as client:
        await client.images.generate("a cat", size="1024x1024", **model)
        await client.images.edit([png(), png()], "a hat", check=False)

    assert str(sent(made).url) == f"{base_url}/images/generations{query}"
    assert str(sent(edited).url) == f"{base_url}/images/edits{query}"
    deployment = {} if api_version else {"model": "my images"}
    assert json.loads(sent(made).content) == {"prompt": "a cat", "size": "1024x1024", **deployment}
    form = sent(edited).content
    assert form.count(b'name="image[]"') == 2
    assert form.count(b'name="model"\r\n\r\nmy images\r\n') == form.count(b'name="model"') == len(deployment)
    for request in (sent(made), sent(edited)):
        assert request.headers[header] == value
        assert {"api-key", "authorization"} & set(request.headers) == {header}


@respx.mock
async def test_a_call_can_name_its_deployment() -> None:
    route = respx.post(f"{RESOURCE}/openai/deployments/flare/images/generations").respond(content=ANSWER)
    async with azure(deployment=None, api_version=DATED) as client:
        await client.images.generate("a cat", model="flare")
        with pytest.raises(InvalidRequestError, match="On Azure a deployment must be named") as caught:
            await client.images.generate("a cat")
    assert caught.value.param == "model"
    assert route.call_count == 1


@respx.mock
async def test_checks_and_costs_follow_the_model_of_the_deployment() -> None:
    route = respx.post(f"{V1}/images/generations").respond(content=answer(png(), usage=usage(1000)))

    async with (
        azure(model="gpt-image-2") as named,
        azure() as unnamed,
        azure(deployment="gpt-image-2") as alike,
    ):
        for client in (named, alike):
            with pytest.raises(InvalidRequestError, match="size"):
                await client.images.generate("a cat", size="1x1")
            response = await client.images.generate("a cat")
            assert response.cost is not None
        response = await unnamed.images.generate("a cat", size="1x1")
        assert response.cost is None

    assert [json.loads(request.content)["model"] for request in sent_to(route)] == [
        "my images",
        "gpt-image-2",
        "my images",
    ]


@pytest.mark.parametrize(
    ("endpoint", "api_version", "base_url"),
    [
        (RESOURCE, None, V1),
        (f"{RESOURCE}/", "preview", V1),
        (f"{RESOURCE}/openai", None, V1),
        (f"{RESOURCE}/openai/v1/", "preview", V1),
        (RESOURCE, DATED, f"{RESOURCE}/openai"),
        (f"{RESOURCE}/openai/", "2024-10-21", f"{RESOURCE}/openai"),
        ("https://gateway.example/azure", DATED, "https://gateway.example/azure/openai"),
    ],
)
def test_an_endpoint_may_have_any_of_its_forms(endpoint: str, api_version: str | None, base_url: str) -> None:
    host = AzureHost.of(endpoint, deployment="d", model=None, api_version=api_version)
    assert host.base_url == base_url
    version = f"?api-version={api_version}" if api_version else ""
    assert host.url("/files") == f"{base_url}/files{version}"
    assert host.url("/files", {"api-version": "other"}) == f"{base_url}/files?api-version=other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": f"{RESOURCE}/openai/deployments/d"}, "deployment= and api_version="),
        ({"endpoint": f"{V1}/images/generations?api-version=x"}, "deployment= and api_version="),
        ({"endpoint": f"{RESOURCE}?api-version=preview"}, "query"),
        ({"endpoint": V1, "api_version": DATED}, "Leave one of them out"),
        ({"api_version": "2025 04"}, "api_version is a date"),
        ({"deployment": " "}, "deployment is the name"),
        ({"endpoint": ""}, "AZURE_OPENAI_ENDPOINT"),
        ({"api_key": None}, "AZURE_OPENAI_API_KEY"),
        ({"api_key": ""}, "needs a key"),
        ({"token_provider": token}, "not both"),
        ({"token_provider": "a text"}, "a function that returns a token"),
        ({"endpoint": "http://images.example"}, "plain http"),
    ],
)
def test_wrong_options_are_refused_without_the_key(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"endpoint": RESOURCE, "deployment": "d", "api_key": KEY, **options}
    if options.get("token_provider") == "a text":
        del given["api_key"]
    with pytest.raises(ConfigurationError, match=message) as caught:
        AsyncClient.azure(**given)
    assert not leaks(caught.value)


@respx.mock
async def test_endpoint_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", RESOURCE)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    route = respx.post(f"{V1}/images/generations").respond(content=ANSWER)
    async with AsyncClient.azure(deployment="d", rate_limit=None) as client:
        await client.images.generate("a cat")
    assert sent(route).headers["api-key"] == KEY
    assert "openai-organization" not in sent(route).headers


def test_the_plain_client_needs_a_key_for_a_host_of_azure() -> None:
    with pytest.raises(ConfigurationError, match="needs a key"):
        AsyncClient(base_url=V1)


@respx.mock
async def test_the_key_is_in_no_redirect_no_download_and_no_error() -> None:
    other = "https://other.example/steal"
    moved = respx.post(f"{V1}/images/generations").respond(307, headers={"location": other})
    stolen = respx.route(host="other.example").respond(200)

    async with azure() as client:
        with pytest.raises(Exception, match="redirect") as caught:
            await client.images.generate("a cat")
        assert not leaks(caught.value)
        moved.respond(
            401,
            json={
                "error": {"code": "401", "message": f"{KEY}: invalid subscription key or wrong API endpoint"}
            },
        )
        with pytest.raises(AuthenticationError, match="AZURE_OPENAI_API_KEY") as refused:
            await client.images.generate("a cat")
        assert not leaks(refused.value)
        moved.respond(content=json.dumps({"data": [{"url": f"{RESOURCE}/result.png"}]}))
        fetched = respx.get(f"{RESOURCE}/result.png").respond(content=png())
        response = await client.images.generate("a cat")
        await client.images.download(response[0])

    assert not stolen.called
    assert {"api-key", "authorization"} & set(sent(fetched).headers) == set()


@pytest.fixture
def resource() -> Iterator[Emulator]:
    with Emulator(limit=None, quirks="azure", require_key=True) as emulator:
        yield emulator


@pytest.mark.parametrize("api_version", [None, "preview", DATED])
async def test_images_are_generated_edited_and_streamed_in_both_forms(
    resource: Emulator, api_version: str | None
) -> None:
    options: dict[str, Any] = {"api_version": api_version, "rate_limit": None, "token_provider": token}
    async with AsyncClient.azure(resource.origin, deployment="images", **options) as client:
        made = await client.images.generate("a cat", n=2, size="1024x1024", quality="low")
        edited = await client.images.edit(made[0].bytes, "a hat", quality="low")
        async with client.images.generate_stream("a river", quality="low", partial_images=1) as stream:
            events = [event async for event in stream]

    assert [(image.width, image.height) for image in made] == [(1024, 1024)] * 2
    assert edited[0].width == 1024
    assert isinstance(events[-1], CompletedImage)
    assert {record.model for record in resource.state.requests} == {"images"}
    assert resource.state.billed_images == 4


def test_the_blocking_client_has_the_same_constructor(resource: Emulator) -> None:
    with Client.azure(resource.origin, deployment="images", api_key=KEY, rate_limit=None) as client:
        assert client.images.generate("a cat", quality="low")[0].width == 1024
        assert client.base_url == f"{resource.origin}/openai/v1"
        assert KEY not in repr(client)
        assert type(client) is Client


async def test_errors_of_azure_have_their_own_classes(resource: Emulator) -> None:
    azure = partial(azure_at, resource.origin, deployment="images")
    async with azure(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ModerationError) as moderated:
            await client.images.generate("a forbidden sexual thing")
    async with azure(deployment="missing") as client:
        with pytest.raises(NotFoundError, match="name of the deployment") as missing:
            await client.images.generate("a cat")
    async with azure(api_key="sk-invalid") as client:
        with pytest.raises(AuthenticationError):
            await client.images.generate("a cat")
    assert moderated.value.categories == ("sexual",)
    assert missing.value.code == "DeploymentNotFound"


async def test_a_model_beside_the_deployment_in_the_path_is_taken_and_ignored(resource: Emulator) -> None:
    async with azure_at(resource.origin, deployment="images", api_version=DATED) as client:
        made = await client.images.generate("a cat", quality="low", extra_body={"model": "dall-e-9"})
    assert made[0].width == 1024
    assert resource.state.requests[-1].model == "images"


@pytest.mark.parametrize("name", ["retries", "limits"])
def test_an_unknown_option_is_a_type_error(name: str) -> None:
    options: dict[str, Any] = {name: 3}
    with pytest.raises(TypeError, match=f"no option {name}="):
        AsyncClient.azure("https://mine.openai.azure.com", api_key="k", **options)

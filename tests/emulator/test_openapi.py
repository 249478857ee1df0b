"""The OpenAPI document of the emulator: it describes every route, and says what the tables say."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from starlette.routing import Route

from imagesdk.emulator import create_app
from tests.emulator.api import Connect

pytestmark = pytest.mark.anyio

FOR_PEOPLE = re.compile(r"/|/openapi\.json|/_emulator(/.*)?")
"""Routes that no client of the API calls."""


async def document_of(connect: Connect, **options: Any) -> dict[str, Any]:
    answer = await connect(**options).get("http://127.0.0.1:8000/openapi.json")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def _without_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@pytest.mark.parametrize("day", [None, date(2023, 6, 1)])
async def test_every_route_is_described_with_its_methods_and_no_other(
    connect: Connect, day: date | None
) -> None:
    described = {
        (_without_names(path), method.upper())
        for path, item in (await document_of(connect, as_of=day))["paths"].items()
        for method in item
        if method != "parameters"
    }
    served = {
        (_without_names(route.path), method)
        for route in create_app(as_of=day).routes
        if isinstance(route, Route) and not FOR_PEOPLE.fullmatch(route.path)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert described == served


async def test_parameters_are_those_of_the_model_and_the_day(connect: Connect) -> None:
    schemas = (await document_of(connect))["components"]["schemas"]
    two = schemas["dall-e-2.generations"]["properties"]
    assert two["size"]["anyOf"][0]["enum"] == ["256x256", "512x512", "1024x1024"]
    assert two["prompt"] == {"type": "string", "minLength": 1, "maxLength": 1000}
    assert "markup" in schemas["gpt-image-2.6-flare.edits.form"]["properties"]
    old = (await document_of(connect, as_of=date(2025, 5, 1)))["components"]["schemas"]
    assert "stream" in schemas["gpt-image-1.edits.form"]["properties"]
    assert "stream" not in old["gpt-image-1.edits.form"]["properties"]
    assert not [name for name in old if name.startswith("gpt-image-2")]


async def test_an_endpoint_that_was_shut_down_is_not_described(connect: Connect) -> None:
    paths = (await document_of(connect, as_of=date(2026, 6, 1)))["paths"]
    assert "/v1/images/edits" in paths
    assert "/v1/images/variations" not in paths


async def test_every_reference_leads_to_a_schema(connect: Connect) -> None:
    document = await document_of(connect)
    references = set(re.findall(r"#/components/(\w+)/([\w.-]+)", str(document)))
    assert len(references) > 30
    assert [name for kind, name in references if name not in document["components"][kind]] == []


async def test_another_server_has_no_document(connect: Connect) -> None:
    answer = await connect(quirks="localai").get("http://127.0.0.1:8000/openapi.json")
    assert answer.status_code == 404

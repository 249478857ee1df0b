"""The log of requests: what each asked for as facts, when, and on which connection."""

import httpx
import pytest

from imagesdk.emulator import Emulator
from tests.emulator.api import SMALL, Api
from tests.support.small_images import png


def test_a_request_is_logged_with_its_parameters_and_times(emulator: Emulator) -> None:
    with httpx.Client(verify=False, base_url=emulator.base_url) as http:
        answer = http.post("/images/generations", json={**SMALL, "user": "u" * 2000})

    emulator.settle()
    [record] = emulator.state.requests
    assert record.id == answer.headers["x-request-id"]
    assert record.parameters == {**SMALL, "user": f"{'u' * 40}... (2000 characters)"}
    assert (record.number, record.billed, record.complete) == (1, 1, True)
    assert record.began <= (record.answered or 0) <= (record.ended or 0)


def test_files_are_logged_as_facts_and_the_key_is_not_logged(emulator: Emulator) -> None:
    files = {"image": ("cat.png", png(4, 4), "image/png")}
    with httpx.Client(
        verify=False, base_url=emulator.base_url, headers={"authorization": "Bearer sk-mine"}
    ) as http:
        http.post("/images/edits", data={"prompt": "a beret", "model": "gpt-image-2"}, files=files)

        logged = http.get(f"{emulator.origin}/_emulator/requests")

    [record] = logged.json()["data"]
    [image] = record["images"]
    facts = {"field": "image", "filename": "cat.png", "media_type": "image/png", "size": len(png(4, 4))}
    assert {name: image[name] for name in facts} == facts
    assert record["authorized"]
    assert "sk-mine" not in logged.text


def test_the_endpoints_of_the_emulator_are_not_in_its_log(emulator: Emulator) -> None:
    for path in ("/_emulator/requests", "/_emulator/verdict", "/healthz"):
        assert httpx.get(emulator.origin + path, verify=False).status_code == 200

    assert emulator.state.requests == []


@pytest.mark.parametrize(("pooled", "connections"), [(True, 1), (False, 3)])
def test_requests_are_logged_with_their_connections(
    emulator: Emulator, pooled: bool, connections: int
) -> None:
    with httpx.Client(verify=False, base_url=emulator.base_url) as http:
        for _ in range(3):
            if pooled:
                http.get("/models")
            else:
                httpx.get(f"{emulator.base_url}/models", verify=False)

    assert len({record.connection for record in emulator.state.requests}) == connections


@pytest.mark.anyio
async def test_a_request_in_process_has_no_connection(api: Api) -> None:
    await api.generate()

    assert [record.connection for record in api.state.requests] == [None]

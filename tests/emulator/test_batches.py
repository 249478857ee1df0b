"""The Batch API: a file of requests becomes files of responses, on the clock of the emulator."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.emulator.api import Api, Clock, Connect

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

URL = "/v1/images/generations"
WINDOW = 24 * 3600


def line(custom_id: str, url: str = URL, **body: object) -> dict[str, object]:
    request = {"model": "gpt-image-2", "prompt": f"an otter {custom_id}", "quality": "low", **body}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": request}


async def upload(api: Api, lines: Sequence[object] | bytes, name: str = "in.jsonl") -> str:
    data = lines if isinstance(lines, bytes) else "\n".join(map(json.dumps, lines)).encode()
    answer = await api.post("/files", data={"purpose": "batch"}, files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    file_id: str = answer.json()["id"]
    return file_id


async def create(api: Api, lines: Sequence[object] | bytes, **terms: object) -> dict[str, Any]:
    file_id = await upload(api, lines)
    body = {"input_file_id": file_id, "endpoint": URL, "completion_window": "24h", **terms}
    answer = await api.post("/batches", json=body)
    assert answer.status_code == 200, answer.text
    batch: dict[str, Any] = answer.json()
    return batch


async def look(api: Api, batch: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/batches/{batch['id']}")).json()
    return found


async def lines_of(api: Api, file_id: str) -> list[dict[str, Any]]:
    answer = await api.get(f"/files/{file_id}/content")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    return [json.loads(text) for text in answer.text.splitlines()]


async def test_a_batch_without_a_delay_is_done_at_the_next_look(api: Api, clock: Clock) -> None:
    created = await create(api, [line(f"r{number}") for number in range(3)], metadata={"run": "night"})
    done = await look(api, created)
    results = await lines_of(api, done["output_file_id"])

    assert (created["status"], created["output_file_id"], created["metadata"]) == (
        "validating",
        None,
        {"run": "night"},
    )
    assert (done["status"], done["model"], done["error_file_id"]) == ("completed", "gpt-image-2", None)
    assert done["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    assert done["expires_at"] == int(clock.now) + WINDOW
    assert {result["custom_id"] for result in results} == {"r0", "r1", "r2"}
    assert all(result["response"]["status_code"] == 200 and result["error"] is None for result in results)
    usage = [result["response"]["body"]["usage"] for result in results]
    assert done["usage"]["output_tokens"] == sum(one["output_tokens"] for one in usage) > 0
    assert len({result["response"]["body"]["data"][0]["b64_json"] for result in results}) == 3
    assert api.state.billed_images == 3


async def test_a_batch_passes_its_states_on_the_clock(connect: Connect) -> None:
    api = connect(batch_delay=1000)
    batch = await create(api, [line(f"r{number}") for number in range(10)])
    seen: list[tuple[str, int]] = []
    for _ in range(5):
        found = await look(api, batch)
        seen.append((found["status"], found["request_counts"]["completed"]))
        api.state.clock.advance(250)

    assert seen == [
        ("validating", 0),
        ("in_progress", 2),
        ("in_progress", 5),
        ("in_progress", 7),
        ("completed", 10),
    ]
    assert (
        found["in_progress_at"] < found["finalizing_at"] < found["completed_at"] == found["created_at"] + 1000
    )


async def test_a_batch_that_is_late_expires_and_delivers_and_bills_what_was_made(connect: Connect) -> None:
    api = connect(batch_delay=2 * WINDOW)
    batch = await create(api, [line(f"r{number}") for number in range(8)])
    await look(api, batch)
    api.state.clock.advance(WINDOW)
    done = await look(api, batch)
    made, lost = await lines_of(api, done["output_file_id"]), await lines_of(api, done["error_file_id"])

    assert (done["status"], done["expired_at"]) == ("expired", done["expires_at"])
    assert len(made) == api.state.billed_images == done["request_counts"]["completed"] == 4
    assert {one["error"]["code"] for one in lost} == {"batch_expired"}
    assert {one["custom_id"] for one in made + lost} == {f"r{number}" for number in range(8)}


async def test_a_cancelled_batch_delivers_what_was_made(connect: Connect) -> None:
    api = connect(batch_delay=10_000)
    batch = await create(api, [line(f"r{number}") for number in range(4)])
    api.state.clock.advance(5000)
    assert (await look(api, batch))["status"] == "in_progress"

    cancelling = (await api.post(f"/batches/{batch['id']}/cancel")).json()
    api.state.clock.advance(600)
    done = await look(api, batch)

    assert (cancelling["status"], done["status"]) == ("cancelling", "cancelled")
    assert len(await lines_of(api, done["output_file_id"])) == 2
    assert [one["error"]["code"] for one in await lines_of(api, done["error_file_id"])] == [
        "batch_cancelled"
    ] * 2
    again = await api.post(f"/batches/{batch['id']}/cancel")
    assert (again.status_code, again.json()["error"]["message"]) == (
        409,
        "Cannot cancel a batch with status 'cancelled'.",
    )


async def test_batches_are_listed_newest_first_page_by_page(api: Api) -> None:
    ids = [(await create(api, [line("r")]))["id"] for _ in range(3)]

    first = (await api.get("/batches", params={"limit": 2})).json()
    rest = (await api.get("/batches", params={"after": first["last_id"]})).json()

    assert ([one["id"] for one in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([ids[0]], False)

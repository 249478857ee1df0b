"""What goes wrong with batches on request: in their files, their states, their requests and their downloads."""

import tracemalloc
from collections import Counter
from random import Random
from typing import Any

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import Emulator
from imagesdk.emulator.batch_input import Entry
from imagesdk.emulator.batch_results import BatchWork
from imagesdk.emulator.drawing.painting import Painting
from tests.emulator.api import Api, Connect, encoded
from tests.support.batch_files import GENERATIONS, jsonl, line

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

WINDOW = 24 * 3600
SIX = [line(f"r{number}") for number in range(6)]


async def names(api: Api, file_id: str | None) -> list[str]:
    return [one["custom_id"] for one in await api.lines(file_id)]


async def test_lines_are_missing_duplicated_and_without_a_status(api: Api) -> None:
    api.state.faults.batch(missing=["r1", "r4"], duplicated=1, no_status=["r2"])

    done = await api.look(await api.batch(SIX))
    lines = await api.lines(done["output_file_id"])
    found = Counter(one["custom_id"] for one in lines)

    assert set(found) == {"r0", "r2", "r3", "r5"}
    assert sorted(found.values()) == [1, 1, 1, 2]
    bare = [one["response"] for one in lines if one["custom_id"] == "r2"]
    assert bare[0] == {"status_code": 0, "request_id": "", "body": None}
    assert done["request_counts"] == {"total": 6, "completed": 6, "failed": 0}
    assert api.state.billed_images == 6
    later = await api.look(await api.batch(SIX))
    assert len(await names(api, later["output_file_id"])) == 6


async def test_a_line_ends_in_the_middle(api: Api) -> None:
    api.state.faults.batch(garbled=["r3"], order="given")

    done = await api.look(await api.batch(SIX))
    answer = await api.get(f"/files/{done['output_file_id']}/content")
    lines = answer.text.splitlines()

    assert (len(lines), int(answer.headers["content-length"])) == (6, len(answer.content))
    for number, text in enumerate(lines):
        assert f'"custom_id": "r{number}"' in text
        assert text.endswith("}") == (number != 3)


async def test_a_number_of_lines_fails_and_is_not_billed(api: Api) -> None:
    api.state.faults.batch(failed=2)

    done = await api.look(await api.batch(SIX))
    failed = await api.lines(done["error_file_id"])

    assert (done["status"], done["request_counts"]) == (
        "completed",
        {"total": 6, "completed": 4, "failed": 2},
    )
    assert [one["response"]["status_code"] for one in failed] == [500, 500]
    assert api.state.billed_images == 4


async def test_counts_lie_and_files_are_not_named_or_gone(api: Api) -> None:
    api.state.faults.batch(counts={"completed": 0}, no_output_file=True)
    api.state.faults.batch(files_gone=True)

    silent = await api.look(await api.batch(SIX))
    gone = await api.look(await api.batch(SIX))

    assert (silent["status"], silent["output_file_id"]) == ("completed", None)
    assert silent["request_counts"] == {"total": 6, "completed": 0, "failed": 0}
    assert (await api.get(f"/files/{gone['output_file_id']}/content")).status_code == 404


async def test_a_batch_fails_in_validation_with_any_code(api: Api) -> None:
    api.state.faults.batch(error="token_limit_exceeded", times=2)
    created = [await api.batch(SIX) for _ in range(3)]

    done = [await api.look(batch) for batch in created]

    assert [batch["status"] for batch in done] == ["failed", "failed", "completed"]
    error = done[0]["errors"]["data"][0]
    assert error["code"] == "token_limit_exceeded"
    assert error["message"].startswith("Enqueued token limit reached for gpt-image-2 in organization ")


@pytest.mark.parametrize(("stuck", "made"), [(0, 0), (0.5, 3)])
async def test_a_batch_is_stuck_until_it_expires(api: Api, stuck: float, made: int) -> None:
    api.state.faults.batch(stuck=stuck)
    batch = await api.batch(SIX)
    api.state.clock.advance(WINDOW - 1)
    waiting = await api.look(batch)
    api.state.clock.advance(1)
    done = await api.look(batch)

    assert (waiting["status"], waiting["request_counts"]["completed"]) == ("in_progress", made)
    assert (done["status"], api.state.billed_images) == ("expired", made)
    assert len(await names(api, done["error_file_id"])) == 6 - made
    assert (done["output_file_id"] is None) == (made == 0)


async def test_what_an_expired_batch_did_not_execute_is_in_no_file(api: Api) -> None:
    api.state.faults.batch(stuck=0.5, rest_missing=True)
    batch = await api.batch(SIX)
    api.state.clock.advance(WINDOW)
    done = await api.look(batch)

    assert (done["status"], done["error_file_id"], done["request_counts"]["completed"]) == (
        "expired",
        None,
        3,
    )
    assert len(await names(api, done["output_file_id"])) == 3


async def test_one_batch_is_late(connect: Connect) -> None:
    api = connect(batch_delay=100)
    api.state.faults.batch(delay=1000)
    late, usual = await api.batch(SIX), await api.batch(SIX)
    api.state.clock.advance(100)
    states = [(await api.look(batch))["status"] for batch in (late, usual)]
    api.state.clock.advance(900)

    assert states == ["in_progress", "completed"]
    assert (await api.look(late))["status"] == "completed"


async def test_a_cancellation_never_ends(connect: Connect) -> None:
    api = connect(batch_delay=1000)
    api.state.faults.batch(cancel_hangs=True)
    batch = await api.batch(SIX)
    await api.post(f"/batches/{batch['id']}/cancel")
    api.state.clock.advance(10 * WINDOW)

    assert (await api.look(batch))["status"] == "cancelling"
    assert (await api.post(f"/batches/{batch['id']}/cancel")).status_code == 200


async def test_the_list_lags(api: Api) -> None:
    api.state.faults.batch(unlisted=30)
    batch = await api.batch(SIX)

    assert (await api.get("/batches")).json()["data"] == []
    assert (await api.look(batch))["status"] == "completed"
    api.state.clock.advance(30)
    assert [one["id"] for one in (await api.get("/batches")).json()["data"]] == [batch["id"]]


async def test_results_are_shuffled_unless_another_order_is_wanted(api: Api) -> None:
    for order in ("given", "reversed"):
        api.state.faults.batch(order=order)
    lines = [line(f"r{number}") for number in range(30)]
    orders: list[list[str]] = []
    for _ in range(3):
        done = await api.look(await api.batch(lines))
        orders.append(await names(api, done["output_file_id"]))
    given = [str(one["custom_id"]) for one in lines]

    assert orders[:2] == [given, given[::-1]]
    assert orders[2] != given
    assert sorted(orders[2]) == sorted(given)


@pytest.mark.parametrize(
    "faults", [{"stuck": 2}, {"delay": -1}, {"order": "sideways"}, {"counts": {"lost": 1}}]
)
async def test_a_batch_fault_with_unknown_words_raises_value_error(api: Api, faults: Any) -> None:
    with pytest.raises(ValueError, match="|".join(faults)):
        api.state.faults.batch(**faults)
    assert len(api.state.faults) == 0


async def test_programs_in_other_languages_queue_faults_of_batches(api: Api) -> None:
    control = "http://127.0.0.1:8000/_emulator/faults"
    wrong = [
        {"lost": 1},
        {"missing": -1},
        {"missing": [1]},
        {"stuck": 2},
        {"counts": 1},
        {"order": 7},
        {"times": "x"},
    ]
    refused = [await api.post(control, json={"batch": one}) for one in wrong]
    words = {"missing": ["r0"], "failed": 1, "counts": {"failed": 0}, "order": "given", "times": 1}
    queued = await api.post(control, json={"faults": [{"batch": words}, {"fault": 503, "on": "polls"}]})
    done = await api.look(await api.batch(SIX)) if (await api.get("/batches")).status_code == 503 else {}

    assert [answer.status_code for answer in refused] == [400] * len(wrong)
    assert {"on": "batch", "fault": "missing, failed, counts, order"} in queued.json()["data"]
    assert done["request_counts"]["failed"] == 0
    assert len(await names(api, done["output_file_id"])) == 4
    assert api.state.faults.queued() == []


async def test_looks_cancellations_and_downloads_have_queues_of_their_own(api: Api) -> None:
    batch = await api.batch(SIX)
    api.state.faults.http(429, headers={"retry-after": "3"}, on="polls")
    api.state.faults.http(503, on="polls")
    api.state.faults.http(500, on="cancels")
    api.state.faults.http(404, on="contents")

    assert [(await api.get("/batches")).status_code for _ in range(3)] == [429, 503, 200]
    done = await api.look(batch)
    path = f"/batches/{batch['id']}/cancel"
    assert [(await api.post(path)).status_code for _ in range(2)] == [500, 409]
    content = f"/files/{done['output_file_id']}/content"
    assert [(await api.get(content)).status_code for _ in range(2)] == [404, 200]


def batch_over_a_socket(client: httpx.Client, lines: list[dict[str, object]] = SIX) -> dict[str, Any]:
    file = client.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", jsonl(lines))}).json()
    body = {"input_file_id": file["id"], "endpoint": GENERATIONS, "completion_window": "24h"}
    client.post("/batches", json=body)
    found: dict[str, Any] = client.get("/batches").json()["data"][0]
    return found


def collect(answer: httpx.Response, part: bytearray) -> None:
    for piece in answer.iter_raw():
        part += piece


def test_a_batch_is_created_although_the_answer_is_lost(emulator: Emulator) -> None:
    emulator.state.faults.connection(drop=True, after_work=True, on="batches")

    with httpx.Client(base_url=emulator.base_url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            batch_over_a_socket(client)
        assert len(client.get("/batches").json()["data"]) == 1


def test_a_download_breaks_in_the_middle_and_a_range_brings_the_rest(emulator: Emulator) -> None:
    emulator.reset(file_ranges=True)
    with httpx.Client(base_url=emulator.base_url) as client:
        content = f"/files/{batch_over_a_socket(client)['output_file_id']}/content"
        whole = client.get(content).content
        cut = len(whole) // 2
        emulator.state.faults.connection(truncate=cut, on="contents")
        part = bytearray()
        with client.stream("GET", content) as answer, pytest.raises(httpx.RemoteProtocolError):
            collect(answer, part)
        rest = client.get(content, headers={"range": f"bytes={cut}-"})

    assert int(answer.headers["content-length"]) == len(whole)
    assert bytes(part) == whole[:cut]
    assert (rest.status_code, rest.content) == (206, whole[cut:])


@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-99999999", 206, 5, None),
        ("bytes=9-5", 200, 0, None),
        ("bytes=-", 200, 0, None),
        ("lines=1-2", 200, 0, None),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
async def test_a_range_of_a_file_is_served_where_the_emulator_has_ranges(
    connect: Connect, wanted: str, status: int, start: int, stop: int | None
) -> None:
    api = connect(file_ranges=True)
    content = f"/files/{(await api.look(await api.batch(SIX)))['output_file_id']}/content"
    whole = (await api.get(content)).content

    answer = await api.get(content, headers={"range": wanted})

    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
        return
    assert answer.content == whole[start:stop]
    if status == 206:
        first = start % len(whole)
        last = first + len(answer.content) - 1
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


async def test_a_range_is_ignored_otherwise(api: Api) -> None:
    content = f"/files/{(await api.look(await api.batch(SIX)))['output_file_id']}/content"

    answer = await api.get(content, headers={"range": "bytes=5-9"})

    assert (answer.status_code, answer.content) == (200, (await api.get(content)).content)


async def test_every_part_of_a_file_is_that_part_of_the_whole(api: Api) -> None:
    done = await api.look(await api.batch(SIX))
    file = api.state.files.get(done["output_file_id"])
    whole = (await api.get(f"/files/{file.id}/content")).content
    dice = Random(1)

    for _ in range(200):
        start, stop = sorted(dice.sample(range(len(whole) + 1), 2))
        assert b"".join(file.pieces(start, stop)) == whole[start:stop]


def large(self: Painting, index: int) -> bytes:
    return b"x" * 100_000 + encoded(Image.new("L", (8, 8)))


def test_no_more_of_a_file_is_made_after_the_client_has_left(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Entry] = []
    entry = BatchWork.entry

    def counted(self: BatchWork, wanted: Entry) -> bytes:
        made.append(wanted)
        return entry(self, wanted)

    monkeypatch.setattr(BatchWork, "entry", counted)
    monkeypatch.setattr(Painting, "encoded", large)
    lines = [line(f"r{number}") for number in range(300)]
    with httpx.Client(base_url=emulator.base_url) as client:
        found = batch_over_a_socket(client, lines)
        with client.stream("GET", f"/files/{found['output_file_id']}/content") as answer:
            next(answer.iter_raw(1000))
    emulator.reset()  # waits for the end of the request

    assert 0 < len(made) < 300


def test_an_output_file_is_sent_without_being_held(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Painting, "encoded", large)
    lines = [line(f"r{number}") for number in range(150)]
    with httpx.Client(base_url=emulator.base_url) as client:
        found = batch_over_a_socket(client, lines)
        tracemalloc.start()
        try:
            with client.stream("GET", f"/files/{found['output_file_id']}/content") as answer:
                size = sum(len(piece) for piece in answer.iter_raw(65536))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert size == int(answer.headers["content-length"]) > 20_000_000
    assert peak < 4_000_000

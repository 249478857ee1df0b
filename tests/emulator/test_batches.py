"""The Batch API: a file of requests becomes files of responses, on the clock of the emulator."""

import base64
import json
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from imagesdk.emulator import batch_input, files
from imagesdk.emulator.drawing.painting import Painting
from tests.emulator.api import Api, Clock, Connect, png
from tests.support.batch_files import EDITS, edit_line, jsonl, line
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

WINDOW = 24 * 3600
TEN = [line(f"r{number}") for number in range(10)]


async def test_a_batch_without_a_delay_is_done_at_the_next_look(api: Api, clock: Clock) -> None:
    created = await api.batch([line(f"r{number}") for number in range(3)], metadata={"run": "night"})
    done = await api.look(created)
    results = await api.lines(done["output_file_id"])

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
    batch = await api.batch(TEN)
    seen: list[dict[str, Any]] = []
    for _ in range(5):
        seen.append(await api.look(batch))
        api.state.clock.advance(250)

    states = [(found["status"], found["request_counts"]["completed"]) for found in seen]
    running = [("in_progress", 2), ("in_progress", 5), ("in_progress", 7)]
    assert states == [("validating", 0), *running, ("completed", 10)]
    done = seen[-1]
    assert done["in_progress_at"] < done["finalizing_at"] < done["completed_at"] == done["created_at"] + 1000


async def test_a_batch_that_is_late_expires_and_delivers_and_bills_what_was_made(connect: Connect) -> None:
    api = connect(batch_delay=2 * WINDOW)
    batch = await api.batch([line(f"r{number}") for number in range(8)])
    await api.look(batch)
    api.state.clock.advance(WINDOW)
    done = await api.look(batch)
    made, lost = await api.lines(done["output_file_id"]), await api.lines(done["error_file_id"])

    assert (done["status"], done["expired_at"]) == ("expired", done["expires_at"])
    assert len(made) == api.state.billed_images == done["request_counts"]["completed"] == 4
    assert {one["error"]["code"] for one in lost} == {"batch_expired"}
    assert {one["custom_id"] for one in made + lost} == {f"r{number}" for number in range(8)}


async def test_a_cancelled_batch_delivers_what_was_made(connect: Connect) -> None:
    api = connect(batch_delay=10_000)
    batch = await api.batch([line(f"r{number}") for number in range(4)])
    api.state.clock.advance(5000)
    assert (await api.look(batch))["status"] == "in_progress"

    cancelling = (await api.post(f"/batches/{batch['id']}/cancel")).json()
    api.state.clock.advance(600)
    done = await api.look(batch)

    assert (cancelling["status"], done["status"]) == ("cancelling", "cancelled")
    assert len(await api.lines(done["output_file_id"])) == 2
    assert [one["error"]["code"] for one in await api.lines(done["error_file_id"])] == ["batch_cancelled"] * 2
    again = await api.post(f"/batches/{batch['id']}/cancel")
    assert (again.status_code, again.json()["error"]["message"]) == (
        409,
        "Cannot cancel a batch with status 'cancelled'.",
    )


async def test_batches_are_listed_newest_first_page_by_page(api: Api) -> None:
    ids = [(await api.batch([line("r")]))["id"] for _ in range(3)]

    first = (await api.get("/batches", params={"limit": 2})).json()
    rest = (await api.get("/batches", params={"after": first["last_id"]})).json()

    assert ([one["id"] for one in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([ids[0]], False)


async def test_a_batch_costs_half_and_a_single_request_the_list_price(api: Api) -> None:
    request = line("r")["body"]
    answer = await api.post("/images/generations", json=request)
    batch = await api.batch([line("r")])
    result = (await api.lines((await api.look(batch))["output_file_id"]))[0]["response"]["body"]

    assert answer.json()["usage"] == result["usage"]
    assert api.state.bill.dollars["live"] == 2 * api.state.bill.dollars["batch"] > Decimal("0.003")
    assert (api.state.bill.images, api.state.bill.jobs) == ({"live": 1, "batch": 1}, {"r": 1})


async def test_a_model_without_a_batch_price_is_billed_without_one(api: Api) -> None:
    await api.look(await api.batch([line("r", model="gpt-image-2.6-flare", n=2)]))

    assert (api.state.bill.unpriced["batch"], api.state.bill.dollars["batch"]) == (2, Decimal(0))


async def test_requests_that_fail_are_in_the_error_file_and_cost_nothing(api: Api) -> None:
    lines = [
        line("good"),
        line("small", size="16x16"),
        line("bad", prompt="forbidden"),
        line("live", stream=True),
    ]
    done = await api.look(await api.batch(lines))
    failed = {one["custom_id"]: one["response"] for one in await api.lines(done["error_file_id"])}

    assert done["request_counts"] == {"total": 4, "completed": 1, "failed": 3}
    codes = {name: (one["status_code"], one["body"]["error"]["code"]) for name, one in failed.items()}
    assert codes == {
        "small": (400, "invalid_value"),
        "bad": (400, "moderation_blocked"),
        "live": (400, "unsupported_parameter"),
    }
    assert [one["custom_id"] for one in await api.lines(done["output_file_id"])] == ["good"]
    assert api.state.billed_images == 1


async def test_a_batch_of_which_everything_failed_is_completed_without_an_output_file(api: Api) -> None:
    done = await api.look(await api.batch([line("r", prompt="forbidden")]))

    assert (done["status"], done["output_file_id"]) == ("completed", None)
    assert len(await api.lines(done["error_file_id"])) == 1


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp", "gif", "svg"])
async def test_every_image_is_whole_and_names_its_request(api: Api, output_format: str) -> None:
    model = {"model": "gpt-image-2.6-flare"} if output_format in {"gif", "svg"} else {}
    custom_ids = ['a -- \u00e9/"b64_json": ""', "b"]
    done = await api.look(
        await api.batch([line(name, output_format=output_format, **model) for name in custom_ids])
    )
    results = {one["custom_id"]: one["response"]["body"] for one in await api.lines(done["output_file_id"])}

    assert set(results) == set(custom_ids)
    for name, mark in zip(custom_ids, (b"%C3%A9", b"b 0"), strict=True):
        data = base64.b64decode(results[name]["data"][0]["b64_json"])
        assert mark in data
        if output_format == "svg":
            assert data.rstrip().endswith(b"</svg>")
        else:
            with Image.open(BytesIO(data)) as image:
                image.load()
                assert image.format == output_format.upper()


@pytest.mark.parametrize(("options", "count"), [({}, 8), ({"batch_drawings": 1}, 1)])
async def test_a_few_drawings_serve_all_lines_and_no_two_images_are_equal(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], count: int
) -> None:
    drawn: list[int] = []
    draw = Painting.encoded

    def counted(self: Painting, index: int) -> bytes:
        drawn.append(index)
        return draw(self, index)

    monkeypatch.setattr(Painting, "encoded", counted)
    api = connect(**options)
    done = await api.look(await api.batch([line(f"r{number}", n=10) for number in range(2)]))
    bodies = [one["response"]["body"] for one in await api.lines(done["output_file_id"])]

    assert len(drawn) == count
    assert len({one["b64_json"] for body in bodies for one in body["data"]}) == 20


async def test_an_edit_names_uploaded_files_which_may_be_deleted_after_it(api: Api) -> None:
    photo = (await api.post("/files", data={"purpose": "vision"}, files={"file": ("x.png", png())})).json()[
        "id"
    ]
    lines = [edit_line("hat", images=[{"file_id": photo}]), edit_line("lost", images=[{"file_id": "file-x"}])]
    done = await api.look(await api.batch(lines, endpoint=EDITS))
    await api.delete(f"/files/{photo}")
    made, lost = await api.lines(done["output_file_id"]), await api.lines(done["error_file_id"])

    assert made[0]["response"]["body"]["usage"]["input_tokens_details"]["image_tokens"] == 4
    assert (lost[0]["custom_id"], lost[0]["response"]["body"]["error"]["param"]) == (
        "lost",
        "images[0].file_id",
    )


@pytest.mark.parametrize(
    ("data", "code", "number"),
    [
        (jsonl([line("a")]) + b"{]\n", "invalid_json_line", 2),
        (jsonl([line("a"), line("a")]), "duplicate_custom_id", 2),
        (jsonl([line("a"), line("b", model="gpt-image-1")]), "mismatched_model", 2),
        (jsonl([line("a"), edit_line("b")]), "invalid_url", 2),
        (jsonl([{**line("a"), "method": "GET"}]), "invalid_value", 1),
        (
            jsonl([{"custom_id": "a", "url": "/v1/images/generations", "body": {}}]),
            "missing_required_parameter",
            1,
        ),
        (jsonl([line("a", model="gpt-5")]), "model_not_found", 1),
        (jsonl([line("a", model="dall-e-2")]), "model_not_supported", 1),
        (b"\n\n", "empty_file", None),
    ],
)
async def test_a_file_that_is_wrong_fails_its_batch_in_validation(
    api: Api, data: bytes, code: str, number: int | None
) -> None:
    done = await api.look(await api.batch(data))

    assert (done["status"], done["output_file_id"], done["request_counts"]["total"]) == ("failed", None, 0)
    assert [(one["code"], one["line"]) for one in done["errors"]["data"]] == [(code, number)]
    assert api.state.billed_images == 0


async def test_more_than_50_000_requests_fail_a_batch(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert batch_input.MAX_LINES == 50_000
    monkeypatch.setattr(batch_input, "MAX_LINES", 3)
    fits, exceeds = [await api.look(await api.batch(TEN[:count])) for count in (3, 4)]

    assert fits["status"] == "completed"
    assert [error["code"] for error in exceeds["errors"]["data"]] == ["too_many_requests"]


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"endpoint": "/v1/images/variations"}, "endpoint"),
        ({"endpoint": "/v1/chat/completions"}, "endpoint"),
        ({"completion_window": "48h"}, "completion_window"),
        ({"input_file_id": "file-x"}, "input_file_id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3599}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
        ({"priority": 1}, "priority"),
    ],
)
async def test_an_invalid_batch_is_rejected(api: Api, changed: dict[str, Any], param: str) -> None:
    upload = {"file": ("in.jsonl", jsonl([line("a")]))}
    file = (await api.post("/files", data={"purpose": "batch"}, files=upload)).json()["id"]
    body = {
        "input_file_id": file,
        "endpoint": "/v1/images/generations",
        "completion_window": "24h",
        **changed,
    }

    error = error_of(await api.post("/batches", json=body))

    assert error["param"] == param
    assert len(api.state.batches) == 0


async def test_the_file_of_a_batch_has_the_right_purpose_and_name(api: Api) -> None:
    content = {"file": ("in.txt", b"{}")}
    wrong_name = error_of(await api.post("/files", data={"purpose": "batch"}, files=content))
    vision = (await api.post("/files", data={"purpose": "vision"}, files=content)).json()["id"]
    body = {"input_file_id": vision, "endpoint": "/v1/images/generations", "completion_window": "24h"}

    assert wrong_name["message"] == "Invalid file format for Batch API. Must be .jsonl"
    assert error_of(await api.post("/batches", json=body))["param"] == "input_file_id"


async def test_a_file_for_a_batch_has_200_mb_at_most(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert batch_input.MAX_INPUT == 200 * 1024 * 1024
    monkeypatch.setattr(files, "MAX_INPUT", 10)
    answers = [
        await api.post("/files", data={"purpose": purpose}, files={"file": ("in.jsonl", b"x" * 11)})
        for purpose in ("batch", "user_data")
    ]

    assert error_of(answers[0])["message"] == "File is too large."
    assert answers[1].status_code == 200


async def test_a_batch_that_is_cancelled_in_validation_has_no_files(connect: Connect) -> None:
    api = connect(batch_delay=1000)
    batch = await api.batch(TEN)
    cancelling = (await api.post(f"/batches/{batch['id']}/cancel")).json()
    api.state.clock.advance(100)
    done = await api.look(batch)

    assert (cancelling["status"], done["status"]) == ("cancelling", "cancelled")
    assert (done["output_file_id"], done["error_file_id"], done["request_counts"]["total"]) == (None, None, 0)
    assert api.state.billed_images == 0


async def test_output_files_expire_when_the_batch_asks_for_it(api: Api) -> None:
    terms = {"anchor": "created_at", "seconds": 3600}
    done = await api.look(await api.batch([line("a")], output_expires_after=terms))
    path = f"/files/{done['output_file_id']}"
    file = (await api.get(path)).json()

    assert (file["purpose"], file["expires_at"]) == ("batch_output", file["created_at"] + 3600)
    assert file["bytes"] == len((await api.get(f"{path}/content")).content)
    api.state.clock.advance(3600)
    assert (await api.get(f"{path}/content")).status_code == 404


async def test_images_came_to_the_batch_api_on_2026_02_10(connect: Connect) -> None:
    before, since = connect(as_of=date(2026, 2, 9)), connect(as_of=date(2026, 2, 10))
    upload = {"file": ("in.jsonl", jsonl([line("a", model="gpt-image-1.5")]))}
    file = (await since.post("/files", data={"purpose": "batch"}, files=upload)).json()["id"]
    body = {"input_file_id": file, "endpoint": "/v1/images/generations", "completion_window": "24h"}

    assert (await since.post("/batches", json=body)).status_code == 200
    assert "'/v1/images/generations'" in error_of(await before.post("/batches", json=body))["message"]
    assert (await connect(as_of=date(2024, 4, 14)).post("/batches", json=body)).status_code == 404


async def test_waiting_batches_share_a_limit_of_tokens(connect: Connect) -> None:
    api = connect(batch_delay=1000, batch_tokens=5)
    first = await api.batch([line("a", prompt="x" * 16)])
    api.state.clock.advance(100)
    assert (await api.look(first))["status"] == "in_progress"
    second = await api.batch([line("b", prompt="x" * 16)])
    api.state.clock.advance(100)
    refused = await api.look(second)
    api.state.clock.advance(900)
    third = await api.batch([line("b", prompt="x" * 16)])
    api.state.clock.advance(1000)

    assert (refused["status"], refused["errors"]["data"][0]["code"]) == ("failed", "token_limit_exceeded")
    assert "Limit: 5 enqueued tokens." in refused["errors"]["data"][0]["message"]
    assert (await api.look(third))["status"] == "completed"


async def test_uploads_are_limited_by_the_minute(connect: Connect) -> None:
    api = connect(upload_limit="2/min")
    answers = [
        await api.post("/files", data={"purpose": "vision"}, files={"file": ("x.png", b"x")})
        for _ in range(3)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "file uploads per minute" in answers[2].json()["error"]["message"]
    api.state.clock.advance(60)
    assert (
        await api.post("/files", data={"purpose": "vision"}, files={"file": ("x.png", b"x")})
    ).status_code == 200


async def test_the_server_says_when_to_look_again_until_the_batch_ends(connect: Connect) -> None:
    api = connect(batch_delay=10, poll_after_ms=2500)
    batch = await api.batch([line("a")])
    waiting = await api.get(f"/batches/{batch['id']}")
    api.state.clock.advance(10)
    done = await api.get(f"/batches/{batch['id']}")

    assert waiting.headers["openai-poll-after-ms"] == "2500"
    assert "openai-poll-after-ms" not in done.headers


async def test_an_unknown_batch_is_a_404(api: Api) -> None:
    for method, path in (("GET", ""), ("POST", "/cancel")):
        error = error_of(await api.request(method, f"/batches/batch_x{path}"), 404)
        assert error["message"] == "No batch found with id 'batch_x'."
    assert error_of(await api.get("/batches", params={"limit": 101}))["param"] == "limit"
    assert error_of(await api.get("/batches", params={"after": "batch_x"}), 404)["param"] == "after"


async def test_azure_names_deployments_and_lets_no_batch_expire(connect: Connect) -> None:
    api = connect(quirks="azure", batch_delay=3 * WINDOW)
    api.base_url = "http://127.0.0.1:8000/openai/v1"
    batch = await api.batch([line("r", model="our-images")])
    api.state.clock.advance(2 * WINDOW)
    late = await api.look(batch)
    api.state.clock.advance(WINDOW)
    done = await api.look(batch)

    assert (late["status"], done["status"], done["model"]) == ("in_progress", "completed", "our-images")


async def test_other_servers_have_no_batches(connect: Connect) -> None:
    assert (await connect(quirks="localai").get("/batches")).status_code == 404


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
bodies = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("model", "prompt", "n", "size", "stream", "images", "svg", "mask"), values),
)
lines = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": values | st.text(max_size=5),
        "method": st.just("POST") | values,
        "url": st.just("/v1/images/generations") | values,
        "body": bodies | bodies.map(lambda body: {**body, "model": "gpt-image-2", "prompt": "x"}),
    },
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines | values, max_size=3), st.binary(max_size=10))
async def test_no_file_breaks_the_emulator(api: Api, found: list[object], rest: bytes) -> None:
    batch = await api.batch(jsonl(found) + rest)

    assert (await api.look(batch))["status"] in {"completed", "failed"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "input_file_id": values,
            "endpoint": st.just("/v1/images/edits") | values,
            "completion_window": st.just("24h") | values,
            "metadata": values,
            "output_expires_after": values,
        },
    )
)
async def test_no_creation_breaks_the_emulator(api: Api, body: dict[str, object]) -> None:
    answer = await api.post(
        "/batches", content=json.dumps(body), headers={"content-type": "application/json"}
    )

    assert set(error_of(answer)) >= {"message", "param"}

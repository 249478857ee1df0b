"""Headers, keys, hosts, models, malformed requests, and the recorded state."""

import json
import re
from datetime import date

import pytest

from tests.emulator.api import SMALL, Api, Connect, file, png
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

JSON = {"content-type": "application/json"}
HEAD = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
OLD = ["dall-e-2", "dall-e-3"]
FIRST = [
    "gpt-image-1",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-1.5-2025-12-16",
    "chatgpt-image-latest",
]
TWO = ["gpt-image-2", "gpt-image-2-2026-04-21"]
TWO_FIVE = [f"gpt-image-2.5-{kind}{day}" for kind in ("sunburst", "flare") for day in ("", "-2026-09-08")]
DEEP, LONG = b"[" * 100_000, b'{"n": 1' + b"0" * 5000 + b"}"
TWO_SIX = ["gpt-image-2.6-sunburst", "gpt-image-2.6-flare"]


async def test_every_response_has_the_headers_of_openai(api: Api) -> None:
    answers = [
        await api.generate(),
        await api.post("/images/generations", json={}),
        await api.get("/nowhere"),
        await api.get("/models"),
        await api.get("/models", headers={"host": "evil.example"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 400, 404, 200, 421]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    for answer in answers:
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["openai-processing-ms"].isdecimal()
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-organization"]


@pytest.mark.parametrize(
    ("method", "path", "status", "what"),
    [
        ("POST", "/v1/images/paintings", 404, "URL"),
        ("GET", "/nothing", 404, "URL"),
        ("POST", "/v1/images/generations/", 404, "URL"),
        ("GET", "/v1/models/", 404, "URL"),
        ("GET", "/v1/images/edits", 405, "method for URL"),
    ],
)
async def test_an_unknown_url_or_method_gets_an_error_object(
    api: Api, method: str, path: str, status: int, what: str
) -> None:
    answer = await api.request(method, f"http://127.0.0.1{path}", content=b"x")

    text = f"Invalid {what} ({method} {path})"
    assert [*error_of(answer, status).values()] == [text, "invalid_request_error", None, None]
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        (None, None, "You didn't provide an API key."),
        ("Bearer ", None, "You didn't provide an API key."),
        ("Basic eDp5", None, "You didn't provide an API key."),
        ("Bearer sk-invalid", "invalid_api_key", "Incorrect API key provided: sk-invalid."),
    ],
)
async def test_a_required_key_may_be_any_but_the_invalid_one(
    connect: Connect, key: str | None, code: str | None, message: str
) -> None:
    api = connect(require_key=True)

    answer = await api.post("/images/generations", json=SMALL, headers={"authorization": key} if key else {})

    error = error_of(answer, 401)
    assert (error["code"], error["message"].startswith(message)) == (code, True)
    assert (await api.get("/models", headers={"authorization": "Bearer sk-x"})).status_code == 200
    assert (await connect().get("/models")).status_code == 200


async def test_the_state_records_each_request_but_not_its_key(api: Api) -> None:
    body = {**SMALL, "n": 3, "prompt": "an otter"}
    headers = {"idempotency-key": "key-1", "user-agent": "tester/1", "authorization": "Bearer sk-very-secret"}

    for _ in range(2):
        await api.post("/images/generations", json=body, headers=headers)
    await api.generate(n=99)

    good, again, bad = api.state.requests
    assert (good.method, good.path) == ("POST", "/v1/images/generations")
    assert (good.idempotency_key, good.user_agent) == ("key-1", "tester/1")
    assert (good.model, good.n, good.prompt, good.status) == ("dall-e-2", 3, "an otter", 200)
    assert (bad.idempotency_key, bad.n, bad.status) == (None, 99, 400)
    assert [record.authorized for record in api.state.requests] == [True, True, False]
    assert "sk-very-secret" not in repr(api.state)
    # An idempotency key changes nothing: both requests were worked on.
    assert (again.status, api.state.billed_images) == (200, 6)


async def test_the_state_records_at_most_ten_thousand_requests(api: Api) -> None:
    await api.get("/models")
    api.state.requests[:] = api.state.requests * 10_000

    await api.get("/nowhere")

    assert len(api.state.requests) == 10_000
    assert api.state.requests[-1].path == "/v1/nowhere"


async def test_a_key_that_looks_real_is_logged_once_without_the_key(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-proj-" + "A1_b-" * 12
    for value in ("none", "sk-test-key", key, key):
        await api.get("/models", headers={"authorization": f"Bearer {value}"})

    [warning] = [record.getMessage() for record in caplog.records if record.name == "imagesdk"]
    assert "a key that looks real" in warning
    assert key not in caplog.text + repr(api.state)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "testserver"])
async def test_loopback_names_are_served(connect: Connect, host: str) -> None:
    assert (await connect(host=host).get("/models")).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "192.168.1.7"]
)
async def test_a_web_page_that_points_its_name_at_this_machine_is_rejected(
    connect: Connect, host: str
) -> None:
    assert "loopback" in error_of(await connect(host=host).generate(), 421)["message"]
    assert (await connect(host=host, allow_remote=True).get("/models")).status_code == 200


@pytest.mark.parametrize(
    ("day", "models"),
    [
        (date(2023, 6, 1), ["dall-e-2"]),
        (date(2023, 11, 6), OLD),
        (date(2025, 4, 23), [*OLD, "gpt-image-1"]),
        (date(2026, 5, 11), [*OLD, *FIRST, *TWO]),
        (date(2026, 5, 12), [*FIRST, *TWO]),
        (date(2026, 11, 3), [*FIRST[1:], *TWO, *TWO_FIVE]),
        (date(2026, 12, 1), [*TWO, *TWO_FIVE, *TWO_SIX]),
        (None, [*OLD, *FIRST, *TWO, *TWO_FIVE, *TWO_SIX]),
    ],
)
async def test_the_list_has_the_models_of_the_day(
    connect: Connect, day: date | None, models: list[str]
) -> None:
    answer = (await connect(as_of=day).get("/models")).json()

    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == models


async def test_a_model_has_a_shutdown_date(api: Api) -> None:
    assert (await api.get("/models/dall-e-2")).json()["shutdown_date"] == "2026-05-12"
    assert (await api.get("/models/gpt-image-1.5-2025-12-16")).json()["shutdown_date"] == "2026-12-01"
    model = {"id": TWO[1], "object": "model", "created": 1_776_729_600, "owned_by": "system"}
    assert (await api.get(f"/models/{TWO[1]}")).json() == {**model, "shutdown_date": None}
    assert error_of(await api.get("/models/dall-e-9"), 404)["code"] == "model_not_found"


async def test_the_health_check_responds(api: Api) -> None:
    assert (await api.get("http://127.0.0.1/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"prompt": "\\ud800"}', DEEP, LONG]
)
async def test_malformed_json_is_a_bad_request(api: Api, content: bytes) -> None:
    error = error_of(await api.post("/images/generations", content=content, headers=JSON))

    assert error["message"].startswith("We could not parse the JSON body of your request.")


async def test_nan_and_infinity_in_json_are_invalid_types(api: Api) -> None:
    content = json.dumps({**SMALL, "n": float("nan"), "user": float("inf")})

    error = error_of(await api.post("/images/generations", content=content, headers=JSON))

    assert error["code"] == "invalid_type"


@pytest.mark.parametrize(
    ("path", "content_type", "expected"),
    [
        ("/images/generations", "text/plain", "application/json"),
        ("/images/generations", "multipart/form-data; boundary=x", "application/json"),
        ("/images/edits", "text/plain", "application/json' or 'multipart/form-data"),
        ("/images/edits", None, "application/json' or 'multipart/form-data"),
        ("/images/variations", "application/x-www-form-urlencoded", "multipart/form-data"),
    ],
)
async def test_a_body_of_the_wrong_media_type_is_a_bad_request(
    api: Api, path: str, content_type: str | None, expected: str
) -> None:
    headers = {"content-type": content_type} if content_type else {}

    error = error_of(await api.post(path, content=b"x", headers=headers))

    assert error["code"] == "unsupported_content_type"
    assert f"only accepts '{expected}' requests" in error["message"]


@pytest.mark.parametrize(
    ("terms", "content"),
    [
        ("", b"x"),
        ("; boundary=b", b"no boundary"),
        ("; boundary=b", b"--b\r\nbroken header\r\n\r\nx\r\n--b--"),
        ("; boundary=b", b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--"),
        ("; boundary=b", HEAD % b"image" + b"x"),
        ("; boundary=b", b""),
        ("; boundary=b; charset=unicode_escape", HEAD % b"\\ud800" + b"\\ud800\r\n--b--\r\n"),
    ],
)
async def test_a_malformed_form_is_a_bad_request(api: Api, terms: str, content: bytes) -> None:
    headers = {"content-type": f"multipart/form-data{terms}"}

    answer = await api.post("/images/edits", content=content, headers=headers)

    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_form_with_a_hundred_files_is_a_bad_request(api: Api) -> None:
    assert "Too many files" in error_of(await api.edit(*[file("image[]", png())] * 100))["message"]


async def test_a_form_field_longer_than_a_mebibyte_is_checked(api: Api) -> None:
    error = error_of(await api.edit(file("image", png()), prompt="x" * 2_000_000))

    assert error["code"] == "string_above_max_length"


async def test_an_unverified_organization_cannot_use_gpt_image_models(connect: Connect) -> None:
    api = connect(verified=False)

    error = error_of(await api.generate(model="gpt-image-2"), 403)

    assert error["message"].startswith("Your organization must be verified to use the model `gpt-image-2`.")
    assert (await api.generate()).status_code == 200
    assert api.state.billed_images == 1

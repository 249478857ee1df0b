"""The Files API: files are uploaded, described, listed, downloaded and deleted, and they expire."""

import httpx
import pytest

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.bodies import SentFile
from imagesdk.emulator.files import FileStore
from tests.emulator.api import Api, Clock
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


async def upload(api: Api, data: bytes = b"x", name: str = "a.png", /, **terms: str) -> httpx.Response:
    form = {"purpose": "vision", **terms}
    name = "a.jsonl" if form["purpose"] == "batch" else name
    return await api.post("/files", data=form, files={"file": (name, data, "image/png")})


async def an_id(api: Api, **terms: str) -> str:
    name: str = (await upload(api, **terms)).json()["id"]
    return name


async def test_an_uploaded_file_is_described_and_downloaded_as_the_api_does_it(api: Api) -> None:
    answer = await upload(api, b"\x89PNG\xff", "otter.png")
    file = answer.json()
    content = await api.get(f"/files/{file['id']}/content")

    assert (await api.get(f"/files/{file['id']}")).json() == file
    assert (content.content, content.headers["content-type"]) == (b"\x89PNG\xff", "application/octet-stream")
    assert file.pop("id").startswith("file-")
    described = {"object": "file", "purpose": "vision", "filename": "otter.png", "bytes": 5}
    times = {"created_at": 1_700_000_000, "expires_at": None}
    assert file == {**described, **times, "status": "processed", "status_details": None}
    assert len(api.state.files) == 1


async def test_a_deleted_file_is_gone(api: Api) -> None:
    name = await an_id(api)

    assert (await api.delete(f"/files/{name}")).json() == {"id": name, "object": "file", "deleted": True}
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        error = error_of(await api.request(method, f"/files/{name}{path}"), 404)
        assert (error["message"], error["param"]) == (f"No such File object: {name}", "id")


async def test_files_are_listed_newest_first_page_by_page(api: Api) -> None:
    empty = (await api.get("/files")).json()
    names = [await an_id(api) for _ in range(3)]
    batch = await an_id(api, purpose="batch")
    oldest_first = {"purpose": "vision", "order": "asc"}

    whole = (await api.get("/files")).json()
    vision = (await api.get("/files", params={**oldest_first, "limit": 2})).json()
    rest = (await api.get("/files", params={**oldest_first, "after": names[1]})).json()

    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert [file["id"] for file in whole.pop("data")] == [batch, *reversed(names)]
    assert whole == {"object": "list", "first_id": batch, "last_id": names[0], "has_more": False}
    assert ([file["id"] for file in vision["data"]], vision["has_more"]) == (names[:2], True)
    assert ([file["id"] for file in rest["data"]], rest["has_more"]) == (names[2:], False)


async def test_a_file_expires_at_its_time(api: Api, clock: Clock) -> None:
    file = (await upload(api, **{ANCHOR: "created_at", SECONDS: "3600"})).json()
    batch = (await upload(api, purpose="batch")).json()

    assert file["expires_at"] == file["created_at"] + 3600
    assert batch["expires_at"] == batch["created_at"] + 30 * 24 * 3600
    clock.now += 3599
    assert (await api.get(f"/files/{file['id']}")).status_code == 200
    clock.now += 1
    assert (await api.get(f"/files/{file['id']}")).status_code == 404
    assert [left["id"] for left in (await api.get("/files")).json()["data"]] == [batch["id"]]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"purpose": "cats"}, "purpose", "invalid_value"),
        ({"cats": "1"}, "cats", "unknown_parameter"),
        ({SECONDS: "3600"}, ANCHOR, "missing_required_parameter"),
        ({ANCHOR: "now", SECONDS: "3600"}, ANCHOR, "invalid_value"),
        ({ANCHOR: "created_at", SECONDS: "3599"}, SECONDS, "integer_below_min_value"),
        ({ANCHOR: "created_at", SECONDS: "2592001"}, SECONDS, "integer_above_max_value"),
    ],
)
async def test_an_upload_with_invalid_fields_is_rejected(
    api: Api, fields: dict[str, str], param: str, code: str
) -> None:
    error = error_of(await upload(api, **fields))

    assert (error["param"], error["code"]) == (param, code)
    assert len(api.state.files) == 0


@pytest.mark.parametrize(
    ("form", "part", "message"),
    [
        ({"purpose": "vision"}, "image", "Missing required parameter: 'file'."),
        ({"purpose": "vision", "file": "x"}, "other", "'file': expected a file, but got a string instead."),
        ({}, "file", "Missing required parameter: 'purpose'."),
    ],
)
async def test_an_upload_needs_a_file_and_a_purpose(
    api: Api, form: dict[str, str], part: str, message: str
) -> None:
    error = error_of(await api.post("/files", data=form, files={part: ("x.png", b"x", "image/png")}))

    assert error["message"].endswith(message)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "order=up", "cats=1"])
async def test_an_invalid_query_of_the_list_is_rejected(api: Api, query: str) -> None:
    error_of(await api.get(f"/files?{query}"))


async def test_files_for_assistants_cannot_be_downloaded(api: Api) -> None:
    error = error_of(await api.get(f"/files/{await an_id(api, purpose='assistants')}/content"))

    assert error["message"] == "Not allowed to download files of purpose: assistants"


@pytest.mark.parametrize("bounds", [{"max_count": 1}, {"max_bytes": 10}])
def test_a_full_store_rejects_new_files_and_keeps_the_old_ones(clock: Clock, bounds: dict[str, int]) -> None:
    store, file = FileStore(clock, **bounds), SentFile("file", "image/png", 6, bytes(6), "x.png")
    kept = store.add(file, "vision", None)

    with pytest.raises(Refusal, match="storage quota"):
        store.add(file, "vision", None)

    assert store.get(kept.id) == kept

"""The Files API: files are uploaded, described, listed, downloaded and deleted, and they expire."""

from collections.abc import Callable
from typing import Protocol

import httpx
import pytest

from imagesdk.emulator import EmulatorState
from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.bodies import SentFile
from imagesdk.emulator.files import FileStore, Upload
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

Connect = Callable[..., httpx.AsyncClient]


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


async def upload(
    api: httpx.AsyncClient,
    data: bytes = b"x",
    name: str = "a.png",
    purpose: str = "vision",
    terms: dict[str, str] | None = None,
) -> httpx.Response:
    form = {"purpose": purpose, **(terms or {})}
    return await api.post("/files", data=form, files={"file": (name, data, "image/png")})


async def test_an_uploaded_file_is_described_as_the_api_describes_it(
    connect: Connect, state: EmulatorState
) -> None:
    api = connect()

    answer = await upload(api, b"12345", "otter.png")

    file = answer.json()
    assert answer.status_code == 200
    assert file.pop("id").startswith("file-")
    assert file == {
        "object": "file",
        "purpose": "vision",
        "filename": "otter.png",
        "bytes": 5,
        "created_at": 1_700_000_000,
        "expires_at": None,
        "status": "processed",
        "status_details": None,
    }
    assert (await api.get(f"/files/{answer.json()['id']}")).json() == answer.json()
    assert len(state.files) == 1


async def test_the_content_of_a_file_is_what_was_sent(connect: Connect) -> None:
    api = connect()
    name = (await upload(api, b"\x89PNG\x00\xff")).json()["id"]

    answer = await api.get(f"/files/{name}/content")

    assert (answer.content, answer.headers["content-type"]) == (
        b"\x89PNG\x00\xff",
        "application/octet-stream",
    )


async def test_a_deleted_file_is_gone(connect: Connect) -> None:
    api = connect()
    name = (await upload(api)).json()["id"]

    assert (await api.delete(f"/files/{name}")).json() == {"id": name, "object": "file", "deleted": True}
    for answer in (
        await api.get(f"/files/{name}"),
        await api.get(f"/files/{name}/content"),
        await api.delete(f"/files/{name}"),
    ):
        error = error_of(answer, 404)
        assert (error["message"], error["param"]) == (f"No such File object: {name}", "id")


async def test_files_are_listed_newest_first_page_by_page(connect: Connect) -> None:
    api = connect()
    names = [(await upload(api, name=f"{number}.png")).json()["id"] for number in range(3)]
    batch = (await upload(api, purpose="batch")).json()["id"]

    whole = (await api.get("/files")).json()
    vision = (await api.get("/files", params={"purpose": "vision", "order": "asc", "limit": 2})).json()
    rest = (await api.get("/files", params={"purpose": "vision", "order": "asc", "after": names[1]})).json()

    assert [file["id"] for file in whole["data"]] == [batch, *reversed(names)]
    assert (whole["object"], whole["first_id"], whole["last_id"], whole["has_more"]) == (
        "list",
        batch,
        names[0],
        False,
    )
    assert [file["id"] for file in vision["data"]] == names[:2]
    assert vision["has_more"] is True
    assert [file["id"] for file in rest["data"]] == names[2:]


async def test_a_file_expires_at_its_time(connect: Connect, clock: Clock) -> None:
    api = connect()
    terms = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = (await upload(api, terms=terms)).json()

    assert file["expires_at"] == file["created_at"] + 3600
    clock.now += 3599
    assert (await api.get(f"/files/{file['id']}")).status_code == 200
    clock.now += 1
    assert (await api.get(f"/files/{file['id']}")).status_code == 404
    assert (await api.get("/files")).json()["data"] == []


async def test_a_file_for_a_batch_is_kept_for_thirty_days(connect: Connect) -> None:
    file = (await upload(connect(), purpose="batch")).json()

    assert file["expires_at"] - file["created_at"] == 30 * 24 * 3600


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"purpose": "cats"}, "purpose", "invalid_value"),
        ({"cats": "1"}, "cats", "unknown_parameter"),
        ({"expires_after[seconds]": "3600"}, "expires_after[anchor]", "missing_required_parameter"),
        (
            {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            "expires_after[anchor]",
            "invalid_value",
        ),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            "expires_after[seconds]",
            "integer_below_min_value",
        ),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
            "expires_after[seconds]",
            "integer_above_max_value",
        ),
    ],
)
async def test_an_upload_with_invalid_fields_is_rejected(
    connect: Connect, state: EmulatorState, fields: dict[str, str], param: str, code: str
) -> None:
    error = error_of(await upload(connect(), terms=fields))

    assert (error["param"], error["code"]) == (param, code)
    assert len(state.files) == 0


async def test_an_upload_needs_a_file_and_a_purpose(connect: Connect) -> None:
    api = connect()

    nothing = await api.post(
        "/files", data={"purpose": "vision"}, files={"image": ("x.png", b"x", "image/png")}
    )
    text = await api.post(
        "/files", data={"purpose": "vision", "file": "x"}, files={"other": ("x.png", b"x", "image/png")}
    )
    aimless = await api.post("/files", files={"file": ("x.png", b"x", "image/png")})

    assert error_of(nothing)["message"] == "Missing required parameter: 'file'."
    assert error_of(text)["message"] == "Invalid type for 'file': expected a file, but got a string instead."
    assert error_of(aimless)["message"] == "Missing required parameter: 'purpose'."


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"order": "up"}, {"cats": "1"}])
async def test_an_invalid_query_of_the_list_is_rejected(connect: Connect, query: dict[str, str]) -> None:
    error_of(await connect().get("/files", params=query))


async def test_files_for_assistants_cannot_be_downloaded(connect: Connect) -> None:
    api = connect()
    name = (await upload(api, purpose="assistants")).json()["id"]

    error = error_of(await api.get(f"/files/{name}/content"))

    assert error["message"] == "Not allowed to download files of purpose: assistants"


def test_a_full_store_rejects_new_files_and_keeps_the_old_ones(clock: Clock) -> None:
    def a_file(size: int) -> Upload:
        return Upload(SentFile("file", "image/png", size, bytes(size), "x.png"), "vision", None)

    few, small = FileStore(clock, max_count=1), FileStore(clock, max_bytes=10)
    kept = few.add(a_file(1)), small.add(a_file(6))

    for store in (few, small):
        with pytest.raises(Refusal, match="storage quota"):
            store.add(a_file(5))
    assert (few.get(kept[0].id), small.get(kept[1].id)) == kept


async def test_a_fault_on_files_affects_the_next_request_to_the_files_api(
    connect: Connect, state: EmulatorState
) -> None:
    api = connect()
    state.faults.http(503, on="files")

    assert (await upload(api)).status_code == 503
    assert (await upload(api)).status_code == 200

"""``client.batches``: single batches, whoever created them."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import httpx
import pytest
from PIL import Image

from imagesdk import (
    APITimeoutError,
    AsyncClient,
    BatchCounts,
    Client,
    ConfigurationError,
    Edit,
    Generate,
    InvalidRequestError,
    JobLike,
    Labelled,
    NotFoundError,
    OutcomeUnknownError,
    Variation,
)
from imagesdk._calls import batch_calls, batch_lines
from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from tests.support.batch_servers import BatchServer
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
CAT = Generate("a cat", model="gpt-image-2", quality="low", size="1024x1024")


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(limit=None) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    """The emulator of the module, as if it were new."""
    running.reset()
    return running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw next to nothing, and wait for moments only."""

    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)
    monkeypatch.setattr(batch_calls, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(batch_calls, "_LOOK_PAUSES", (0.02,))
    monkeypatch.setattr(batch_lines, "_PAUSE", 0.001)


@pytest.fixture
async def client(emulator: Emulator, make_client: Callable[..., AsyncClient]) -> AsyncIterator[AsyncClient]:
    async with make_client(emulator.base_url) as client:
        yield client


async def test_a_batch_is_created_watched_and_fetched_to_files_at_half_the_price(
    client: AsyncClient, tmp_path: Path
) -> None:
    jobs: list[JobLike] = [Labelled("first", CAT), CAT, Labelled("again", CAT)]
    batch = await client.batches.create(jobs, metadata={"night": "7"}, output_expires_after=3600)
    done = await client.batches.wait(batch, poll=0.01)
    async with client.batches.results(batch, out=tmp_path / "{id}.{ext}") as results:
        outcomes = await results.collect()
    live = await client.images.send(CAT)

    assert batch.status == "validating"
    assert batch.metadata["night"] == "7"
    assert (done.status, done.counts) == ("completed", BatchCounts(3, 3, 0))
    assert [outcome.id for outcome in outcomes][::2] == ["first", "again"]
    assert [outcome.job for outcome in outcomes] == [CAT] * 3
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert (tmp_path / "first.png").is_file()
    assert outcomes[0].cost == (live.cost or Decimal(0)) / 2


@pytest.mark.one_loop
def test_the_blocking_client_has_the_same_batches(emulator: Emulator) -> None:
    with Client(base_url=emulator.base_url, api_key="", rate_limit=None) as client:
        batch = client.batches.create(["a river", "a lake"])
        with client.batches.attach(batch, poll=0.01) as results:
            outcomes = list(results)
        assert results.batch.status == "completed"
        assert [each.id for each in client.batches.list(limit=1)] == [batch.id]
    assert {outcome.prompt for outcome in outcomes} == {"a river", "a lake"}
    assert all(outcome.unwrap()[0].bytes for outcome in outcomes)


@pytest.mark.one_loop
async def test_edits_upload_their_images_once_and_come_back_as_edits_of_uploaded_files(
    client: AsyncClient,
) -> None:
    lounge = png(64, 64)
    pool = Edit(lounge, "a pool", model="gpt-image-2", quality="low", size="1024x1024", moderation="low")
    batch = await client.batches.create(
        [pool, Edit([lounge], "a garden", model="gpt-image-2", quality="low")]
    )
    async with client.batches.attach(batch, poll=0.01) as results:
        outcomes = await results.collect()

    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    jobs = [outcome.job for outcome in outcomes]
    assert all(isinstance(job, Edit) for job in jobs)
    [uploaded] = await client.files.list(purpose="vision")
    assert {str(getattr(job, "image", [None])[0]) for job in jobs} == {f"FileId(id='{uploaded.id}')"}


@pytest.mark.one_loop
async def test_a_batch_of_another_program_is_attached_by_its_id(client: AsyncClient, tmp_path: Path) -> None:
    line = {
        "custom_id": "mine",
        "method": "POST",
        "url": "/v1/images/generations",
        "body": {"model": "gpt-image-2", "prompt": "an otter", "quality": "low"},
    }
    named = ("in.jsonl", json.dumps(line).encode())
    file = await client.files.upload(named, "batch")
    given = {"input_file_id": file.id, "endpoint": line["url"], "completion_window": "24h"}
    created = (await client.request("POST", "/batches", json=given)).json()
    async with client.batches.attach(created["id"], out=tmp_path, poll=0.01) as results:
        [outcome] = await results.collect()

    assert (outcome.id, outcome.prompt, outcome.status) == ("mine", "an otter", "done")


@pytest.mark.one_loop
async def test_results_survive_the_loss_of_the_input_file(client: AsyncClient) -> None:
    batch = await client.batches.create([Labelled("one", CAT)])
    await client.batches.wait(batch, poll=0.01)
    await client.files.delete(batch.input_file_id or "")
    async with client.batches.results(batch) as results:
        [outcome] = await results.collect()

    assert (outcome.id, outcome.status, outcome.prompt) == ("one", "done", "")


@pytest.mark.one_loop
async def test_a_line_in_no_file_is_unknown_and_a_repeated_one_is_one_outcome(
    client: AsyncClient, emulator: Emulator
) -> None:
    emulator.state.faults.batch(missing=["a"], duplicated=["b"])
    batch = await client.batches.create([Labelled(name, CAT) for name in "abc"])
    async with client.batches.attach(batch, poll=0.01) as results:
        outcomes = await results.collect()

    assert [(outcome.id, outcome.status) for outcome in outcomes] == [
        ("a", "unknown"),
        ("b", "done"),
        ("c", "done"),
    ]
    assert isinstance(outcomes[0].error, OutcomeUnknownError)


@pytest.mark.one_loop
async def test_a_creation_without_an_answer_is_found_and_not_repeated(
    client: AsyncClient, emulator: Emulator
) -> None:
    emulator.state.faults.connection(drop=True, after_work=True, on="batches")
    emulator.state.faults.batch(unlisted=0.05)  # the listing lags
    batch = await client.batches.create([CAT])

    assert [each.id for each in await client.batches.list()] == [batch.id]


@pytest.mark.one_loop
async def test_a_creation_that_never_arrived_is_repeated_after_the_listing_was_searched(
    client: AsyncClient, emulator: Emulator
) -> None:
    emulator.state.faults.connection(drop=True, on="batches")
    batch = await client.batches.create([CAT])

    assert [each.id for each in await client.batches.list()] == [batch.id]


@pytest.mark.one_loop
@pytest.mark.parametrize(
    ("jobs", "match"),
    [
        ([], "at least one job"),
        ([CAT, Generate("a", model="gpt-image-1.5")], "one model"),
        ([CAT, Edit(png(), "a", model="gpt-image-2")], "only generations or only edits"),
        ([Variation(png())], "no variations"),
        ([Generate("a", model="gpt-image-2", size="7x7")], "size"),
        ([Labelled("a", CAT), Labelled("a", CAT)], "each id once"),
        ([Generate(f"cat {n}", model="gpt-image-2", size="3840x2160") for n in range(40)], "do not fit"),
    ],
)
async def test_jobs_that_are_no_batch_are_refused_before_anything_is_created(
    client: AsyncClient, jobs: list[JobLike], match: str
) -> None:
    with pytest.raises(InvalidRequestError, match=match):
        await client.batches.create(jobs)
    assert await client.batches.list() == ()


@pytest.mark.one_loop
async def test_results_of_a_batch_that_has_not_ended_are_refused_with_the_way_to_wait(
    client: AsyncClient, emulator: Emulator
) -> None:
    emulator.state.faults.batch(stuck=0.5)
    batch = await client.batches.create([CAT, CAT])
    with pytest.raises(InvalidRequestError, match=r"batches.wait\('batch_"):
        async with client.batches.results(batch):
            pass
    with pytest.raises(APITimeoutError, match=r"within 0\.05 s"):
        await client.batches.wait(batch, poll=0.01, timeout=0.05)
    with pytest.raises(NotFoundError):
        await client.batches.wait("batch_nothing", poll=0.01)
    with pytest.raises(ConfigurationError, match="poll"):
        await client.batches.wait(batch, poll=-1)
    cancelled = await client.batches.wait(await client.batches.cancel(batch), poll=0.01)
    async with client.batches.results(cancelled) as results:
        outcomes = await results.collect()
    assert sorted(outcome.status for outcome in outcomes) == ["done", "failed"]


async def test_a_wait_ends_at_once_when_another_thread_says_that_the_batch_has_ended(
    client: AsyncClient, emulator: Emulator
) -> None:
    emulator.state.faults.batch(stuck=0.5)
    batch = await client.batches.create([CAT, CAT])
    looked, ended = threading.Event(), list[str]()

    def call() -> None:
        looked.wait(10)
        emulator.advance(24 * 3600)
        client.batches.notify(batch.id)

    thread = threading.Thread(target=call)
    thread.start()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                ended.append((await client.batches.wait(batch, poll=3600)).status)

            tasks.start_soon(wait)
            await client.batches.retrieve(batch)
            looked.set()
    thread.join()
    assert ended == ["expired"]


@pytest.mark.one_loop
@pytest.mark.parametrize("ranges", [True, False])
async def test_a_broken_download_continues_behind_its_last_line_with_and_without_ranges(
    tmp_path: Path, ranges: bool
) -> None:
    server = BatchServer(png(2, 2, padding=100_000), breaks=2, break_after=400_000, ranges=ranges)
    async with server.client() as client:
        batch = await client.batches.create([Generate(f"cat {n}", model="gpt-image-2") for n in range(6)])
        async with client.batches.attach(batch, out=tmp_path, poll=0.01) as results:
            outcomes = await results.collect()

    assert [outcome.status for outcome in outcomes] == ["done"] * 6
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {server.image}
    assert [wanted.partition("=")[0] for wanted in server.requested] == ["", "bytes", "bytes"]


@pytest.mark.one_loop
async def test_azure_names_its_deployment_and_waits_until_the_input_file_is_processed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, slept = BatchServer(png(), status="pending"), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("imagesdk._calls.batch_calls.anyio.sleep", sleep)
    transport = httpx.MockTransport(server.respond)
    client = AsyncClient.azure(
        "http://127.0.0.1:9",
        deployment="covers",
        model="gpt-image-2",
        api_key="k",
        http_client=lambda: httpx.AsyncClient(transport=transport),
    )
    async with client:
        await client.batches.create([Generate("a cat")])

    [line] = [json.loads(line) for line in server.lines]
    assert (line["url"], line["body"]["model"]) == ("/v1/images/generations", "covers")
    assert server.created[0]["endpoint"] == "/v1/images/generations"
    assert slept == [0.5]


@pytest.mark.one_loop
async def test_the_results_of_a_batch_do_not_stay_in_memory(tmp_path: Path) -> None:
    status = Path("/proc/self/status")

    def resident(name: str) -> int:
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    server = BatchServer(png(2, 2, padding=1_000_000))
    async with server.client() as client:
        jobs = [Generate(f"cat {n}", model="gpt-image-2", size="1024x1024") for n in range(64)]
        batch = await client.batches.create(jobs)
        before, count = resident("VmRSS"), 0
        async with client.batches.attach(batch, out=tmp_path, poll=0.01) as results:
            async for outcome in results:
                outcome.unwrap()
                count += 1
        grown = resident("VmRSS") - before

    assert count == 64
    assert server.sent_bytes > 80_000_000
    assert grown < 24_000_000

"""What a user sees, against the emulator over a real socket: pictures, files, URLs and the rate limit."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import PIL.Image
import pytest

from imagesdk import (
    APIError,
    APIResponseError,
    AsyncClient,
    DownloadError,
    InternalServerError,
    LimitWaitError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
)
from imagesdk._engine.download import Downloader
from imagesdk._engine.sink import ImageSink, ReceivedImage
from imagesdk._protocol.scanner import ImageEnd, ImagePiece, ImageStart
from imagesdk.emulator import Emulator, Faults
from tests.support.small_images import JPEG, answer, answer_of_urls, png
from tests.support.socket_servers import always, in_turn, says, serving

SMALL = png()
DALLE: dict[str, Any] = {"model": "dall-e-2", "size": "256x256"}
ONCE = RetryPolicy(max_attempts=1)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.anyio
async def test_pictures_are_made_edited_and_varied(client: AsyncClient, emulator: Emulator) -> None:
    async with client:
        made = await client.images.generate("a white siamese cat", n=2, **DALLE, response_format="b64_json")
        first = made[0].to_pil()
        mask = PIL.Image.new("RGBA", first.size, (0, 0, 0, 0))
        encoded = io.BytesIO()
        mask.save(encoded, "PNG")
        edited = await client.images.edit(made[0].bytes, "a black cat", mask=encoded.getvalue(), **DALLE)
        varied = await client.images.create_variation(made[1].bytes, **DALLE, response_format="b64_json")

    assert [image.to_pil().size for image in made] == [(256, 256)] * 2
    assert made[0].bytes != made[1].bytes
    assert edited[0].url is not None
    assert varied[0].width == 256
    assert emulator.state.billed_images == 4
    assert made.request_id is not None
    assert made.headers["openai-version"] == "2020-10-01"


@pytest.mark.anyio
async def test_a_folder_gets_every_picture_under_a_name_that_says_where_it_is_from(
    client: AsyncClient, tmp_path: Path
) -> None:
    async with client:
        memory = await client.images.generate("A white cat!", n=3, **DALLE, response_format="b64_json")
        stored = await client.images.generate(
            "A white cat!", n=3, **DALLE, out=tmp_path / "new" / "cats", idempotency_key="k1"
        )

    assert [image.bytes for image in stored] == [image.bytes for image in memory]
    names = [image.path.name if image.path else "" for image in stored]
    call = names[0].split("-")[3]
    assert names == [f"a-white-cat-{call}-{index}.png" for index in range(3)]
    assert sorted(files_in(tmp_path)) == [f"new/cats/{name}" for name in names]


@pytest.mark.anyio
async def test_a_single_file_is_replaced_whole(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"an older cat")

    async with client:
        response = await client.images.generate("a cat", **DALLE, out=str(tmp_path / "cat.png"))

    assert files_in(tmp_path) == {"cat.png": response[0].bytes}
    assert response[0].path == tmp_path / "cat.png"


@pytest.mark.anyio
async def test_a_template_decides_about_names_and_the_bytes_about_the_extension(
    client: AsyncClient, tmp_path: Path
) -> None:
    async with client:
        await client.images.generate(
            "A cat", model="gpt-image-2", n=2, output_format="jpeg", out=tmp_path / "{slug}" / "{index}.{ext}"
        )

    assert list(files_in(tmp_path)) == ["a-cat/0.jpg", "a-cat/1.jpg"]


@pytest.mark.anyio
async def test_more_pictures_than_were_asked_for_are_kept_apart(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    async with serving(always(answer(SMALL, JPEG))) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat", out=tmp_path / "cat.png")

    assert files_in(tmp_path) == {"cat.png": SMALL, "cat-1.png": JPEG}
    assert len(response) == 2


BROKEN = json.dumps({"data": [{"b64_json": base64.b64encode(SMALL).decode()}, {"b64_json": "!!!!"}]}).encode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (partial(Faults.http, status=500), InternalServerError),
        (partial(Faults.http, status=200, body=BROKEN), APIResponseError),
        (partial(Faults.connection, truncate=2000), APIResponseError),
        (partial(Faults.connection, drop=True), APIError),
        (partial(Faults.http, status=429), RateLimitError),
    ],
    ids=["status", "base64", "truncated", "dropped", "refused"],
)
async def test_a_call_that_fails_leaves_the_folder_as_it_was(
    emulator: Emulator,
    make_client: Callable[..., AsyncClient],
    tmp_path: Path,
    fault: Callable[[Faults], None],
    kind: type[APIError],
) -> None:
    fault(emulator.state.faults)
    (tmp_path / "0.png").write_bytes(b"an older cat")

    async with make_client(emulator.base_url, retry=ONCE) as client:
        with pytest.raises(kind):
            await client.images.generate("a cat", n=2, **DALLE, out=tmp_path / "{index}.png")

    assert files_in(tmp_path) == {"0.png": b"an older cat"}


@pytest.mark.anyio
async def test_a_retry_leaves_only_the_pictures_of_the_attempt_that_succeeded(
    client: AsyncClient, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.state.faults.connection(truncate=2000)

    async with client:
        response = await client.images.generate("a cat", n=2, **DALLE, out=tmp_path / "{index}.png")

    assert (response.attempts, response.maybe_billed_before) == (2, True)
    assert files_in(tmp_path) == {f"{index}.png": response[index].bytes for index in range(2)}
    assert emulator.state.billed_images == 4


@pytest.mark.anyio
async def test_a_failure_after_the_work_is_told_with_the_pictures_that_it_cost(
    client: AsyncClient, emulator: Emulator
) -> None:
    emulator.state.faults.http(500, after_work=True)

    async with client:
        response = await client.images.generate("a cat", **DALLE)

    assert response.maybe_billed_before
    assert emulator.state.billed_images == 2


@pytest.mark.anyio
async def test_urls_are_fetched_into_files_without_the_key(
    emulator: Emulator, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    async with make_client(emulator.base_url, api_key="sk-1") as client:
        response = await client.images.generate(
            "a cat", n=2, **DALLE, response_format="url", out=tmp_path / "{index}.{ext}"
        )

    assert files_in(tmp_path) == {f"{index}.png": response[index].bytes for index in range(2)}
    assert [(image.width, image.media_type) for image in response] == [(256, "image/png")] * 2
    assert all(image.url for image in response)
    assert [record.authorized for record in emulator.state.requests] == [True, False, False]


@pytest.mark.anyio
async def test_a_picture_that_cannot_be_fetched_is_not_lost(
    client: AsyncClient, emulator: Emulator, tmp_path: Path
) -> None:
    async with client:
        emulator.state.faults.http(503, on="downloads")
        fine = await client.images.generate("a cat", **DALLE, response_format="url", out=tmp_path / "a.png")
        assert fine[0].path is not None

        emulator.state.faults.http(404, on="downloads")
        with pytest.raises(DownloadError, match="404") as caught:
            await client.images.generate(
                "a cat", n=2, **DALLE, response_format="url", out=tmp_path / "{index}"
            )

        response = caught.value.response
        assert response is not None
        assert [image.path for image in response] == [None, None]
        data = await client.images.download(response[0], to=tmp_path / "b.png")

    assert data == fine[0].bytes
    assert list(files_in(tmp_path)) == ["a.png", "b.png"]
    assert emulator.state.billed_images == 3


@pytest.mark.anyio
async def test_the_time_out_of_a_call_covers_the_fetching_of_its_pictures(
    make_client: Callable[..., AsyncClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def fetch(
        self: Downloader, url: str, sink: ImageSink, *, connect_timeout: float | None, timeout: float | None
    ) -> ReceivedImage:
        given.append(timeout or 0)
        for event in (ImageStart(0), ImagePiece(0, SMALL), ImageEnd(0)):
            await sink.write(event)
        return sink.images[0]

    monkeypatch.setattr(Downloader, "fetch", fetch)
    async with serving(always(answer_of_urls("/0", "/1"))) as server, make_client(server.base_url) as client:
        await client.images.generate("a cat", out=tmp_path, timeout=100)
        assert 100 > given[0] > given[1] > 0


@pytest.mark.anyio
async def test_the_limit_is_met_and_not_hit(make_client: Callable[..., AsyncClient]) -> None:
    with Emulator(limit="4/s") as emulator:
        async with (
            make_client(emulator.base_url, rate_limit=RateLimit(4, per=1.5)) as client,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(3):
                tasks.start_soon(generate, client, 2)
        assert [record.status for record in emulator.state.requests] == [200] * 3
        assert emulator.state.billed_images == 6

    with Emulator(limit="4/s", clock=lambda: 0.0) as emulator:
        async with make_client(emulator.base_url, retry=ONCE) as heedless:
            await generate(heedless, 4)
            with pytest.raises(RateLimitError):
                await generate(heedless, 2)


async def generate(client: AsyncClient, n: int = 1) -> None:
    await client.images.generate("a cat", n=n, **DALLE)


@pytest.mark.anyio
async def test_a_limit_that_others_used_up_is_waited_for(make_client: Callable[..., AsyncClient]) -> None:
    def clock() -> float:
        refused = [record for record in emulator.state.requests if record.status == 429]
        return 1000.0 + len(refused)

    with Emulator(limit="2/s", clock=clock) as emulator:
        async with (
            make_client(emulator.base_url) as other,
            make_client(emulator.base_url, rate_limit=RateLimit(2, per=1), retry=ONCE) as client,
        ):
            await generate(other, 2)
            response = await client.images.generate("a cat", n=2, **DALLE)

        assert [record.status for record in emulator.state.requests] == [200, 429, 200]
        assert (response.attempts, response.maybe_billed_before) == (2, False)


@pytest.mark.anyio
async def test_calls_go_in_the_order_in_which_they_were_made(make_client: Callable[..., AsyncClient]) -> None:
    limit = RateLimit(1, per=0.05)
    async with serving(always(answer(SMALL))) as server:
        async with (
            make_client(server.base_url, rate_limit=limit) as client,
            anyio.create_task_group() as tasks,
        ):
            for number in range(6):
                tasks.start_soon(client.images.generate, f"cat {number}")
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()

        prompts = [json.loads(sent.body)["prompt"] for sent in server.requests]
        assert prompts == [f"cat {number}" for number in range(6)]


@pytest.mark.anyio
async def test_a_time_out_that_the_limit_cannot_meet_is_said_at_once(
    make_client: Callable[..., AsyncClient],
) -> None:
    async with serving(always(answer(SMALL))) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(1)) as client:
            await client.images.generate("a cat")
            with pytest.raises(LimitWaitError, match="Nothing was sent") as caught:
                await client.images.generate("a cat", timeout=5)
        assert len(server.requests) == 1

    assert caught.value.retry_after is not None
    assert 5 < caught.value.retry_after < 61
    assert (caught.value.attempts, caught.value.maybe_billed) == (0, False)


@pytest.mark.anyio
async def test_clients_of_one_account_share_the_limit_and_others_do_not(
    make_client: Callable[..., AsyncClient],
) -> None:
    async with serving(always(answer(SMALL))) as server:

        async def fits(model: str | None = None, scope: str = "account", **terms: Any) -> bool:
            limit = RateLimit(1, scope=scope)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            async with make_client(server.base_url, rate_limit=limit, **terms) as client:
                try:
                    await client.images.generate("a cat", model=model, timeout=5)
                except LimitWaitError:
                    return False
            return True

        assert await fits(api_key="sk-1")
        assert not await fits(api_key="sk-1")
        assert await fits(api_key="sk-2")
        assert await fits(api_key="sk-1", model="another")
        assert await fits(api_key="sk-1", project="another")
        assert await fits(api_key="sk-1", scope="client")
        assert await fits(api_key="sk-1", scope="client")


def test_loops_and_threads_share_the_limit(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> None:
    ends: list[str] = []

    async def call() -> None:
        async with make_client(emulator.base_url, rate_limit=RateLimit(3)) as client:
            try:
                await client.images.generate("a cat", **DALLE, timeout=20)
            except LimitWaitError:
                ends.append("no room")
            else:
                ends.append("well")

    threads = [
        threading.Thread(target=anyio.run, args=(call,), kwargs={"backend": backend})
        for backend in ("asyncio", "trio") * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ends) == ["no room"] * 3 + ["well"] * 3
    assert emulator.state.billed_images == 3


@pytest.mark.anyio
async def test_a_refused_request_counts_and_one_that_never_left_does_not(
    make_client: Callable[..., AsyncClient],
) -> None:
    async with (
        serving(in_turn(says(b"", 400), says(answer(SMALL)))) as server,
        make_client(server.base_url, rate_limit=RateLimit(2)) as client,
    ):
        with pytest.raises(FileNotFoundError):
            await client.images.edit("missing.png", "a cat", n=2)
        with pytest.raises(APIError):
            await client.images.generate("a cat")
        await client.images.generate("a cat")
        with pytest.raises(LimitWaitError):
            await client.images.generate("a cat", timeout=5)

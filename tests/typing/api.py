"""Code of users, which mypy and pyright must accept in their strict modes. It is never run.

Lines with a mark must be errors: mypy reports a mark that is not needed.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, assert_type

import anyio
import httpx
import httpx2
import numpy
import numpy.typing
import PIL.Image
import starlette.datastructures

import imagesdk
from imagesdk import (
    AsyncClient,
    CallOptions,
    Client,
    Edit,
    Generate,
    Image,
    ImagesResponse,
    Job,
    Labelled,
    Outcome,
    RetryPolicy,
    Source,
    Variation,
)
from imagesdk.events import Event, ResponseReceived, RetryScheduled
from imagesdk.models import DALL_E_2, ModelProfile, lookup, nearest_size, register, retirement_notice


class AccessToken(NamedTuple):
    """The token of azure-identity."""

    token: str
    expires_on: int


async def other_servers() -> None:
    client = AsyncClient.azure("https://a.test", deployment="d", token_provider=lambda: "a token", timeout=5)
    assert_type(client, AsyncClient)
    AsyncClient.azure(token_provider=lambda: ("a token", 5), check=False)
    AsyncClient.azure(token_provider=lambda: AccessToken("a token", 5))
    AsyncClient.azure(token_provider=lambda: 5)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
    assert_type(
        client.with_options(timeout=None, retry=RetryPolicy(), default_headers={"a": "b"}), AsyncClient
    )
    client.with_options(trusted_result_hosts=("images.lan",))
    AsyncClient.azure(trusted_result_hosts=["images.lan"])
    Client(trusted_result_hosts=["images.lan"])
    assert_type(await client.request("GET", "/models", query={"limit": "5"}), imagesdk.RawResponse)
    blocking = Client.azure("https://a.test", deployment="d", api_key="key")
    assert_type(blocking, Client)
    assert_type(blocking.with_options(check=False), Client)
    assert_type(blocking.request("POST", "/x", json={"a": 1}, images=1), imagesdk.RawResponse)


async def first_steps() -> None:
    async with AsyncClient() as client:
        response = await client.images.generate("a white siamese cat", n=2, out="cats/")
        assert_type(client, AsyncClient)
        assert_type(client.images, imagesdk.AsyncImages)
        assert_type(response, ImagesResponse)
        for image in response:
            assert_type(image, Image)
            print(image.path, image.width, image.height)
        assert_type(response[0], Image)
        assert_type(response[:2], tuple[Image, ...])
        assert_type(response.data[0].bytes, bytes)
        assert_type(len(response), int)
        images: Sequence[Image] = response
        print(images)


async def every_parameter(client: AsyncClient, size: str) -> ImagesResponse:
    return await client.images.generate(
        "a white siamese cat",
        model="gpt-image-2",
        n=2,
        size=size,
        quality="high",
        background="transparent",
        output_format="webp",
        output_compression=80,
        response_format="b64_json",
        user="u-1",
        out=Path("cats") / "{slug}-{index}.{ext}",
        timeout=30,
        check=False,
        extra_headers={"x-tag": "a"},
        extra_query={"api-version": "preview"},
        extra_body={"moderation": "low", "seed": 7, "size": None},
        idempotency_key="k-1",
    )


async def sources_without_libraries(client: AsyncClient, data: bytes) -> None:
    await client.images.edit("lounge.png", "a pool with a flamingo", mask="mask.png")
    await client.images.edit(Path("lounge.png"), "a pool", mask=io.BytesIO(data))
    await client.images.edit([data, bytearray(data), memoryview(data), "b.png"], "all of them")
    await client.images.edit(("a.png", Path("b.png")), "both", size="1536x1024", n=1)
    await client.images.edit(("a.png", data), "one", mask=("mask.png", io.BytesIO(data), "image/png"))
    await client.images.edit([("a.png", data), (None, data, None), data], "three")
    await client.files.upload(("a.png", io.BytesIO(data)))
    assert_type(
        await client.provenance.check(("a.png", io.BytesIO(data)), timeout=5), imagesdk.ProvenanceCheck
    )
    assert_type(await client.models.list(), tuple[imagesdk.ServedModel, ...])
    await client.images.create_variation(io.BytesIO(data), n=2, size="1024x1024")
    with Path("corgi.png").open("rb") as file:
        response = await client.images.create_variation(file, response_format="url", timeout=None)
    assert_type(await client.images.download(response[0], to="otter.png"), bytes)
    assert_type(await client.images.download("https://images.test/a.png", timeout=5.0), bytes)


async def sources_of_libraries(
    client: AsyncClient,
    pixels: PIL.Image.Image,
    array: numpy.typing.NDArray[numpy.uint8],
    floats: numpy.typing.NDArray[numpy.float32],
    form: starlette.datastructures.UploadFile,
    made: ImagesResponse,
) -> None:
    await client.images.edit(pixels, "a hat", mask=array)
    await client.images.edit([array, floats, pixels, "https://images.test/a.png"], "all of them")
    await client.images.edit(form, "a hat", markup=imagesdk.FileId("file-1"))
    async with await anyio.open_file("a.png", "rb") as file:
        await client.images.edit(file, "a hat")
    await client.images.edit(made, "all of them", moderation="low")
    await client.images.edit(made[0], "a hat", mask=imagesdk.FileObject("file-2"))
    await client.images.create_variation(made[0])


def prepared_images(path: Path, made: ImagesResponse) -> None:
    image = imagesdk.prepare_image(path, size="1024x1024", square="crop", max_bytes=4 * 1024 * 1024)
    assert_type(image, bytes)
    imagesdk.prepare_image(made[0], size=(512, 512), alpha=True)
    imagesdk.prepare_image(image, size=512, square="pad", format="webp")
    assert_type(imagesdk.make_mask(image, boxes=[(0, 0, 10, 10)]), bytes)
    imagesdk.make_mask((1024, 1024), boxes=((0, 0, 10, 10),), invert=True)
    imagesdk.make_mask(path, from_alpha=True)


async def jobs_as_values(client: AsyncClient, prompts: list[str], source: Source) -> list[ImagesResponse]:
    jobs: list[Job] = [Generate(prompt, n=2, size="auto") for prompt in prompts]
    jobs += [Edit(source, "a hat", mask=source), Edit([source], "a hat"), Variation(source, n=3)]
    options: CallOptions = {"out": "out/", "timeout": 60.0}
    return [await client.images.send(job, **options) for job in jobs]


def attributes_of_an_image(image: Image) -> None:
    assert_type(image.index, int)
    assert_type(image.url, str | None)
    assert_type(image.path, Path | None)
    assert_type(image.media_type, str | None)
    assert_type(image.width, int | None)
    assert_type(image.b64_json, str | None)
    assert_type(image.expires_at, datetime | None)
    assert_type(image.loaded, bool)
    assert_type(image.save("cat.png"), Path)
    assert_type(image.data_url(), str)
    assert_type(image.to_pil().size, tuple[int, int])
    assert_type(image.to_numpy().ndim, int)


def attributes_of_a_response(response: ImagesResponse) -> None:
    assert_type(response.created, datetime | None)
    assert_type(response.usage, imagesdk.Usage | None)
    assert_type(response.cost, Decimal | None)
    assert_type(response.request_id, str | None)
    assert_type(response.attempts, int)
    assert_type(response.headers.get("x-request-id"), str | None)
    if response.usage is not None:
        assert_type(response.usage.output_tokens, int | None)


async def attributes_of_errors(client: AsyncClient) -> Image | None:
    try:
        return (await client.images.generate("a cat"))[0]
    except imagesdk.InvalidRequestError as error:
        assert_type(error.param, str | None)
        assert_type(error.allowed, str | None)
    except imagesdk.ModerationError as error:
        assert_type(error.categories, tuple[str, ...])
        assert_type(error.stage, str | None)
    except imagesdk.RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except imagesdk.APIStatusError as error:
        assert_type(error.status_code, int)
        assert_type(error.code, str | None)
    except imagesdk.DownloadError as error:
        assert_type(error.response, ImagesResponse | None)
    except imagesdk.APIError as error:
        assert_type(error.maybe_billed, bool)
        assert_type(error.attempts, int)
        assert_type(error.message, str)
        assert_type(error.idempotency_key, str | None)
    return None


def watch(event: Event) -> None:
    if isinstance(event, RetryScheduled):
        assert_type(event.attempt, int)
    elif isinstance(event, ResponseReceived):
        assert_type(event.status_code, int)


async def options_of_a_client() -> None:
    client = AsyncClient(
        api_key="sk-1",
        base_url="http://127.0.0.1:8000/v1",
        organization="org-1",
        project="proj-1",
        timeout=imagesdk.Timeouts(connect=2, attempt=120, total=None),
        retry=RetryPolicy(max_attempts=2, delivery="at_most_once"),
        rate_limit=imagesdk.RateLimit(5, per=60, scope="client"),
        check=True,
        http_client=lambda: httpx.AsyncClient(trust_env=False),
        observers=[watch, print],
        allow_insecure=True,
    )
    assert_type(client.base_url, str)
    await client.aclose()
    AsyncClient(rate_limit=None, timeout=30.0, http_client=httpx.AsyncClient())
    AsyncClient(http_client=httpx2.AsyncClient())
    AsyncClient(http_client=httpx2.AsyncClient)
    imagesdk.Client(http_client=lambda: httpx2.AsyncClient(http2=True)).close()
    AsyncClient(rate_limit=imagesdk.RateLimit.parse("50/min"))


async def runs(client: AsyncClient, names: dict[str, Job]) -> None:
    labelled = (Labelled(name, job) for name, job in names.items())
    async with client.images.fan_out(labelled, out="x/", budget="20 USD", retry_unknown=True) as run:
        assert_type(run, imagesdk.AsyncRun)
        async for outcome in run:
            assert_type(outcome, Outcome)
            assert_type(outcome.unwrap(), ImagesResponse)
            assert_type(outcome.prompt, str | None)
        assert_type(await run.collect(), list[Outcome])
        assert_type(run.progress, imagesdk.Progress)
        run.stop()
    jobs: list[imagesdk.JobLike] = ["a cat", Generate("a dog"), Labelled("x", "a cow")]
    client.images.fan_out(jobs, out=Path("x"), journal=None, defaults=Generate("", n=2), concurrency=4)
    client.images.fan_out([Variation("a.png"), Edit("a.png", "b")], delivery="at_least_once")
    assert_type(await client.images.dry_run(["a"], out="x"), imagesdk.DryRun)


def runs_in_blocking_code(client: Client) -> None:
    with client.images.fan_out(["a cat"], out="x/", budget=Decimal(2), unknown_price="allow") as run:
        assert_type(run, imagesdk.Run)
        for outcome in run:
            assert_type(outcome.cost, Decimal | None)
        assert_type(run.collect(), list[Outcome])


async def batches(client: AsyncClient) -> None:
    batch = await client.batches.create(["a cat", Generate("a dog")], metadata={"night": "7"})
    assert_type(batch, imagesdk.Batch)
    assert_type(await client.batches.wait(batch.id, poll=5), imagesdk.Batch)
    assert_type(await client.batches.list(), tuple[imagesdk.Batch, ...])
    async with client.batches.attach(batch, out=Path("x")) as results:
        assert_type(results, imagesdk.AsyncBatchResults)
        async for outcome in results:
            assert_type(outcome, Outcome)
    client.images.fan_out(["a"], out="x", lane="auto", deadline=timedelta(hours=20), poll=5)
    client.images.fan_out(["a"], out="x", lane="cheap")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def batches_in_blocking_code(client: Client) -> None:
    with client.batches.results("batch_abc123") as results:
        assert_type(results, imagesdk.BatchResults)
        assert_type(results.collect(), list[Outcome])


def prices_before_a_call(job: Job) -> None:
    found = imagesdk.estimate(job, model="gpt-image-2", inputs=2, batch=True)
    assert_type(found, imagesdk.Estimate)
    assert_type(found.cost, Decimal | None)
    assert_type(found.output_tokens, int | None)
    assert_type(nearest_size(1920, 1080, DALL_E_2), str)
    assert_type(retirement_notice(DALL_E_2, date(2026, 11, 27), endpoint="edits"), str | None)
    warnings.simplefilter("error", imagesdk.RetirementWarning)


def registered_models() -> None:
    register(ModelProfile(name="gpt-image-9", max_n=4, sizes=("1024x1024",)))
    assert_type(lookup("gpt-image-9"), ModelProfile | None)
    assert_type(DALL_E_2.sizes, tuple[str, ...])


async def mistakes(client: AsyncClient, response: ImagesResponse) -> None:
    await client.images.generate()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.images.generate(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.images.generate("x", "dall-e-2")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.images.generate("x", n="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.images.generate("x", style=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.images.generate("x", stream=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    imagesdk.prepare_image("a.png", square="stretch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    imagesdk.make_mask("a.png", boxes=[(0, 0, 10)])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await client.images.edit(object(), "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.images.create_variation(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.images.fan_out([5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.images.fan_out(["a"], delivery="once")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    response[0].url = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    response.cost = None  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    RetryPolicy(delivery="exactly_once")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncClient(http_client=httpx.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncClient(http_client=httpx2.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncClient(http_client=httpx2.Client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncClient(max_retries=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

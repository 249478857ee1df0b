"""The official client against the emulator over a socket."""

import json
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import openai
import pytest
from openai.types import ImagesResponse
from PIL import Image, ImageChops

from imagesdk.emulator import Emulator
from tests.emulator.api import encoded, png
from tests.support.batch_files import jsonl, line

SIZE = "1024x640"
GREEN = (10, 200, 30)
TWO: Any = {"model": "gpt-image-2", "size": SIZE}
SVG: Any = {"output_format": "svg", "svg": {"model": "gpt-5.4", "reasoning": {"effort": "low"}}}
PNG, OVERLAY = ("x.png", png(), "image/png"), ("m.png", png("RGBA"), "image/png")


@pytest.fixture
def client(emulator: Emulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=emulator.base_url, api_key="x", max_retries=0) as client:
        yield client


def opened(b64_json: str | None) -> Image.Image:
    assert b64_json is not None
    return Image.open(BytesIO(b64decode(b64_json)))


def images_in(answer: ImagesResponse) -> list[Image.Image]:
    return [opened(image.b64_json) for image in answer.data or []]


def test_the_official_client_generates_with_every_parameter(client: Any) -> None:
    drawn: Any = {"size": SIZE, "quality": "xhigh", "background": "opaque", "output_format": "webp"}
    terms: Any = {**drawn, "output_compression": 50, "moderation": "low", "safety_identifier": "hash-1"}

    answer = client.images.generate(prompt="an otter", model="gpt-image-2.5-flare", n=2, **terms)

    assert [image.format for image in images_in(answer)] == ["WEBP", "WEBP"]
    assert (answer.size, answer.quality, answer.background) == (SIZE, "xhigh", "opaque")
    assert (answer.output_format, answer.safety_identifier) == ("webp", "hash-1")
    assert answer.usage.output_tokens == answer.usage.output_tokens_details.image_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_the_official_client_generates_with_dall_e_3_and_to_a_gif_and_an_svg(client: Any) -> None:
    def generate(**more: Any) -> Any:
        return client.images.generate(prompt="x", model="gpt-image-2.6-sunburst", **more)

    old = client.images.generate(prompt="a cat", model="dall-e-3", style="natural", quality="hd")
    moving = generate(output_format="gif", frame_count=3, frame_duration_ms=100, size="512x512")
    drawn = generate(**SVG, complexity="low")

    (found,), (animation,) = old.data, images_in(moving)
    assert found.url
    assert found.revised_prompt
    assert (animation.format, getattr(animation, "n_frames", 1)) == ("GIF", 3)
    assert b64decode(drawn.data[0].b64_json).startswith(b"<?xml")
    assert (drawn.svg_usage.model, drawn.output_format) == ("gpt-5.4", "svg")


def test_the_official_client_edits(client: Any) -> None:
    def edit(image: Any = PNG, **more: Any) -> Any:
        return client.images.edit(image=image, prompt="x", **more)

    lounge, mask = png("RGB", (1024, 640), GREEN), Image.new("RGBA", (1024, 640), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (200, 100, 700, 500))

    masked = edit(("x.png", lounge), mask=("m.png", encoded(mask)), **TWO)
    several = edit([PNG] * 3, model="gpt-image-1.5", input_fidelity="high")
    old = edit(mask=OVERLAY, model="dall-e-2", size="256x256")
    marked = edit(markup=OVERLAY, model="gpt-image-2.5-sunburst")
    drawn = edit(model="gpt-image-2.6-flare", **SVG)

    changed = ImageChops.difference(images_in(masked)[0].convert("RGB"), Image.new("RGB", (1024, 640), GREEN))
    assert changed.getbbox() == (200, 100, 700, 500)
    assert several.usage.input_tokens_details.image_tokens == 3 * 4
    assert old.data[0].url
    assert marked.data
    assert drawn.svg_usage.model == "gpt-5.4"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_client_creates_variations(client: openai.OpenAI) -> None:
    vary = client.images.create_variation  # pyright: ignore[reportDeprecated] # it is what is tested

    assert len(vary(image=PNG, n=2, size="256x256").data or []) == 2


def test_the_official_client_streams(client: Any) -> None:
    terms: Any = {**TWO, "stream": True, "partial_images": 1}

    generated = [*client.images.generate(prompt="a river", user="u", **terms)]
    edited = [*client.images.edit(prompt="x", image=[PNG] * 2, **terms)]

    kinds = [
        f"image_{verb}.{kind}" for verb in ("generation", "edit") for kind in ("partial_image", "completed")
    ]
    assert [event.type for event in (*generated, *edited)] == kinds
    assert {opened(event.b64_json).size for event in (*generated, *edited)} == {(1024, 640)}
    last = generated[-1]
    assert last.type == "image_generation.completed"
    assert (last.size, last.quality, last.safety_identifier) == (SIZE, "medium", "u")
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens


@pytest.mark.parametrize("line", [False, True])
def test_the_official_client_raises_an_error_in_the_middle_of_a_stream(
    client: openai.OpenAI, emulator: Emulator, line: bool
) -> None:
    emulator.state.faults.stream(error="moderation_blocked", error_line=line, after_events=1)
    stream = client.images.generate(prompt="x", model="gpt-image-2", size=SIZE, stream=True, partial_images=2)

    with pytest.raises(openai.APIError) as error:
        list(stream)

    assert error.value.code == "moderation_blocked"


def test_the_official_client_uploads_lists_downloads_edits_and_deletes_files(client: openai.OpenAI) -> None:
    files = client.files
    kept = files.create(file=PNG, purpose="vision", expires_after={"anchor": "created_at", "seconds": 3600})
    body = {"model": "gpt-image-2", "prompt": "x", "images": [{"file_id": kept.id}]}
    edited = client.post("/images/edits", body=body, cast_to=ImagesResponse)

    assert (kept.filename, kept.bytes, kept.purpose) == ("x.png", len(png()), "vision")
    assert (kept.status, kept.expires_at) == ("processed", kept.created_at + 3600)
    assert files.retrieve(kept.id) == kept
    assert [file.id for file in files.list(purpose="vision", limit=1)] == [kept.id]
    assert files.content(kept.id).read() == png()
    assert images_in(edited)[0].size == (1024, 1024)
    assert files.delete(kept.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        files.retrieve(kept.id)


def test_the_official_client_lists_models_with_shutdown_dates(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}

    assert "gpt-image-2.5-flare-2026-09-08" in models
    assert client.models.retrieve("gpt-image-1-mini") == models["gpt-image-1-mini"]
    assert str(models["gpt-image-1-mini"].shutdown_date) == "2026-12-01"


def test_the_official_client_maps_errors_to_its_classes(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.reset(limit="1/min", require_key=True)
    wrong = {"authorization": "Bearer sk-invalid"}
    cases: list[tuple[type[openai.APIStatusError], dict[str, Any], str]] = [
        (openai.BadRequestError, {"size": "512x512"}, "invalid_value"),
        (openai.NotFoundError, {"model": "dall-e-9"}, "model_not_found"),
        (openai.RateLimitError, {"n": 2}, "rate_limit_exceeded"),
        (openai.AuthenticationError, {"extra_headers": wrong}, "invalid_api_key"),
    ]

    for kind, fields, code in cases:
        with pytest.raises(kind) as caught:
            client.images.generate(prompt="x", **fields)
        kind_of_error = "requests" if code == "rate_limit_exceeded" else "invalid_request_error"
        assert (caught.value.code, caught.value.type) == (code, kind_of_error)
        assert caught.value.request_id is not None


def test_the_official_client_runs_a_batch(client: Any, emulator: Emulator) -> None:
    emulator.reset(batch_delay=3600)
    lines = [line("r1", size=SIZE), line("r2", prompt="forbidden")]
    file = client.files.create(file=("night.jsonl", jsonl(lines)), purpose="batch")
    created = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/images/generations",
        completion_window="24h",
        metadata={"run": "night"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    emulator.advance(1800)
    running = client.batches.retrieve(created.id)
    emulator.advance(1800)
    done = client.batches.retrieve(created.id)
    (made,) = map(json.loads, client.files.content(done.output_file_id).iter_lines())
    (failed,) = map(json.loads, client.files.content(done.error_file_id).text.splitlines())

    assert (created.status, running.status, done.status) == ("validating", "in_progress", "completed")
    assert (done.metadata, done.request_counts.failed, done.model) == ({"run": "night"}, 1, "gpt-image-2")
    assert ImagesResponse.model_validate(made["response"]["body"]).usage is not None
    assert opened(made["response"]["body"]["data"][0]["b64_json"]).size == (1024, 640)
    assert failed["response"]["body"]["error"]["code"] == "moderation_blocked"
    assert done.usage.output_tokens == made["response"]["body"]["usage"]["output_tokens"]


def test_the_official_client_lists_and_cancels_batches_and_lists_files(
    client: Any, emulator: Emulator
) -> None:
    emulator.reset(batch_delay=3600)
    file = client.files.create(file=("night.jsonl", jsonl([line("r1")])), purpose="batch")
    terms: Any = {"endpoint": "/v1/images/generations", "completion_window": "24h"}
    ids = [client.batches.create(input_file_id=file.id, **terms).id for _ in range(5)]
    emulator.advance(100)
    cancelling = client.batches.cancel(ids[0])
    emulator.advance(600)

    assert [batch.id for batch in client.batches.list(limit=2)] == ids[::-1]
    assert (cancelling.status, client.batches.retrieve(ids[0]).status) == ("cancelling", "cancelled")
    with pytest.raises(openai.ConflictError, match="Cannot cancel a batch with status 'cancelled'"):
        client.batches.cancel(ids[0])
    assert [one.purpose for one in client.files.list()] == ["batch_output", "batch"]
    assert client.files.delete(file.id).deleted

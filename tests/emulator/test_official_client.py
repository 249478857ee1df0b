"""The official client against the emulator over a socket."""

from base64 import b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import openai
import pytest
from PIL import Image, ImageChops

from imagesdk.emulator import Emulator

MakePng = Callable[..., bytes]
SIZE = "1024x640"


@pytest.fixture
def client(emulator: Emulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=emulator.base_url, api_key="x", max_retries=0) as client:
        yield client


def opened(b64_json: str | None) -> Image.Image:
    assert b64_json is not None
    return Image.open(BytesIO(b64decode(b64_json)))


def test_the_official_client_generates_with_every_parameter(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        prompt="an otter",
        model="gpt-image-2.5-flare",
        n=2,
        size=SIZE,
        quality="xhigh",
        background="opaque",
        output_format="webp",
        output_compression=50,
        moderation="low",
        safety_identifier="hash-1",
    )

    assert [opened(drawn.b64_json).format for drawn in answer.data or []] == ["WEBP", "WEBP"]
    assert (answer.size, answer.quality, answer.background) == (SIZE, "xhigh", "opaque")
    assert (answer.output_format, answer.safety_identifier) == ("webp", "hash-1")
    assert answer.usage is not None
    assert answer.usage.output_tokens_details is not None
    assert answer.usage.output_tokens == answer.usage.output_tokens_details.image_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_the_official_client_generates_a_gif_and_an_svg(client: openai.OpenAI) -> None:
    model = "gpt-image-2.6-sunburst"

    moving = client.images.generate(
        prompt="x", model=model, output_format="gif", frame_count=3, frame_duration_ms=100, size="512x512"
    )
    drawn = client.images.generate(
        prompt="x",
        model=model,
        output_format="svg",
        svg={"model": "gpt-5.4", "reasoning": {"effort": "low"}},
        complexity="low",
    )

    animation = opened((moving.data or [])[0].b64_json)
    assert (animation.format, getattr(animation, "n_frames", 1)) == ("GIF", 3)
    assert b64decode((drawn.data or [])[0].b64_json or "").startswith(b"<?xml")
    assert drawn.svg_usage is not None
    assert (drawn.svg_usage.model, drawn.output_format) == ("gpt-5.4", "svg")


def test_the_official_client_generates_with_dall_e_3(client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt="a cat", model="dall-e-3", style="natural", quality="hd")

    (drawn,) = answer.data or []
    assert drawn.url
    assert drawn.revised_prompt


def test_the_official_client_edits_one_image_with_a_mask(
    client: openai.OpenAI, tmp_path: Path, png: MakePng
) -> None:
    image, mask = tmp_path / "lounge.png", tmp_path / "mask.png"
    image.write_bytes(png("RGB", (1024, 640), (10, 200, 30)))
    holes = Image.new("RGBA", (1024, 640), (0, 0, 0, 255))
    holes.paste((0, 0, 0, 0), (200, 100, 700, 500))
    holes.save(mask)

    answer = client.images.edit(image=image, mask=mask, prompt="a pool", model="gpt-image-2", size=SIZE)

    drawn = opened((answer.data or [])[0].b64_json).convert("RGB")
    changed = ImageChops.difference(drawn, Image.new("RGB", (1024, 640), (10, 200, 30)))
    assert changed.getbbox() == (200, 100, 700, 500)


def test_the_official_client_edits_several_images(
    client: openai.OpenAI, tmp_path: Path, png: MakePng
) -> None:
    image = tmp_path / "otter.png"
    image.write_bytes(png())

    new = client.images.edit(
        image=[image, image, ("x.png", png(), "image/png")],
        prompt="a basket",
        model="gpt-image-1.5",
        input_fidelity="high",
    )
    old = client.images.edit(
        image=image, mask=("m.png", png("RGBA"), "image/png"), prompt="x", model="dall-e-2", size="256x256"
    )

    assert new.usage is not None
    assert new.usage.input_tokens_details.image_tokens == 3 * 4
    assert (old.data or [])[0].url


def test_the_official_client_edits_with_a_markup_and_to_an_svg(client: openai.OpenAI, png: MakePng) -> None:
    image, markup = ("x.png", png(), "image/png"), ("m.png", png("RGBA"), "image/png")

    marked = client.images.edit(image=image, markup=markup, prompt="x", model="gpt-image-2.5-sunburst")
    drawn = client.images.edit(
        image=image,
        prompt="x",
        model="gpt-image-2.6-flare",
        output_format="svg",
        svg={"model": "gpt-5.4", "reasoning": {"effort": "low"}},
    )

    assert marked.data
    assert drawn.svg_usage is not None
    assert drawn.svg_usage.model == "gpt-5.4"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_client_creates_variations(client: openai.OpenAI, png: MakePng) -> None:
    vary = client.images.create_variation  # pyright: ignore[reportDeprecated] # it is what is tested

    answer = vary(image=("x.png", png(), "image/png"), n=2, size="256x256")

    assert len(answer.data or []) == 2


def test_the_official_client_streams_a_generation(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        prompt="a river", model="gpt-image-2", size=SIZE, stream=True, partial_images=2, user="u"
    )

    events = list(stream)

    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [opened(event.b64_json).size for event in events] == [(1024, 640)] * 3
    last = events[-1]
    assert last.type == "image_generation.completed"
    assert (last.size, last.quality, last.safety_identifier) == (SIZE, "medium", "u")
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens


def test_the_official_client_streams_an_edit(client: openai.OpenAI, png: MakePng) -> None:
    stream = client.images.edit(
        image=[("x.png", png(), "image/png"), ("y.png", png(), "image/png")],
        prompt="a river",
        model="gpt-image-2",
        size=SIZE,
        stream=True,
        partial_images=1,
    )

    events = list(stream)

    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert opened(events[-1].b64_json).size == (1024, 640)


@pytest.mark.parametrize("line", [False, True])
def test_the_official_client_raises_an_error_in_the_middle_of_a_stream(
    client: openai.OpenAI, emulator: Emulator, line: bool
) -> None:
    emulator.state.faults.stream(error="moderation_blocked", error_line=line, after_events=1)
    stream = client.images.generate(prompt="x", model="gpt-image-2", size=SIZE, stream=True, partial_images=2)

    seen: list[str] = []
    with pytest.raises(openai.APIError) as error:
        seen.extend(event.type for event in stream)

    assert error.value.code == "moderation_blocked"


def test_the_official_client_uploads_lists_downloads_and_deletes_files(
    client: openai.OpenAI, png: MakePng
) -> None:
    kept = client.files.create(
        file=("otter.png", png(), "image/png"),
        purpose="vision",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )

    assert (kept.filename, kept.bytes, kept.purpose, kept.status) == (
        "otter.png",
        len(png()),
        "vision",
        "processed",
    )
    assert kept.expires_at == kept.created_at + 3600
    assert client.files.retrieve(kept.id) == kept
    assert [file.id for file in client.files.list(purpose="vision", limit=1)] == [kept.id]
    assert client.files.content(kept.id).read() == png()
    assert client.files.delete(kept.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept.id)


def test_the_official_client_edits_an_uploaded_file(client: openai.OpenAI, png: MakePng) -> None:
    file = client.files.create(file=("otter.png", png(), "image/png"), purpose="vision")

    answer = client.post(
        "/images/edits",
        body={"model": "gpt-image-2", "prompt": "x", "images": [{"file_id": file.id}]},
        cast_to=openai.types.ImagesResponse,
    )

    assert opened((answer.data or [])[0].b64_json).size == (1024, 1024)


def test_the_official_client_lists_models_with_shutdown_dates(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}

    assert "gpt-image-2.5-flare-2026-09-08" in models
    assert client.models.retrieve("gpt-image-1-mini") == models["gpt-image-1-mini"]
    assert str(models["gpt-image-1-mini"].shutdown_date) == "2026-12-01"


def test_the_official_client_maps_errors_to_its_classes() -> None:
    with (
        Emulator(limit="1/min", require_key=True) as emulator,
        openai.OpenAI(base_url=emulator.base_url, api_key="x", max_retries=0) as client,
    ):
        with pytest.raises(openai.BadRequestError) as bad:
            client.images.generate(prompt="x", size="512x512")
        with pytest.raises(openai.NotFoundError) as missing:
            client.images.generate(prompt="x", model="dall-e-9")
        with pytest.raises(openai.RateLimitError) as limited:
            client.images.generate(prompt="x", n=2)
        with pytest.raises(openai.AuthenticationError) as wrong:
            client.with_options(api_key="sk-invalid").images.generate(prompt="x")

    assert (bad.value.code, bad.value.param, bad.value.type) == (
        "invalid_value",
        "size",
        "invalid_request_error",
    )
    assert bad.value.request_id is not None
    assert (missing.value.code, limited.value.code) == ("model_not_found", "rate_limit_exceeded")
    assert wrong.value.code == "invalid_api_key"

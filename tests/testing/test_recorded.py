"""Recordings: real exchanges once, small files without secrets, and replays that never call."""

import json
import os
from base64 import b64decode
from pathlib import Path

import httpx
import openai
import pytest

from imagesdk import Client
from imagesdk._media.sniff import sniff
from imagesdk.emulator import Emulator
from imagesdk.testing import recorded
from tests.support.small_images import png

KEY = "sk-proj-0123456789abcdef"
SMALL = {"model": "dall-e-2", "size": "256x256"}


@pytest.fixture(autouse=True)
def upstream(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> Emulator:
    """The server that is recorded."""
    monkeypatch.setenv("OPENAI_BASE_URL", emulator.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return emulator


def generate(client: Client | openai.OpenAI, prompt: str) -> None:
    if isinstance(client, Client):
        client.images.generate(prompt, model="dall-e-2", size="256x256")
    else:
        client.images.generate(prompt=prompt, model="dall-e-2", size="256x256")


def session() -> list[tuple[str | None, int | None, int | None]]:
    """Do what a program does with images, and return format and size of each."""
    found: list[bytes] = []
    with Client() as client:
        found.append(client.images.download(client.images.generate("a cat", model="dall-e-2")[0]))
        found += [one.bytes for one in client.images.edit(png(64, 64), "a hat", model="gpt-image-2", n=2)]
        with client.images.generate_stream("a river", model="gpt-image-2", partial_images=2) as stream:
            found += [event.image.bytes for event in stream]
    with openai.OpenAI(max_retries=1) as official:
        answer = official.images.generate(prompt="a dog", output_format="webp", model="gpt-image-2")
        found += [b64decode(one.b64_json or "") for one in answer.data or []]
    facts = [sniff(one) for one in found]
    return [(one.media_type, one.width, one.height) for one in facts]


def test_exchanges_are_recorded_once_and_replayed_without_a_call(upstream: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "recordings" / "session.json"
    upstream.state.faults.http(429, headers={"retry-after": "0.01"})
    with recorded(path) as recording:
        assert not recording.replays
        first = session()
    calls = len(upstream.state.requests)
    assert os.environ["OPENAI_BASE_URL"] == upstream.base_url

    for _ in range(2):
        with recorded(path) as recording:
            assert recording.replays
            assert session() == first

    assert len(upstream.state.requests) == calls
    assert len(first) == 7


def test_a_recording_is_small_and_has_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    with recorded(path):
        images = session()
        httpx.post(
            f"{os.environ['OPENAI_BASE_URL']}/images/generations",
            json={
                "prompt": f"my key is {KEY}",
                **SMALL,
                "nonsense": "https://host.test/a.png?sig=secret&x=1",
            },
            headers={"authorization": f"Bearer {KEY}"},
        )

    text = path.read_text()
    assert len(text) <= 2048 * len(images)
    for secret in (KEY, "0123456789abcdef", "sig=", "secret", "boundary", "idempotency", "authorization"):
        assert secret not in text
    assert "https://host.test/a.png" in text


def test_a_request_that_was_not_recorded_is_an_error_and_no_call(upstream: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    with recorded(path), Client() as client:
        generate(client, "a cat")
    calls = len(upstream.state.requests)

    def ask(recording: recorded, *prompts: str) -> list[str]:
        refusals: list[str] = []
        with recording, openai.OpenAI() as official:
            for prompt in prompts:
                try:
                    generate(official, prompt)
                except openai.BadRequestError as error:
                    refusals.append(str(error))
        return refusals

    with pytest.raises(AssertionError, match="a dog"):
        ask(recorded(path), "a cat", "a dog")
    with pytest.raises(AssertionError, match="was replayed before"):
        ask(recorded(path), "a cat", "a cat")
    assert ask(recorded(path), "a cat") == []

    assert len(upstream.state.requests) == calls


def test_an_error_of_the_block_leaves_as_itself_with_the_problems_as_notes(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    path.write_text('{"version": 1, "exchanges": []}')

    with pytest.raises(openai.BadRequestError) as error, recorded(path), openai.OpenAI() as client:
        generate(client, "a cat")

    [note] = error.value.__notes__
    assert "is not in" in note


def test_a_recording_can_be_required_or_replaced(upstream: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    with pytest.raises(FileNotFoundError), recorded(path, mode="never"):
        pass
    for count in (1, 2):
        with recorded(path, mode="always"), Client() as client:
            generate(client, "a cat")
        assert len(upstream.state.requests) == count
    assert len(json.loads(path.read_text())["exchanges"]) == 1
    with pytest.raises(ValueError, match="mode is once, never or always"):
        recorded(path, mode="sometimes")  # type: ignore[arg-type]


def test_an_api_that_cannot_be_reached_is_an_error_and_records_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"

    with pytest.raises(AssertionError, match="could not be reached"):
        with recorded(path, upstream="http://127.0.0.1:9/v1") as recording:
            assert httpx.post(f"{recording.url}/images/generations", json={}).status_code == 502

    assert not path.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"version": 1, "exchanges": [{}]}'])
def test_a_damaged_recording_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cat.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"cat\.json is not a recording"), recorded(path):
        pass

"""Recordings: real exchanges once, small files without secrets, and replays that never call."""

import json
import os
from base64 import b64decode
from pathlib import Path
from typing import Any

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
        cat = client.images.generate("a cat", model="dall-e-2", size="256x256")[0]
        found.append(client.images.download(cat))
        hats = client.images.edit(
            png(64, 64), "a hat", model="dall-e-2", n=2, size="256x256", response_format="b64_json"
        )
        found += [one.bytes for one in hats]
        with client.images.generate_stream(
            "a river", model="gpt-image-2", output_format="jpeg", partial_images=1
        ) as stream:
            found += [event.image.bytes for event in stream]
    facts = [sniff(one) for one in found]
    return [(one.media_type, one.width, one.height) for one in facts]


def test_exchanges_are_recorded_once_in_a_small_file_without_secrets_and_replayed_without_a_call(
    upstream: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "recordings" / "session.json"
    upstream.state.faults.http(429, headers={"retry-after": "0.01"})
    wrong = {"prompt": f"my key is {KEY}", "nonsense": "https://host.test/a.png?sig=secret&x=1", **SMALL}

    def run() -> list[tuple[str | None, int | None, int | None]]:
        images = session()
        url = f"{os.environ['OPENAI_BASE_URL']}/images/generations"
        httpx.post(url, json=wrong, headers={"authorization": f"Bearer {KEY}"}, verify=False)
        return images

    with recorded(path) as recording:
        assert not recording.replays
        first = run()
    calls = len(upstream.state.requests)
    assert os.environ["OPENAI_BASE_URL"] == upstream.base_url
    with recorded(path) as recording:
        assert recording.replays
        assert run() == first

    assert (len(first), len(upstream.state.requests)) == (5, calls)
    text = path.read_text()
    assert len(text) <= 2048 * len(first)
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
            assert httpx.post(f"{recording.url}/images/generations", json={}, verify=False).status_code == 502

    assert not path.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"version": 1, "exchanges": [{}]}'])
def test_a_damaged_recording_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cat.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"cat\.json is not a recording"), recorded(path):
        pass


def test_the_files_of_a_batch_are_recorded_line_by_line_without_their_images(
    upstream: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "batch.json"
    body = {"model": "gpt-image-2", "prompt": "a cat", "size": "1024x1024", "output_format": "jpeg"}
    line = {"custom_id": "cat", "method": "POST", "url": "/v1/images/generations", "body": body}

    def run() -> dict[str, Any]:
        with recorded(path) as recording, httpx.Client(base_url=recording.url, verify=False) as http:
            sent = {"file": ("jobs.jsonl", json.dumps(line).encode(), "application/jsonl")}
            file = http.post("/files", data={"purpose": "batch"}, files=sent).json()["id"]
            given = {"input_file_id": file, "endpoint": line["url"], "completion_window": "24h"}
            batch = http.post("/batches", json=given).json()["id"]
            output = http.get(f"/batches/{batch}").json()["output_file_id"]
            found: dict[str, Any] = json.loads(http.get(f"/files/{output}/content?api-key=secret").content)
            return found

    first, second = run(), run()

    images = [one["response"]["body"]["data"][0]["b64_json"] for one in (first, second)]
    assert [sniff(b64decode(image)).width for image in images] == [1024, 1024]
    assert first["custom_id"] == second["custom_id"] == "cat"
    assert len(path.read_text()) < 8192
    assert "secret" not in path.read_text()

"""The verdict on clients over sockets: each planted mistake is found, and nothing is found with correct clients."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import openai
import pytest

from imagesdk import Client, Generate, ModerationError, RateLimit, RetryPolicy
from imagesdk.emulator import Emulator
from tests.emulator.api import SMALL
from tests.support.small_images import png

CHEAP = Generate("a cat", model="dall-e-2", size="256x256")
CAT = {"image": ("cat.png", png(4, 4), "image/png")}
EDIT = {"model": "gpt-image-2", "prompt": "a beret"}
STREAM = {"model": "gpt-image-2", "prompt": "a river", "stream": True, "partial_images": 3}


class Scene:
    """An emulator with a limit of three images a minute, a client of it, and time that passes when a test says so."""

    def __init__(self, stack: ExitStack) -> None:
        self.added = 0.0
        self.emulator = stack.enter_context(Emulator(limit="3/min", clock=lambda: time.time() + self.added))
        self.http = stack.enter_context(httpx.Client(base_url=self.emulator.base_url, verify=False))
        self.stack = stack

    def post(self, prompt: str = "a cat", times: int = 1, **headers: str) -> None:
        """Send a generation, and look at no response."""
        for _ in range(times):
            try:
                self.http.post("/images/generations", json={**SMALL, "prompt": prompt}, headers=headers)
            except httpx.TransportError:
                continue

    def url(self) -> str:
        """Return the URL of a new image."""
        return str(self.http.post("/images/generations", json=SMALL).json()["data"][0]["url"])


def retries_what_was_billed(scene: Scene) -> None:
    scene.emulator.state.faults.connection(drop=True, after_work=True)
    scene.post(times=2, **{"idempotency-key": "one"})


def comes_before_retry_after(scene: Scene) -> None:
    scene.emulator.state.faults.http(429, headers={"retry-after": "20"})
    scene.post()
    scene.added += 1
    scene.post()


def ignores_the_limit(scene: Scene) -> None:
    for number in range(8):
        scene.post(f"cat {number}")


def retries_without_a_delay(scene: Scene) -> None:
    scene.emulator.state.faults.http(503, times=12)
    scene.post(times=12)


def sends_a_refusal_again(scene: Scene) -> None:
    scene.post("something forbidden", times=2)


def forgets_the_media_type(scene: Scene) -> None:
    cat = {"image": ("cat", png(4, 4), "application/octet-stream")}
    scene.http.post("/images/edits", data=EDIT, files=cat)


def uploads_again(scene: Scene) -> None:
    for _ in range(2):
        scene.http.post("/files", data={"purpose": "vision"}, files={"file": CAT["image"]})


def leaves_a_stream(scene: Scene) -> None:
    scene.emulator.state.faults.stream(delay=30, after_events=1)
    with scene.http.stream("POST", "/images/generations", json=STREAM, timeout=60) as answer:
        next(answer.iter_lines())
    scene.emulator.settle()


def connects_for_each_request(scene: Scene) -> None:
    for _ in range(6):
        httpx.get(f"{scene.emulator.base_url}/models", verify=False)


def keeps_its_connections(scene: Scene) -> None:
    for _ in range(7):
        scene.stack.enter_context(httpx.Client(verify=False)).get(f"{scene.emulator.base_url}/models")


def fetches_what_has_expired(scene: Scene) -> None:
    url = scene.url()
    scene.added += 3601
    scene.http.get(url)


def shows_its_key(scene: Scene) -> None:
    scene.http.get(scene.url(), headers={"authorization": "Bearer sk-mine"})


BUGS: dict[str, Callable[[Scene], None]] = {
    "billed-twice": retries_what_was_billed,
    "retry-after-ignored": comes_before_retry_after,
    "over-limit": ignores_the_limit,
    "hammering": retries_without_a_delay,
    "refusal-repeated": sends_a_refusal_again,
    "octet-stream": forgets_the_media_type,
    "upload-repeated": uploads_again,
    "stream-abandoned": leaves_a_stream,
    "connection-per-request": connects_for_each_request,
    "connections-left-open": keeps_its_connections,
    "expired-url": fetches_what_has_expired,
    "key-leaked": shows_its_key,
}


@pytest.mark.parametrize("rule", BUGS)
def test_a_mistake_of_a_client_is_found(rule: str) -> None:
    with ExitStack() as stack:
        scene = Scene(stack)
        BUGS[rule](scene)
        scene.emulator.settle()
        verdict = scene.emulator.state.verdict()
        served = scene.http.get(f"{scene.emulator.origin}/_emulator/verdict").json()

    assert [finding.rule for finding in verdict.findings] == [rule], str(verdict)
    assert (bool(verdict), verdict.ok, served["ok"]) == (False, False, False)
    assert served["findings"][0]["rule"] == rule
    with pytest.raises(AssertionError, match=rule):
        verdict.assert_ok()


def test_nothing_is_found_with_our_client() -> None:
    with ExitStack() as stack:
        scene = Scene(stack)
        emulator = scene.emulator
        emulator.reset(limit="10/s")
        limit, retry = RateLimit.parse("10/s"), RetryPolicy(backoff=0.3, max_ambiguous=0)
        client = stack.enter_context(
            Client(base_url=emulator.base_url, api_key="sk-ours", rate_limit=limit, retry=retry)
        )
        emulator.state.faults.http(429, headers={"retry-after": "0.2"})
        emulator.state.faults.http(425)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(client.images.send, [CHEAP] * 12))
        image = client.images.edit(png(64, 64), "a beret", model="dall-e-2", response_format="url")[0]
        client.images.download(image)
        with client.images.generate_stream("a river", model="gpt-image-2", partial_images=1) as stream:
            stream.final()
        with pytest.raises(ModerationError):
            client.images.generate("something forbidden", model="dall-e-2")
        verdict = emulator.state.verdict()

    assert verdict.ok, str(verdict)
    assert len(emulator.state.requests) >= 16


def test_nothing_is_found_with_the_official_client() -> None:
    with ExitStack() as stack:
        scene = Scene(stack)
        emulator = scene.emulator
        emulator.reset(limit=None)
        client = stack.enter_context(openai.OpenAI(base_url=emulator.base_url, api_key="sk-theirs"))
        emulator.state.faults.http(429, headers={"retry-after-ms": "100"})
        emulator.state.faults.http(503)

        def generate(number: int) -> None:
            client.images.generate(prompt=f"cat {number}", model="dall-e-2", size="256x256")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(generate, range(8)))
        client.images.edit(image=CAT["image"], prompt="a beret", model="gpt-image-2")
        for _ in client.images.generate(prompt="a river", model="gpt-image-2", stream=True):
            pass
        with pytest.raises(openai.BadRequestError):
            client.images.generate(prompt="something forbidden", model="dall-e-2")
        verdict = emulator.state.verdict()

    assert verdict.ok, str(verdict)
    assert len(emulator.state.requests) >= 13

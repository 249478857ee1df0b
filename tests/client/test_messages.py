"""Messages that name what to write: options of other clients, swapped arguments, values of another kind."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from imagesdk import (
    AsyncClient,
    Client,
    ConfigurationError,
    Generate,
    InvalidRequestError,
    RateLimit,
    RetryPolicy,
    Variation,
)
from imagesdk.fan_out.spending import SpendingLimit, parse_budget
from tests.support.small_images import png

OWN: dict[str, Any] = {
    "api_key": "",
    "base_url": "http://127.0.0.1:9/v1",
    "retry": RetryPolicy(max_attempts=1),
}
AZURE = "https://a.openai.azure.com"

OPTIONS = [
    ("max_retries", 2, "Use retry=RetryPolicy(max_attempts=3) for the max_retries=2 of openai."),
    ("default_query", {"a": "b"}, "Pass extra_query= to a call."),
    ("azure_endpoint", AZURE, "Use Client.azure(endpoint)."),
    ("azure_deployment", "x", "Use Client.azure(endpoint, deployment=...)."),
    ("azure_ad_token", "x", "Use Client.azure(endpoint, token_provider=lambda: token)."),
    ("azure_ad_token_provider", str, "Use Client.azure(endpoint, token_provider=...)."),
    ("proxies", "x", "Pass http_client=httpx.AsyncClient(proxy=...)."),
    ("nonsense", 5, ""),
]


@pytest.mark.parametrize(("name", "value", "remedy"), OPTIONS)
def test_an_option_of_another_client_names_what_replaces_it(name: str, value: object, remedy: str) -> None:
    wrong: Any = {name: value}
    makers: list[Callable[[], object]] = [lambda: AsyncClient(**wrong), lambda: Client(**wrong)]
    makers += [lambda: Client.azure(AZURE, api_key="x", **wrong)]
    for make in makers:
        with pytest.raises(TypeError) as caught:
            make()
        assert str(caught.value) == f"A client has no option {name}=. {remedy}".strip()
    with pytest.raises(ConfigurationError, match=f"not {name}") as refused:
        AsyncClient(**OWN).with_options(**wrong)
    assert str(refused.value).endswith(remedy or ": another server or key needs another client.")


@pytest.mark.parametrize("timeout", [httpx.Timeout(30, connect=5), httpx2.Timeout(30, connect=5)])
def test_a_timeout_of_httpx_names_the_time_outs_to_write(timeout: Any) -> None:
    remedy = r"Use timeout=Timeouts\(connect=5, attempt=30\) in place of httpx\.Timeout\.$"
    with pytest.raises(ConfigurationError, match=remedy):
        Client(**OWN, timeout=timeout)
    with Client(**OWN) as client, pytest.raises(InvalidRequestError, match=remedy):
        client.images.generate("a cat", timeout=timeout)


MESSAGES: list[tuple[Callable[[Any], object], str]] = [
    (
        lambda client: client.images.generate("a cat", partial_images=2),
        "use images.generate_stream(..., partial_images=2) to receive partial images",
    ),
    (
        lambda client: client.images.edit("a cat", "lounge.png"),
        "image: no file named 'a cat'. Pass the image first, and then the prompt: edit(image, prompt).",
    ),
    (lambda client: client.images.edit("cat.png", "a dog"), "image: no file named 'cat.png'."),
    (lambda client: client.images.edit(png(), "a dog", mask="hole"), "mask: no file named 'hole'."),
    (lambda client: client.images.create_variation("cat"), "image: no file named 'cat'."),
    (
        lambda client: client.images.send(Variation(png(), model="gpt-image-2")),
        "gpt-image-2 has no variations endpoint. Use images.edit(image, prompt).",
    ),
    (
        lambda client: client.images.edit(("p.txt", b"a poem about a river"), "a cat", model="gpt-image-2"),
        "image p.txt is not an image (starts with 'a poem about'). Supported: PNG, JPEG, WebP.",
    ),
    (
        lambda client: client.images.generate("a cat", size="1920x1080", model="gpt-image-2"),
        "Pass size='1920x1088', the nearest valid size.",
    ),
    (lambda client: client.images.generate("a \ud800"), "prompt contains a lone surrogate (U+D800)."),
    (lambda client: client.images.generate(42), "prompt must be str, got int."),
    (lambda _: RetryPolicy(idempotency_header="host"), "idempotency_header 'host' is reserved."),
    (lambda _: RateLimit("50/min"), "Pass rate_limit='50/min', or RateLimit.parse('50/min')."),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
]


@pytest.mark.parametrize(("call", "text"), MESSAGES)
def test_a_mistake_in_a_call_names_what_to_write(
    call: Callable[[Any], object], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        Client(**OWN) as client,
        pytest.raises((TypeError, OSError, ValueError, ConfigurationError)) as caught,
    ):
        call(client)
    assert text in str(caught.value)


def test_a_missing_file_is_a_file_not_found_error_that_can_be_pickled(tmp_path: Path) -> None:
    path = tmp_path / "cat"
    with Client(**OWN) as client, pytest.raises(FileNotFoundError) as caught:
        client.images.edit(path, "a dog")
    copy = pickle.loads(pickle.dumps(caught.value))
    for error in (caught.value, copy):
        assert (error.errno, error.filename) == (2, str(path))
        assert str(error).startswith(f"image: no file named {str(path)!r}. Pass the image first")


@pytest.mark.parametrize(("auto", "reason"), [(True, ' because quality is "auto"'), (False, "")])
def test_a_job_over_the_budget_names_the_money_and_the_reason(auto: bool, reason: str) -> None:
    spending = SpendingLimit(parse_budget("5"), spent=parse_budget("0.80"))
    text = str(spending.refusal(parse_budget("7.11"), auto_quality=auto))
    assert f"may cost up to $7.11{reason}, but only $4.20 of the $5.00 budget is left" in text
    assert ("Pass quality=" in text) is auto
    assert text.endswith("Run again with a higher budget= to continue.")


def test_a_partial_image_of_a_job_names_the_stream_too() -> None:
    with (
        Client(**OWN) as client,
        pytest.raises(InvalidRequestError, match=r"images\.stream\(|generate_stream"),
    ):
        client.images.send(Generate("a cat", partial_images=2, model="gpt-image-2"))

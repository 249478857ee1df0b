"""Settings are looked at where they are made: those that fit are used, the others are named with what is expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy
import pytest

from imagesdk import (
    APITimeoutError,
    AsyncClient,
    Caps,
    Client,
    ConfigurationError,
    Generate,
    InvalidRequestError,
    LimitWaitError,
    RateLimit,
    RetryPolicy,
    Timeouts,
    estimate,
)
from imagesdk.emulator import Emulator
from tests.support.leaks import leaks
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

OWN = "http://127.0.0.1:9/v1"
KEY = "sk-test-0123456789abcdef"
MakeClient = Callable[..., AsyncClient]

WRONG: list[tuple[str, Any, str]] = [
    ("rate_limit", 5, 'rate_limit must be a RateLimit, a text such as "50/min", or None'),
    (
        "rate_limit",
        "5 a minute",
        "rate_limit must be written like 50/min, 5/s, 500/h or 50/10s, or be none, not '5 a minute'.",
    ),
    ("rate_limit", "", "or be none, not ''."),
    ("rate_limit", {"dall-e-2": 5}, "rate_limit['dall-e-2'] must be a RateLimit"),
    ("rate_limit", {"*": "many"}, "rate_limit['*'] must be written like 50/min"),
    ("rate_limit", {None: "5/min"}, "A key of rate_limit must be the name of a model"),
    ("rate_limit", [RateLimit()], "rate_limit must be"),
    ("retry", 3, "retry must be a RetryPolicy, such as RetryPolicy(max_attempts=4), not 3."),
    ("retry", None, "retry must be"),
    ("timeout", "3", "timeout must be a number of seconds greater than 0, Timeouts(...) or None, not '3'."),
    ("timeout", 0, "timeout must be"),
    ("timeout", -1.0, "timeout must be"),
    ("timeout", math.nan, "timeout must be"),
    ("timeout", True, "timeout must be"),
    ("timeout", Decimal(3), "timeout must be"),
    ("timeout", (3, 5), "timeout must be"),
    ("check", "no", "check must be True or False, not 'no'."),
    ("check", None, "check must be"),
    ("fsync", 1, "fsync must be"),
    ("caps", 10, "caps must be Caps"),
    ("observers", print, "observers must be a list of functions, such as [print], not <built-in"),
    ("observers", 5, "observers must be"),
    ("observers", "print", "observers must be"),
    ("observers", [print, None], "observers must be"),
    ("default_headers", "x-team: SECRET", "default_headers must be a mapping of names to texts"),
    ("default_headers", {"x-team": 5}, "The value of header 'x-team' must be a text"),
    ("default_headers", {5: "x"}, "5 is not a header name"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_setting_of_the_wrong_kind_is_named_with_what_is_expected(name: str, value: Any, said: str) -> None:
    wrong: Any = {name: value}
    client = AsyncClient(api_key="", base_url=OWN)
    for make in (
        lambda: AsyncClient(api_key="", base_url=OWN, **wrong),
        lambda: Client(api_key="", base_url=OWN, **wrong),
        lambda: AsyncClient.azure("https://a.openai.azure.com", api_key=KEY, **wrong),
        lambda: client.with_options(**wrong),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert said in str(caught.value)
        assert len(str(caught.value)) < 300
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": 5},
        {"api_key": KEY.encode()},
        {"api_key": [KEY]},
        {"base_url": 5},
        {"organization": 5},
        {"project": [KEY]},
        {"allow_insecure": "yes"},
    ],
)
def test_what_a_client_alone_is_told_is_looked_at_likewise_and_no_key_is_shown(wrong: Any) -> None:
    [name] = wrong
    given: dict[str, Any] = {"api_key": "", "base_url": OWN, **wrong}
    for make in (Client, AsyncClient):
        with pytest.raises(ConfigurationError, match=f"^{name} must be ") as caught:
            make(**given)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["endpoint", "deployment", "api_version", "model", "api_key"])
def test_so_is_what_a_client_of_azure_is_told(name: str) -> None:
    given: dict[str, Any] = {"endpoint": "https://a.openai.azure.com", "api_key": KEY, name: 5}
    with pytest.raises(ConfigurationError, match=f"^{name} must be a text") as caught:
        AsyncClient.azure(**given)
    assert leaks(caught.value) == []


def test_what_fits_is_taken() -> None:
    right: list[Any] = [
        {"timeout": 3},
        {"timeout": numpy.int64(3)},
        {"timeout": Timeouts(total=3)},
        {"timeout": None},
        {"observers": iter([print])},
        {"observers": ()},
        {"rate_limit": None},
        {"rate_limit": {"*": None, "dall-e-2": "5/min"}},
        {"caps": Caps(), "retry": RetryPolicy(), "check": False, "fsync": True},
        {"default_headers": None},
    ]
    client = AsyncClient(api_key="", base_url=OWN)
    for settings in right:
        AsyncClient(api_key="", base_url=OWN, **settings)
        client.with_options(**settings)


async def test_a_rate_limit_may_be_written_as_text_also_by_model_and_in_a_view() -> None:
    async def waits(client: AsyncClient, model: str = "own") -> str:
        with pytest.raises(LimitWaitError) as caught:
            await client.images.generate("a cat", model=model, n=9)
        return str(caught.value)

    client = AsyncClient(api_key="", base_url=OWN, rate_limit="5/s")
    assert "5 images / 1 s" in await waits(client)
    assert "6 images / 60 s" in await waits(client.with_options(rate_limit="6/min"))
    by_model = AsyncClient(
        api_key="", base_url="http://127.0.0.1:8/v1", rate_limit={"own": "7/min", "*": " None "}
    )
    assert "7 images / 60 s" in await waits(by_model)


async def test_no_rate_limit_may_be_written_as_text(make_client: MakeClient) -> None:
    async with serving(always(answer(png()))) as server:
        async with make_client(server.base_url, rate_limit="none") as client:
            await client.images.generate("a cat", n=1000)
        async with make_client(server.base_url, rate_limit={"*": "none"}) as client:
            await client.images.generate("a cat", n=1000)


def test_the_limit_of_the_environment_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESDK_RATE_LIMIT", "a few")
    with pytest.raises(ConfigurationError, match=r"IMAGESDK_RATE_LIMIT must be written like .*, not 'a few'"):
        AsyncClient(base_url=OWN)


@pytest.mark.parametrize("limit", [None, "none"])
def test_an_emulator_without_a_limit_may_be_told_so_in_the_words_of_its_command(limit: str | None) -> None:
    with (
        Emulator(limit=limit) as emulator,
        Client(api_key="", base_url=emulator.base_url, rate_limit=None) as client,
    ):
        for _ in range(6):
            client.images.generate("a cat", model="dall-e-2", size="256x256", n=10)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Timeouts(total="3"), "total must be a number greater than 0, or None, not '3'"),  # type: ignore[arg-type]
        (lambda: Timeouts(connect=[1]), "connect must be"),  # type: ignore[arg-type]
        (lambda: Timeouts(attempt=True), "attempt must be"),
        (lambda: RateLimit(per="60"), "per must be a number greater than 0"),  # type: ignore[arg-type]
        (lambda: RateLimit(scope=["client"]), "scope must be"),  # type: ignore[arg-type]
        (lambda: RateLimit.parse(5), "not 5"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(backoff="1"), "backoff must be a number of at least 0, not '1'"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(max_backoff=None), "max_backoff must be"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(budget="5"), "budget must be"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(delivery=["at_most_once"]), "delivery must be"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(idempotency_header=5), "idempotency_header 5 is not a header name"),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_a_policy_may_be_of_the_wrong_kind_too(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "3"),
        ("timeout", 0),
        ("timeout", -1),
        ("check", "no"),
        ("extra_headers", [("a", "b")]),
        ("extra_query", 5),
        ("extra_body", "{}"),
        ("idempotency_key", 5),
    ],
)
async def test_an_option_of_a_call_is_an_invalid_request(
    name: str, value: Any, make_client: MakeClient
) -> None:
    wrong: Any = {name: value}
    async with make_client(OWN) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.images.generate("a cat", **wrong)
        assert caught.value.param == name
        assert str(caught.value).startswith(f"{name} ")
        with pytest.raises(InvalidRequestError):
            async with client.images.generate_stream("a cat", **wrong):
                pass


async def test_the_time_of_any_other_call_is_looked_at_likewise(make_client: MakeClient) -> None:
    wrong: Any = "3"
    async with make_client(OWN) as client:
        for call in (
            client.request("GET", "/models", timeout=wrong),
            client.files.list(timeout=wrong),
            client.files.content("file-1", timeout=wrong),
            client.images.download("https://pictures.test/a.png", timeout=wrong),
        ):
            with pytest.raises(
                InvalidRequestError, match="timeout is '3'; allowed: a number of seconds greater than 0"
            ):
                await call


async def test_a_call_takes_times_in_place_of_those_of_its_client(make_client: MakeClient) -> None:
    async def never(talk: Conversation) -> None:
        await talk.request()
        await talk.dropped()

    soon = Timeouts(attempt=0.05)
    async with serving(never) as server:
        once = RetryPolicy(max_attempts=1)
        async with make_client(server.base_url, timeout=Timeouts(attempt=60), retry=once) as client:
            for call in (
                client.images.generate("a cat", timeout=soon),
                client.request("GET", "/models", timeout=soon),
                client.files.list(timeout=soon),
            ):
                with pytest.raises(APITimeoutError):
                    await call


@pytest.mark.parametrize("job", ["a cat", None, Generate, {"prompt": "a cat"}])
async def test_what_is_no_job_is_refused_where_one_is_sent_or_reckoned(
    job: Any, make_client: MakeClient
) -> None:
    said = "job is a .*; allowed: Generate, Edit or Variation"
    async with make_client(OWN) as client:
        with pytest.raises(InvalidRequestError, match=said):
            await client.images.send(job)
        with pytest.raises(InvalidRequestError, match=said):
            async with client.images.stream(job):
                pass
    with pytest.raises(InvalidRequestError, match=said):
        estimate(job)

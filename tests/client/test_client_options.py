"""Options of clients and calls: valid ones apply, wrong ones raise errors that name them and what is allowed."""

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
from tests.support.leaks import KEY, leaks
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

OWN = "http://127.0.0.1:9/v1"
MakeClient = Callable[..., AsyncClient]

WRONG: list[tuple[str, Any, str]] = [
    ("rate_limit", 5, 'rate_limit must be a RateLimit, a text such as "50/min", or None'),
    ("rate_limit", "often", "must be written like 50/min, 5/s, 500/h or 50/10s, or be none, not 'often'."),
    ("rate_limit", "", "or be none, not ''."),
    ("rate_limit", {"dall-e-2": 5}, "rate_limit['dall-e-2'] must be a RateLimit"),
    ("rate_limit", {"*": "many"}, "rate_limit['*'] must be written like 50/min"),
    ("rate_limit", {None: "5/min"}, "A key of rate_limit must be the name of a model"),
    ("rate_limit", [RateLimit()], "rate_limit must be"),
    ("retry", 3, "retry must be a RetryPolicy, such as RetryPolicy(max_attempts=4), not 3."),
    ("retry", None, "retry must be"),
    ("timeout", "3", "timeout must be a number of seconds greater than 0, Timeouts(...) or None, not '3'."),
    *(("timeout", wrong, "timeout must be") for wrong in (0, -1.0, math.nan, True, Decimal(3), (3, 5))),
    ("check", "no", "check must be True or False, not 'no'."),
    ("check", None, "check must be"),
    ("fsync", 1, "fsync must be"),
    ("caps", 10, "caps must be Caps"),
    ("observers", print, "observers must be a list of functions, such as [print], not <built-in"),
    *(("observers", wrong, "observers must be") for wrong in (5, "print", [print, None])),
    ("default_headers", "x-team: SECRET", "default_headers must be a mapping of names to texts"),
    ("default_headers", {"x-team": 5}, "The value of header 'x-team' must be a text"),
    ("default_headers", {5: "x"}, "5 is not a header name"),
    (
        "trusted_result_hosts",
        "images.lan",
        "trusted_result_hosts must be a list of host names without scheme or port",
    ),
    *(
        ("trusted_result_hosts", [wrong], f"not {[wrong]!r}.")
        for wrong in ("http://a", "a:80", "a/b", "", 5, None)
    ),
    ("trusted_result_hosts", ["https://me:SECRET@a"], "not one with a user."),
    ("trusted_result_hosts", 5, "not 5."),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_option_is_named_with_what_is_allowed(name: str, value: Any, message: str) -> None:
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
        assert message in str(caught.value)
        assert len(str(caught.value)) < 300
        assert "SECRET" not in str(caught.value)


KEYS = [("api_key", value) for value in (5, KEY.encode(), [KEY])]
OTHERS = [("base_url", 5), ("organization", 5), ("project", [KEY]), ("allow_insecure", "yes")]


@pytest.mark.parametrize(("name", "value"), [*KEYS, *OTHERS])
def test_wrong_arguments_of_a_client_are_named_and_no_key_is_shown(name: str, value: Any) -> None:
    given: dict[str, Any] = {"api_key": "", "base_url": OWN, name: value}
    for make in (Client, AsyncClient):
        with pytest.raises(ConfigurationError, match=f"^{name} must be ") as caught:
            make(**given)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["endpoint", "deployment", "api_version", "model", "api_key"])
def test_wrong_arguments_of_a_client_of_azure_are_named(name: str) -> None:
    given: dict[str, Any] = {"endpoint": "https://a.openai.azure.com", "api_key": KEY, name: 5}
    with pytest.raises(ConfigurationError, match=f"^{name} must be a text") as caught:
        AsyncClient.azure(**given)
    assert leaks(caught.value) == []


def test_valid_options_are_accepted() -> None:
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


@pytest.mark.parametrize("unlimited", ["none", {"*": " None "}])
async def test_a_rate_limit_may_be_a_text(unlimited: Any, make_client: MakeClient) -> None:
    async with serving(always(answer(png()))) as server:
        async with make_client(server.base_url, rate_limit={"own": "7/s", "*": "none"}) as client:
            for limited, message in (
                (client, "7 images / 1 s"),
                (client.with_options(rate_limit="6/min"), "6 images / 60 s"),
            ):
                with pytest.raises(LimitWaitError, match=message):
                    await limited.images.generate("a cat", model="own", n=9)
            await client.with_options(rate_limit=unlimited).images.generate("a cat", model="own", n=1000)


def test_the_limit_of_the_environment_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESDK_RATE_LIMIT", "a few")
    with pytest.raises(ConfigurationError, match=r"IMAGESDK_RATE_LIMIT must be written like .*, not 'a few'"):
        AsyncClient(base_url=OWN)


@pytest.mark.parametrize("limit", [None, "none"])
def test_an_emulator_accepts_none_as_a_text_like_its_command(limit: str | None) -> None:
    with (
        Emulator(limit=limit) as emulator,
        Client(api_key="", base_url=emulator.base_url, rate_limit=None) as client,
    ):
        for _ in range(6):
            client.images.generate("a cat", model="dall-e-2", size="256x256", n=10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "3"),
        ("timeout", 0),
        ("check", "no"),
        ("extra_headers", [("a", "b")]),
        ("extra_query", 5),
        ("extra_body", "{}"),
        ("idempotency_key", 5),
    ],
)
async def test_a_wrong_option_of_a_call_is_an_invalid_request(
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


async def test_a_wrong_time_out_is_refused_by_every_other_call(make_client: MakeClient) -> None:
    wrong: Any = "3"
    async with make_client(OWN) as client:
        for call in (
            client.request("GET", "/models", timeout=wrong),
            client.files.list(timeout=wrong),
            client.files.content("file-1", timeout=wrong),
            client.images.download("https://images.test/a.png", timeout=wrong),
        ):
            with pytest.raises(InvalidRequestError, match="timeout is '3'; allowed: a number of seconds"):
                await call


async def test_the_time_outs_of_a_call_override_those_of_its_client(make_client: MakeClient) -> None:
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
async def test_a_value_that_is_not_a_job_is_refused(job: Any, make_client: MakeClient) -> None:
    message = "job is a .*; allowed: Generate, Edit or Variation"
    async with make_client(OWN) as client:
        with pytest.raises(InvalidRequestError, match=message):
            await client.images.send(job)
        with pytest.raises(InvalidRequestError, match=message):
            async with client.images.stream(job):
                pass
    with pytest.raises(InvalidRequestError, match=message):
        estimate(job)

"""Retirement warnings: once per model, at the line of the user, and only for OpenAI."""

import linecache
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import anyio
import pytest
import respx

from imagesdk import AsyncClient, Client, Edit, Generate, Job, RetirementWarning, Variation
from imagesdk._calls import retirement as _retirement
from imagesdk._calls.retirement import warn_if_retired
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host
from imagesdk._protocol.requests import plan_request

pytestmark = pytest.mark.one_loop

OPENAI = Host.parse(OPENAI_BASE_URL)
TODAY = date(2026, 11, 27)
MODEL = "gpt-image-1.5"
JOB = Generate("a cat", model=MODEL)
ENDING = "gpt-image-1.5 will be shut down on 2026-12-01, in 4 days. Use model='gpt-image-2.6-sunburst'."


@pytest.fixture(autouse=True)
def no_warnings_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a new process does, on a fixed day."""
    monkeypatch.setattr(_retirement, "_warned", set[tuple[str | None, str | None]]())
    monkeypatch.setattr(_retirement, "_today", lambda: TODAY)


@pytest.fixture
async def client(wire: respx.MockRouter) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(api_key="sk-1", rate_limit=None) as client:
        yield client


@pytest.fixture
def blocking(wire: respx.MockRouter) -> Iterator[Client]:
    with Client(api_key="sk-1", rate_limit=None) as client:
        yield client


def warned(job: Job, host: Host = OPENAI, today: date = TODAY) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_retired(plan_request(job, host, check=False), today=today)
    assert {warning.category for warning in caught} <= {RetirementWarning}
    return [str(warning.message) for warning in caught]


def assert_warned_at_the_line_of_the_user(caught: pytest.WarningsRecorder) -> None:
    (warning,) = caught
    assert (str(warning.message), warning.filename) == (ENDING, __file__)
    assert "# the line of the user" in linecache.getline(__file__, warning.lineno)


def test_each_model_that_ends_causes_one_warning() -> None:
    assert warned(JOB) == [ENDING]
    assert warned(JOB) == []
    assert warned(Edit("a.png", "a cat", model=MODEL)) == []
    other = "dall-e-2 was shut down on 2026-05-12. Use model='gpt-image-2.5-flare'."
    assert warned(Generate("a cat", model="dall-e-2")) == [other]


def test_the_warning_of_variations_names_the_endpoint() -> None:
    (text,) = warned(Variation("a.png", model="dall-e-2"))
    assert "variations endpoint was retired on 2026-05-12" in text
    assert warned(Variation("a.png", model="dall-e-2")) == []
    assert len(warned(Generate("a cat", model="dall-e-2"))) == 1


@pytest.mark.parametrize("model", [None, "gpt-image-2", "gpt-image-2.6-flare", "sd-cpp-local"])
def test_a_model_without_an_end_has_no_warning(model: str | None) -> None:
    assert warned(Generate("a cat", model=model)) == []


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:8000/v1", "https://images.test/v1", "https://mine.openai.azure.com/openai/v1"],
)
def test_another_host_has_no_warning(base_url: str) -> None:
    for job in (JOB, Variation("a.png", model="dall-e-2")):
        assert warned(job, Host.parse(base_url)) == []


def test_a_warning_turned_into_an_error_is_raised_by_each_call() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RetirementWarning)
        for _ in range(2):
            with pytest.raises(RetirementWarning, match="2026-12-01"):
                warn_if_retired(plan_request(JOB, OPENAI, check=False))


@pytest.mark.anyio
async def test_a_call_warns_once_at_the_line_of_the_user(wire: respx.MockRouter, client: AsyncClient) -> None:
    with pytest.warns(RetirementWarning) as caught:
        await client.images.generate("a cat", model=MODEL)  # the line of the user
    assert_warned_at_the_line_of_the_user(caught)
    await client.images.generate("a cat", model=MODEL)
    assert len(wire.calls) == 2


@pytest.mark.anyio
async def test_a_warning_turned_into_an_error_is_raised_before_anything_is_sent(
    wire: respx.MockRouter, client: AsyncClient
) -> None:
    with pytest.raises(RetirementWarning):  # the suite makes errors of all warnings
        await client.images.generate("a cat", model=MODEL)
    assert not wire.calls


@pytest.mark.anyio
async def test_a_call_in_a_task_warns_at_the_line_in_that_task(client: AsyncClient) -> None:
    async def send() -> None:
        await client.images.generate("a cat", model=MODEL)  # the line of the user

    with pytest.warns(RetirementWarning) as caught:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
    assert_warned_at_the_line_of_the_user(caught)


def test_a_blocking_call_warns_at_the_line_of_the_user(wire: respx.MockRouter, blocking: Client) -> None:
    with pytest.warns(RetirementWarning, match="in 4 days") as caught:
        blocking.images.generate("a cat", model=MODEL)  # the line of the user
    assert_warned_at_the_line_of_the_user(caught)
    assert len(wire.calls) == 1


def test_a_blocking_call_in_another_thread_warns_at_the_line_in_that_thread(blocking: Client) -> None:
    def send() -> None:
        blocking.images.generate("a cat", model=MODEL)  # the line of the user

    with ThreadPoolExecutor(1) as pool, pytest.warns(RetirementWarning) as caught:
        pool.submit(send).result()
    assert_warned_at_the_line_of_the_user(caught)


def test_a_blocking_run_warns_at_the_line_that_starts_it(blocking: Client) -> None:
    with pytest.warns(RetirementWarning) as caught:
        with blocking.images.fan_out([JOB]) as run:  # the line of the user
            assert [outcome.status for outcome in run] == ["done"]
    assert_warned_at_the_line_of_the_user(caught)


def test_a_filter_for_the_module_of_the_user_applies(blocking: Client) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=re.escape(__name__))
        blocking.images.generate("a cat", model=MODEL)
    assert not caught

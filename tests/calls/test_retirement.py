"""A model that ends is warned of once, at the line that asked for it, and only where its maker is asked."""

import linecache
import re
import warnings
from collections.abc import Callable, Iterator
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
from tests.support.small_images import answer, png

pytestmark = pytest.mark.one_loop

MAKER = Host.parse(OPENAI_BASE_URL)
TODAY = date(2026, 11, 27)
ENDING = "gpt-image-1.5 will be shut down on 2026-12-01, in 4 days. Use model='gpt-image-2.6-sunburst'."


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a new process does, on a day of which the facts are known."""
    monkeypatch.setattr(_retirement, "_warned", set[tuple[str | None, str | None]]())
    monkeypatch.setattr(_retirement, "_today", lambda: TODAY)


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as wire:
        for base_url in (OPENAI_BASE_URL, "https://images.test/v1"):
            for path in ("generations", "edits", "variations"):
                wire.post(f"{base_url}/images/{path}").respond(content=answer(png(2, 2)))
        yield wire


def warned(job: Job, host: Host = MAKER, today: date = TODAY) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_retired(plan_request(job, host, check=False), today=today)
    assert {warning.category for warning in caught} <= {RetirementWarning}
    return [str(warning.message) for warning in caught]


def assert_said_at_the_line_of_the_user(caught: pytest.WarningsRecorder) -> None:
    (warning,) = caught
    assert (str(warning.message), warning.filename) == (ENDING, __file__)
    assert "# the line of the user" in linecache.getline(__file__, warning.lineno)


def test_a_model_that_ends_soon_is_warned_of_once() -> None:
    job = Generate("a cat", model="gpt-image-1.5")
    assert warned(job) == [ENDING]
    assert warned(job) == []
    assert warned(Edit("a.png", "a cat", model="gpt-image-1.5")) == []


def test_each_model_is_warned_of_by_itself() -> None:
    assert warned(Generate("a cat", model="gpt-image-1.5")) == [ENDING]
    assert warned(Generate("a cat", model="dall-e-2")) == [
        "dall-e-2 was shut down on 2026-05-12. Use model='gpt-image-2.5-flare'."
    ]


def test_variations_are_warned_of_as_an_endpoint() -> None:
    (text,) = warned(Variation("a.png", model="dall-e-2"))
    assert "variations endpoint was retired on 2026-05-12" in text
    assert warned(Variation("a.png", model="dall-e-2")) == []
    assert len(warned(Generate("a cat", model="dall-e-2"))) == 1


def test_a_model_that_lives_is_warned_of_when_its_time_comes() -> None:
    job = Generate("a cat", model="gpt-image-1.5")
    assert warned(job, today=date(2026, 9, 1)) == []
    assert warned(job, today=date(2026, 12, 2)) == [
        "gpt-image-1.5 was shut down on 2026-12-01. Use model='gpt-image-2.6-sunburst'."
    ]


@pytest.mark.parametrize("model", [None, "gpt-image-2", "gpt-image-2.6-flare", "sd-cpp-local"])
def test_nothing_is_said_of_a_model_without_an_end(model: str | None) -> None:
    assert warned(Generate("a cat", model=model)) == []


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:8000/v1", "https://images.test/v1", "https://mine.openai.azure.com/openai/v1"],
)
def test_nothing_is_said_of_another_host_which_has_dates_of_its_own(base_url: str) -> None:
    for job in (Generate("a cat", model="gpt-image-1.5"), Variation("a.png", model="dall-e-2")):
        assert warned(job, Host.parse(base_url)) == []


def test_made_an_error_it_is_one_each_time() -> None:
    job = Generate("a cat", model="gpt-image-1.5")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RetirementWarning)
        for _ in range(2):
            with pytest.raises(RetirementWarning, match="2026-12-01"):
                warn_if_retired(plan_request(job, MAKER, check=False))


@pytest.mark.anyio
async def test_a_call_warns_at_the_line_of_the_user(wire: respx.MockRouter) -> None:
    async with AsyncClient(api_key="sk-1", rate_limit=None) as client:
        with pytest.warns(RetirementWarning) as caught:
            await client.images.generate("a cat", model="gpt-image-1.5")  # the line of the user
        assert_said_at_the_line_of_the_user(caught)
        await client.images.generate("a cat", model="gpt-image-1.5")
    assert len(wire.calls) == 2


@pytest.mark.anyio
async def test_made_an_error_it_ends_the_call_before_anything_is_sent(wire: respx.MockRouter) -> None:
    async with AsyncClient(api_key="sk-1", rate_limit=None) as client:
        with pytest.raises(RetirementWarning):  # the suite makes errors of all warnings
            await client.images.generate("a cat", model="gpt-image-1.5")
    assert not wire.calls


@pytest.mark.anyio
async def test_a_call_to_another_host_is_not_warned_of(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient]
) -> None:
    async with make_client("https://images.test/v1") as client:
        await client.images.generate("a cat", model="gpt-image-1.5")
    assert len(wire.calls) == 1


@pytest.mark.anyio
async def test_a_call_in_a_task_of_its_own_warns_at_the_line_of_the_user_that_began_it(
    wire: respx.MockRouter,
) -> None:
    async with AsyncClient(api_key="sk-1", rate_limit=None) as client:

        async def make() -> None:
            await client.images.generate("a cat", model="gpt-image-1.5")  # the line of the user

        with pytest.warns(RetirementWarning) as caught:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(make)
        assert_said_at_the_line_of_the_user(caught)


def test_the_blocking_client_warns_at_the_line_of_the_user_too(wire: respx.MockRouter) -> None:
    with Client(api_key="sk-1", rate_limit=None) as client:
        with pytest.warns(RetirementWarning, match="in 4 days") as caught:
            client.images.generate("a cat", model="gpt-image-1.5")  # the line of the user
        assert_said_at_the_line_of_the_user(caught)
    assert len(wire.calls) == 1


def test_a_blocking_call_from_another_thread_warns_at_its_line_there(wire: respx.MockRouter) -> None:
    with Client(api_key="sk-1", rate_limit=None) as client, ThreadPoolExecutor(1) as pool:

        def make() -> None:
            client.images.generate("a cat", model="gpt-image-1.5")  # the line of the user

        with pytest.warns(RetirementWarning) as caught:
            pool.submit(make).result()
        assert_said_at_the_line_of_the_user(caught)


def test_a_blocking_run_warns_at_the_line_that_began_it(wire: respx.MockRouter) -> None:
    jobs = [Generate("a cat", model="gpt-image-1.5")]
    with Client(api_key="sk-1", rate_limit=None) as client:
        with pytest.warns(RetirementWarning) as caught:
            with client.images.fan_out(jobs) as run:  # the line of the user
                assert [outcome.status for outcome in run] == ["done"]
        assert_said_at_the_line_of_the_user(caught)


def test_a_filter_for_the_module_of_the_user_is_heeded(wire: respx.MockRouter) -> None:
    with Client(api_key="sk-1", rate_limit=None) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=re.escape(__name__))
        client.images.generate("a cat", model="gpt-image-1.5")
    assert not caught

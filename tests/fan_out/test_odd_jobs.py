"""Jobs that hold anything: each is the refusal of its place, and no other job suffers."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk import Edit, Generate, ImageSDKError, InvalidRequestError, Variation
from imagesdk.fan_out.journal import read_records
from tests.support.odd_values import json_values
from tests.support.runs import Runs, statuses
from tests.support.small_images import png
from tests.support.virtual_runs import night

KINDS: list[tuple[Any, dict[str, Any]]] = [
    (Generate, {"prompt": "odd"}),
    (Edit, {"prompt": "odd", "image": png()}),
    (Variation, {"image": png()}),
]


@st.composite
def odd_jobs(draw: st.DrawFn) -> Any:
    kind, usual = draw(st.sampled_from(KINDS))
    names = draw(
        st.lists(st.sampled_from(sorted(attrs.fields_dict(kind))), min_size=1, max_size=3, unique=True)
    )
    model = draw(st.none() | st.sampled_from(["gpt-image-2", "dall-e-2", "gpt-image-2.6"]))
    return kind(**{"model": model, **usual, **{name: draw(json_values) for name in names}})


@settings(max_examples=20)
@given(st.lists(st.tuples(odd_jobs()), min_size=4, max_size=4), st.sampled_from([None, "1000000 USD"]))
def test_whatever_a_job_holds_is_its_own_outcome(odd: list[tuple[Any]], budget: str | None) -> None:
    jobs = ["good", *(job for (job,) in odd), "good as well"]
    found = night(jobs, budget=budget, unknown_price="allow")
    assert found.error is None
    by_place = {outcome.place: outcome for outcome in found.outcomes}
    assert sorted(by_place) == list(range(6))
    assert by_place[0].status == by_place[5].status == "done"
    for outcome in found.outcomes:
        assert outcome.status in {"done", "refused", "failed"}
        assert outcome.error is None or isinstance(outcome.error, (ImageSDKError, OSError))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "bad",
    [
        Generate("a", size={}),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Generate("a", n=10**30),
        Generate("a", model=[]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Generate("half \ud800"),
        Generate("a", partial_images="2"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Edit("half \ud800", "a"),
    ],
)
async def test_a_bad_job_among_good_ones_has_the_only_refusal_and_no_record(runs: Runs, bad: Any) -> None:
    outcomes = await runs.saved("a", bad, "b")
    assert statuses(outcomes) == ["done", "refused", "done"]
    assert isinstance(outcomes[1].error, InvalidRequestError)
    assert len([*read_records(runs.out / "journal.db")]) == 2


@pytest.mark.anyio
async def test_an_error_that_no_check_foresaw_is_a_refusal_that_names_it(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(str):
        def strip(self, *_: object) -> str:
            raise ZeroDivisionError("the checks of tomorrow")

    outcomes = await runs.saved("a", Generate(Odd("x"), model="gpt-image-2"), "b")
    assert statuses(outcomes) == ["done", "refused", "done"]
    assert "ZeroDivisionError: the checks of tomorrow" in str(outcomes[1].error)

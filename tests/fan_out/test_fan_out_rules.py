"""The pure rules of a run: which jobs are the same, what a journal means, how far it is, what is written down."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import (
    APIConnectionError,
    AuthenticationError,
    DownloadError,
    Edit,
    Generate,
    Image,
    ImageSDKError,
    ImagesResponse,
    InvalidRequestError,
    ModerationError,
    Outcome,
    OutcomeUnknownError,
    RateLimit,
    Usage,
    Variation,
)
from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.outcomes import Status
from imagesdk.fan_out.output_files import State as FileState
from imagesdk.fan_out.output_files import WrittenFile
from imagesdk.fan_out.progress import ProgressCounter
from imagesdk.fan_out.resume import ResumePolicy, next_action
from imagesdk.fan_out.serialization import error_of, error_record, files_of, response_of, response_record
from imagesdk.fan_out.store import JobRecord, State

texts = st.text(max_size=8)
jobs = st.builds(
    Generate,
    texts,
    model=st.none() | st.sampled_from(["dall-e-2", "gpt-image-2"]),
    n=st.none() | st.integers(1, 3),
    size=st.none() | texts,
)
hashes = st.builds(Hashes, st.lists(st.sampled_from("abc"), max_size=3), st.none() | st.sampled_from("ab"))


class TestTheIdentityOfAJob:
    @given(jobs, jobs, hashes, hashes)
    def test_is_its_content(self, one: Generate, other: Generate, ours: Hashes, theirs: Hashes) -> None:
        same = (one, ours) == (other, theirs)
        assert (digest(one, ours) == digest(other, theirs)) is same

    def test_is_not_that_of_another_kind(self) -> None:
        image = Hashes(["a"])
        kinds = {digest(Edit("x", "a"), image), digest(Variation("x"), image), digest(Generate("a"), image)}
        assert len(kinds) == 3

    def test_is_the_same_for_ever(self) -> None:
        """Or every journal that there is would be worth nothing."""
        job = Generate("a white siamese cat", n=2, svg={"model": "x"})
        assert digest(job, Hashes()) == "4e8292cc84d7d2b895e79b6c5f35f3253c9d3dc8f65acdbe62584c591a9ff8ec"
        assert name_of(digest(job, Hashes()), 1) == "4e8292cc84d7-2"


every_state = st.sampled_from(get_args(State))
every_file = st.none() | st.sampled_from(get_args(FileState))


class TestWhatAJournalMeans:
    @given(every_state, every_file)
    def test_nothing_that_may_have_been_billed_is_sent_again_unasked(
        self, state: State, files: FileState | None
    ) -> None:
        found = next_action(JobRecord("k", "i", "key", state), files, ResumePolicy())
        assert (found == "send") is (state in {"planned", "failed"})

    @given(
        every_state,
        every_file,
        st.builds(ResumePolicy, **dict.fromkeys(attrs.fields_dict(ResumePolicy), st.booleans())),
    )
    def test_what_is_there_is_never_made_again(
        self, state: State, files: FileState | None, terms: ResumePolicy
    ) -> None:
        found = next_action(JobRecord("k", "i", "key", state), files, terms)
        if state in {"received", "done"} and files == "whole":
            assert found == "restore"
        if state == "refused":
            assert found == "report"
        if terms.retry_unknown and state in {"sending", "unknown"}:
            assert found == "send"


statuses = st.sampled_from(get_args(Status))


class TestProgress:
    @given(st.lists(st.tuples(statuses, st.booleans(), st.integers(1, 3))), st.integers(0, 5))
    def test_adds_up(self, ends: list[tuple[Status, bool, int]], left: int) -> None:
        tally = ProgressCounter(len(ends) + left, 0)
        made = 0
        for number, (status, resumed, n) in enumerate(ends):
            tally.started()
            response = ImagesResponse(tuple(Image(i) for i in range(n))) if status == "done" else None
            outcome = Outcome(
                Generate("a"),
                "x",
                number,
                status,
                response,
                cost=None if response is None else Decimal(n),
                resumed=resumed,
            )
            made += n if response is not None and not resumed else 0
            tally.ended(outcome, number / 10)
        found = tally.snapshot(max(1.0, len(ends) / 10), None)
        assert (found.finished, found.waiting, found.in_flight) == (len(ends), left, 0)
        assert found.images == found.cost == made
        assert found.resumed == sum(resumed for _, resumed, _ in ends)
        if not left:
            assert found.seconds_left == 0

    @given(st.integers(1, 200), st.integers(1, 100))
    def test_takes_no_less_time_than_the_limit_does(self, left: int, limit: int) -> None:
        tally = ProgressCounter(left + 1, 0)
        tally.started()
        tally.ended(Outcome(Generate("a"), "x", 0, "done", ImagesResponse((Image(),))), 1)
        found = tally.snapshot(1, RateLimit(limit))
        assert found.seconds_left is not None
        assert found.seconds_left >= left * 60 / limit

    def test_counts_the_pictures_of_the_last_minute(self) -> None:
        tally = ProgressCounter(None, 0)
        for second in range(120):
            tally.started()
            tally.ended(Outcome(Generate("a"), "x", 0, "done", ImagesResponse((Image(),))), second)
        assert tally.snapshot(120, None).images_per_minute in {59, 60}
        assert tally.snapshot(120, None).waiting is None
        assert tally.snapshot(500, None).images_per_minute == 0

    @pytest.mark.parametrize(
        ("status", "cost", "error", "unpriced"),
        [
            ("done", None, None, 1),
            ("done", Decimal(1), None, 0),
            ("unknown", None, OutcomeUnknownError("It may have been billed."), 1),
            ("failed", None, DownloadError("It was made, and could not be fetched."), 1),
            ("failed", None, APIConnectionError("It was not sent."), 0),
            ("refused", None, InvalidRequestError("It was not sent."), 0),
        ],
    )
    def test_tells_what_cost_nothing_from_what_is_not_known(
        self, status: Status, cost: Decimal | None, error: Exception | None, unpriced: int
    ) -> None:
        for resumed in (False, True):
            tally = ProgressCounter(1, 0)
            tally.started()
            tally.ended(Outcome(Generate("a"), "x", 0, status, error=error, cost=cost, resumed=resumed), 1)
            found = tally.snapshot(1, None)
            assert found.unpriced == (0 if resumed else unpriced)
            assert found.cost == (0 if resumed else cost or 0)


def restored(record: dict[str, Any]) -> Any:
    """What a record is after it was on the disk."""
    return json.loads(json.dumps(record))


class TestRecords:
    @pytest.mark.parametrize("inside", [True, False])
    def test_bring_an_answer_back_with_its_files(self, tmp_path: Path, inside: bool) -> None:
        folder = tmp_path if inside else tmp_path / "elsewhere"
        files = [WrittenFile(1, tmp_path / "b.png", tmp_path / ".x.part", "aa", 3)]
        response = ImagesResponse(
            (Image(0, url="https://images.test/a?sig=x"), Image(1, url="gone", width=3, revised_prompt="b")),
            usage=Usage(input_tokens=3),
            cost=Decimal("0.02"),
            request_id="req-1",
        )
        record = restored(response_record(response, files, folder))
        back = response_of(record, folder)
        assert (back.usage, back.cost, back.request_id) == (response.usage, response.cost, "req-1")
        assert [image.path for image in back] == [None, tmp_path / "b.png"]
        assert [image.url for image in back] == ["https://images.test/a?sig=x", None]
        assert files_of(record, folder) == files

    @pytest.mark.parametrize(
        "error",
        [
            ModerationError("no", status_code=400, code="moderation_blocked", request_id="req-1"),
            AuthenticationError("no", status_code=401),
            OutcomeUnknownError("perhaps", maybe_billed=True, attempts=2, idempotency_key="k"),
            ImageSDKError("so"),
        ],
    )
    def test_bring_an_error_back_as_what_it_was(self, error: ImageSDKError) -> None:
        back = error_of(restored(error_record(error)))
        assert type(back) is type(error)
        assert str(back) == str(error)
        for name in ("status_code", "code", "request_id", "maybe_billed", "attempts"):
            assert getattr(back, name, None) == getattr(error, name, None)

    def test_of_an_error_that_is_not_ours_are_read_all_the_same(self) -> None:
        assert str(error_of(error_record(OSError("disk")))) == "disk"

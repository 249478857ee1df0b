"""Pure rules of a run: fingerprints, resume decisions, progress, and JSON of responses and errors."""

from __future__ import annotations

import errno
import json
import os
from argparse import Namespace
from decimal import Decimal
from pathlib import Path
from typing import get_args

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
    PendingTaskError,
    Progress,
    RateLimit,
    Usage,
    Variation,
)
from imagesdk.cli.remedies import error_text
from imagesdk.errors import printable
from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.outcomes import Status
from imagesdk.fan_out.output_files import State as FileState
from imagesdk.fan_out.output_files import WrittenFile
from imagesdk.fan_out.progress import ProgressCounter
from imagesdk.fan_out.resume import ResumePolicy, next_action, stored_outcome
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


@given(jobs, jobs, hashes, hashes)
def test_two_jobs_have_one_digest_exactly_if_they_have_the_same_content(
    one: Generate, other: Generate, ours: Hashes, theirs: Hashes
) -> None:
    same = (one, ours) == (other, theirs)
    assert (digest(one, ours) == digest(other, theirs)) is same


def test_jobs_of_different_kinds_have_different_digests() -> None:
    image = Hashes(["a"])
    kinds = {digest(Edit("x", "a"), image), digest(Variation("x"), image), digest(Generate("a"), image)}
    assert len(kinds) == 3


def test_a_digest_is_the_same_in_every_version() -> None:
    # or no journal of an earlier version could be resumed
    job = Generate("a white siamese cat", n=2, svg={"model": "x"})
    assert digest(job, Hashes()) == "4e8292cc84d7d2b895e79b6c5f35f3253c9d3dc8f65acdbe62584c591a9ff8ec"
    assert name_of(digest(job, Hashes()), 1) == "4e8292cc84d7-2"


every_state = st.sampled_from(get_args(State))
policies = st.builds(ResumePolicy, **dict.fromkeys(attrs.fields_dict(ResumePolicy), st.booleans()))
every_file = st.none() | st.sampled_from(get_args(FileState))


@given(every_state, every_file)
def test_nothing_that_may_have_been_billed_is_sent_again_by_default(
    state: State, files: FileState | None
) -> None:
    found = next_action(JobRecord("k", "i", "key", state), files, ResumePolicy())
    assert (found == "send") is (state in {"planned", "failed"})


@given(every_state, every_file, policies)
def test_a_finished_job_is_never_sent_again(
    state: State, files: FileState | None, policy: ResumePolicy
) -> None:
    found = next_action(JobRecord("k", "i", "key", state), files, policy)
    if state in {"received", "done"} and files == "whole":
        assert found == "restore"
    if state == "refused":
        assert found == "report"
    if policy.retry_unknown and state in {"sending", "unknown"}:
        assert found == "send"


statuses = st.sampled_from(get_args(Status))


@given(st.lists(st.tuples(statuses, st.booleans(), st.integers(1, 3))), st.integers(0, 5))
def test_the_counts_of_progress_add_up(ends: list[tuple[Status, bool, int]], left: int) -> None:
    counter = ProgressCounter(len(ends) + left, 0)
    made = 0
    for number, (status, resumed, n) in enumerate(ends):
        counter.started()
        response = ImagesResponse(tuple(Image(i) for i in range(n))) if status == "done" else None
        cost = None if response is None else Decimal(n)
        outcome = Outcome(Generate("a"), "x", number, status, response, cost=cost, resumed=resumed)
        made += n if response is not None and not resumed else 0
        counter.ended(outcome, number / 10)
    found = counter.snapshot(max(1.0, len(ends) / 10), None)
    assert (found.finished, found.waiting, found.in_flight) == (len(ends), left, 0)
    assert found.images == found.cost == made
    assert found.resumed == sum(resumed for _, resumed, _ in ends)
    if not left:
        assert found.seconds_left == 0


DONE = Outcome(Generate("a"), "x", 0, "done", ImagesResponse((Image(),)))


@given(st.integers(1, 200), st.integers(1, 100))
def test_the_estimated_time_is_at_least_that_of_the_rate_limit(left: int, limit: int) -> None:
    counter = ProgressCounter(left + 1, 0)
    counter.started()
    counter.ended(DONE, 1)
    found = counter.snapshot(1, RateLimit(limit))
    assert found.seconds_left is not None
    assert found.seconds_left >= left * 60 / limit


def test_images_per_minute_counts_the_last_minute() -> None:
    counter = ProgressCounter(None, 0)
    for second in range(120):
        counter.started()
        counter.ended(DONE, second)
    assert counter.snapshot(120, None).images_per_minute in {59, 60}
    assert counter.snapshot(120, None).waiting is None
    assert counter.snapshot(500, None).images_per_minute == 0


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
def test_a_job_is_unpriced_if_it_may_have_been_billed_at_an_unknown_cost(
    status: Status, cost: Decimal | None, error: Exception | None, unpriced: int
) -> None:
    for resumed in (False, True):
        counter = ProgressCounter(1, 0)
        counter.started()
        counter.ended(Outcome(Generate("a"), "x", 0, status, error=error, cost=cost, resumed=resumed), 1)
        found = counter.snapshot(1, None)
        assert found.unpriced == (0 if resumed else unpriced)
        assert found.cost == (0 if resumed else cost or 0)


@pytest.mark.parametrize("inside", [True, False])
def test_a_response_survives_the_journal_with_its_files(tmp_path: Path, inside: bool) -> None:
    folder = tmp_path if inside else tmp_path / "elsewhere"
    files = [WrittenFile(1, tmp_path / "b.png", tmp_path / ".x.part", "aa", 3)]
    response = ImagesResponse(
        (Image(0, url="https://images.test/a?sig=x"), Image(1, url="gone", width=3, revised_prompt="b")),
        usage=Usage(input_tokens=3),
        cost=Decimal("0.02"),
        request_id="req-1",
    )
    record = json.loads(json.dumps(response_record(response, files, folder)))
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
        PendingTaskError("later", maybe_billed=True, task_id="t-1"),
        OutcomeUnknownError("perhaps", maybe_billed=True, attempts=2, idempotency_key="k"),
        ImageSDKError("so"),
    ],
)
def test_an_error_survives_the_journal(error: ImageSDKError) -> None:
    back = error_of(json.loads(json.dumps(error_record(error))))
    assert type(back) is type(error)
    assert str(back) == str(error)
    for name in ("status_code", "code", "request_id", "maybe_billed", "attempts", "task_id"):
        assert getattr(back, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/in/cat.png"),
        OSError(errno.ENOSPC, "No space left on device", Path("/out/cat.png")),
        PermissionError(errno.EACCES, "Permission denied", b"/out/\xff"),
        IsADirectoryError(errno.EISDIR, "Is a directory"),
        OSError("disk"),
    ],
)
def test_an_error_of_a_file_survives_the_journal_with_its_class_and_its_remedy_begins_a_sentence(
    error: OSError,
) -> None:
    record = json.loads(json.dumps(error_record(error)))
    back = error_of(record)
    assert isinstance(back, OSError)
    assert (type(back), back.errno, back.strerror) == (type(error), error.errno, error.strerror)
    assert back.filename == (None if error.filename is None else os.fsdecode(error.filename))

    old = {"error": type(error).__name__, "message": str(error)}  # without errno and strerror
    assert (type(error_of(old)), str(error_of(old))) == (type(error), str(error))

    job = JobRecord("k-0", "id", "key", state="unknown", error=record)
    outcome = stored_outcome(Item(0, Generate("a cat"), None), job, None)
    assert type(outcome.error) is type(error)
    assert outcome.error is not None
    text = error_text(outcome.error, Namespace(retry_unknown=False))
    facts = f"{back.filename}: {back.strerror}" if back.filename and back.strerror else str(back)
    assert text == f"{printable(facts)}. Add --retry-unknown to send it again."


def test_progress_is_a_value() -> None:
    assert Progress(total=3, done=1) == Progress(total=3, done=1)
    assert Progress(total=3, done=1, in_flight=1).waiting == 1

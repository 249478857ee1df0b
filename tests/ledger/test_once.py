"""``client.images.once`` in one process, against a server that counts what it bills."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from imagesdk import (
    APITimeoutError,
    AsyncClient,
    AuthenticationError,
    Client,
    ConfigurationError,
    CoordinationError,
    Edit,
    Generate,
    InvalidRequestError,
    JournalError,
    ModerationError,
    Outcome,
    OutcomeUnknownError,
    RateLimit,
    RetryPolicy,
    SharedStore,
)
from imagesdk._coordination import claim_ledger, claims, store_thread
from imagesdk._coordination.claim_ledger import ClaimLedger
from imagesdk._coordination.claim_list import open_claims
from imagesdk._coordination.claims import LEASE, Claim, dumps
from imagesdk._coordination.redis_store import RedisStore
from imagesdk._coordination.sqlite_store import SqliteStore
from imagesdk._coordination.store import StoreUnavailable
from imagesdk._coordination.stores import open_store
from imagesdk.events import Event, LimitWaiting
from imagesdk.fan_out.claim_store import ClaimStore
from tests.ledger.conftest import Once, before_waiting
from tests.support.billing_server import BillingServer
from tests.support.small_images import png
from tests.support.stepped_calls import CallOutcome, Steps, Threads, by_task

pytestmark = pytest.mark.anyio
ReadClaim = Callable[[str], Claim | None]


async def arrival(server: BillingServer) -> None:
    """Wait until the server holds a request."""
    arrived = partial(server.arrived.wait, 30)
    assert await anyio.to_thread.run_sync(arrived, abandon_on_cancel=True)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("out/*")}


async def test_a_finished_job_is_not_sent_again(server: BillingServer, once: Once, tmp_path: Path) -> None:
    first, second = await once("a cat"), await once("a cat")
    assert (first.status, first.resumed, first.attempts) == ("done", False, 1)
    assert (second.status, second.resumed, second.attempts) == ("done", True, 0)
    assert second.unwrap()[0].path == first.unwrap()[0].path == tmp_path / "out" / f"{first.id}-0.png"
    assert second.unwrap()[0].bytes == first.unwrap()[0].bytes
    assert server.billed == {"a cat": 1}


def test_a_blocking_client_has_the_same_method(server: BillingServer, shared: str, tmp_path: Path) -> None:
    with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
        outcomes = [client.images.once("a cat", out=tmp_path) for _ in range(2)]
    assert [outcome.resumed for outcome in outcomes] == [False, True]
    assert server.billed == {"a cat": 1}


async def test_many_calls_at_once_send_a_job_once_and_open_one_store(
    server: BillingServer, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[SharedStore] = []

    def count(shared: SharedStore) -> Any:
        opened.append(shared)
        return open_store(shared)

    monkeypatch.setattr(store_thread, "open_store", count)
    outcomes: list[Outcome] = []

    async def call() -> None:
        outcomes.append(await once("a cat"))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(call)
    assert server.billed == {"a cat": 1}
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert sum(not outcome.resumed for outcome in outcomes) == 1
    assert len(opened) == 1


async def test_calls_that_wait_for_a_failing_job_report_its_failure_and_a_later_call_sends_it(
    server: BillingServer, once: Once
) -> None:
    outcomes: list[Outcome] = []

    async def call() -> None:
        outcomes.append(await once("deny this"))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(call)
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert all(isinstance(outcome.error, AuthenticationError) for outcome in outcomes)
    assert len(server.asked) == 1
    await once("deny this")
    assert len(server.asked) == 2


async def test_a_refused_job_is_never_sent_again(server: BillingServer, once: Once) -> None:
    outcomes = [await once("refuse this", retry_unknown=again) for again in (False, True)]
    assert [outcome.status for outcome in outcomes] == ["refused", "refused"]
    assert isinstance(outcomes[1].error, ModerationError)
    assert outcomes[1].resumed
    assert len(server.asked) == 1


async def test_an_unknown_job_is_sent_again_only_when_asked_and_under_the_same_key(
    server: BillingServer, once: Once, claim: ReadClaim
) -> None:
    outcomes = [await once("drop this", key="k", retry_unknown=again) for again in (False, False, True)]
    assert [outcome.status for outcome in outcomes] == ["unknown"] * 3
    assert [outcome.resumed for outcome in outcomes] == [False, True, False]
    assert isinstance(outcomes[1].error, OutcomeUnknownError)
    assert "retry_unknown=True" in str(outcomes[1].error)
    assert server.billed == {"drop this": 2}
    [key] = set(server.keys["drop this"])
    found = claim("k")
    assert found is not None
    assert found.idempotency_key == key


async def test_a_server_that_bills_each_key_once_needs_no_permission(
    server: BillingServer, make_client: Callable[..., AsyncClient], shared: str
) -> None:
    retry = RetryPolicy(server_idempotent=True, backoff=0, max_attempts=1)
    async with make_client(server.base_url, shared=shared, retry=retry) as client:
        outcomes = [await client.images.once(Generate("spoil 1 this")) for _ in range(2)]
    assert [outcome.status for outcome in outcomes] == ["unknown", "done"]


async def test_a_job_whose_file_is_gone_is_missing_and_made_again_only_when_asked(
    server: BillingServer, once: Once
) -> None:
    path = (await once("a cat")).unwrap()[0].path
    assert path is not None
    path.write_bytes(b"changed")
    outcome = await once("a cat")
    assert (outcome.status, outcome.resumed) == ("missing", True)
    assert isinstance(outcome.error, JournalError)
    assert server.billed == {"a cat": 1}
    again = await once("a cat", retry_unknown=True)
    assert again.unwrap()[0].path == path.with_stem(f"{path.stem}-2")
    assert path.read_bytes() == b"changed"
    assert server.billed == {"a cat": 2}


async def test_a_key_of_another_job_is_refused_before_anything_is_sent(
    server: BillingServer, once: Once
) -> None:
    await once("a cat", key="cover 1")
    for prompt, extra in (("a dog", None), ("a cat", {"seed": 7})):
        outcome = await once(prompt, key="cover 1", extra_body=extra)
        assert outcome.status == "refused"
        assert isinstance(outcome.error, InvalidRequestError)
        assert "'cover 1' belongs to another job" in str(outcome.error)
    assert server.asked == ["a cat"]


async def test_jobs_differ_by_the_bytes_of_their_images_and_further_fields_not_by_the_names_of_files(
    server: BillingServer, client: AsyncClient, tmp_path: Path
) -> None:
    for name, size in (("a", 64), ("b", 64), ("c", 128)):
        (tmp_path / f"{name}.png").write_bytes(png(size, size))
    edits = [
        await client.images.once(Edit(tmp_path / f"{name}.png", "a pool"), out=tmp_path / "out")
        for name in "abc"
    ]
    assert [outcome.resumed for outcome in edits] == [False, True, False]
    seeds = [await client.images.once("a cat", extra_body={"seed": seed}) for seed in (1, 1, 2)]
    assert [outcome.resumed for outcome in seeds] == [False, True, False]


async def test_without_out_the_ledger_has_the_facts_of_the_image_and_not_its_bytes(once: Once) -> None:
    first, second = [await once("a cat", out=None) for _ in range(2)]
    assert first.unwrap()[0].bytes
    assert second.status == "done"
    assert second.unwrap()[0].media_type == "image/png"
    assert not second.unwrap()[0].loaded


async def test_the_ledger_has_no_prompt_no_image_and_no_key(
    server: BillingServer, make_client: Callable[..., AsyncClient], shared: str, tmp_path: Path
) -> None:
    async with make_client(server.base_url, shared=shared, api_key="sk-secret") as client:
        for prompt in ("a confidential cat", "refuse confidential cats", "drop confidential cats"):
            await client.images.once(Generate(prompt, user="confidential user"), out=tmp_path / "out")
    with open_claims(SharedStore(shared)) as listed:
        stored = " ".join(str(each) for each in listed)
    assert stored.count("idempotency_key=") == 3
    for secret in ("confidential", "sk-secret", "iVBOR", "PNG"):
        assert secret not in stored


@pytest.mark.parametrize("key", ["", "two\nlines", "x" * 201, 7])
async def test_what_is_no_key_is_refused(server: BillingServer, once: Once, key: Any) -> None:
    with pytest.raises(InvalidRequestError, match="key is "):
        await once("a cat", key=key)
    assert not server.asked


async def test_an_invalid_job_is_refused_and_claims_nothing(
    server: BillingServer, client: AsyncClient, claim: ReadClaim
) -> None:
    outcome = await client.images.once(Generate("a cat", model="dall-e-2", n=99), key="k")
    assert outcome.status == "refused"
    assert claim("k") is None
    with pytest.raises(TypeError, match="tiemout"):
        await client.images.once(Generate("a cat"), tiemout=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    assert not server.asked


async def test_a_folder_that_cannot_be_written_to_costs_nothing(
    server: BillingServer, once: Once, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    outcome = await once("a cat", out=f"{tmp_path}/file/")
    assert outcome.status == "failed"
    assert isinstance(outcome.error, OSError)
    assert not server.asked
    assert (await once("a cat")).status == "done"


async def test_a_client_without_a_store_says_what_to_set(make_client: Callable[..., AsyncClient]) -> None:
    client = make_client("https://images.test/v1")
    with pytest.raises(ConfigurationError, match="IMAGESDK_SHARED"):
        await client.images.once(Generate("a cat"))


async def test_a_call_stops_waiting_for_another_one_when_its_time_is_over(
    server: BillingServer, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []
    wait = ClaimLedger.wait_until_free

    async def wait_until_free(ledger: ClaimLedger, key: str, *, deadline: float | None) -> bool:
        assert deadline is not None
        return await wait(ledger, key, deadline=deadline - 60)

    monkeypatch.setattr(ClaimLedger, "wait_until_free", wait_until_free)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(once, "hold this")
        await arrival(server)
        outcomes.append(await once("hold this", timeout=60))
        server.released.set()
    [outcome] = outcomes
    assert outcome.status == "unknown"
    assert isinstance(outcome.error, APITimeoutError)
    assert "still working on this job" in str(outcome.error)
    assert server.billed == {"hold this": 1}


async def test_a_job_that_waits_for_the_rate_limit_is_free_when_its_call_is_cancelled(
    server: BillingServer, make_client: Callable[..., AsyncClient], shared: str, claim: ReadClaim
) -> None:
    scope = anyio.CancelScope()

    def cancel(event: Event) -> None:
        if isinstance(event, LimitWaiting):
            scope.cancel()

    options: dict[str, Any] = {"rate_limit": RateLimit(1, per=3600.0), "observers": [cancel]}
    async with make_client(server.base_url, shared=shared, **options) as client:
        await client.images.once("a cat")
        with scope:
            await client.images.once("a dog", key="k")
    found = claim("k")
    assert found is not None
    assert (found.state, found.owner) == ("planned", "")
    assert server.asked == ["a cat"]


async def test_a_call_that_is_cancelled_after_its_request_was_sent_leaves_an_unknown_job(
    server: BillingServer, once: Once, claim: ReadClaim
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: once("hold this", key="k"))
        await arrival(server)
        tasks.cancel_scope.cancel()
    found = claim("k")
    assert found is not None
    assert (found.state, found.owner) == ("unknown", "")
    assert (await once("hold this", key="k")).status == "unknown"


async def test_a_call_that_is_cancelled_at_any_step_leaves_the_claim_right(
    server: BillingServer, once: Once, claim: ReadClaim
) -> None:
    step, cancelled = 0, True
    while cancelled:
        step += 1
        prompt = f"cat {step}"
        with anyio.CancelScope() as scope:
            await Steps(once(prompt, key=prompt), lambda count: scope.cancel() if count == step else None)  # noqa: B023
        cancelled = scope.cancelled_caught
        found = claim(prompt)
        assert found is None or not found.owner
        billed = server.billed[prompt]
        assert billed == 0 or (found is not None and found.state != "planned")
        outcome = await once(prompt, key=prompt)
        assert outcome.status in {"done", "unknown"}
        assert server.billed[prompt] <= 1
    assert step > 10


@pytest.mark.one_loop
async def test_a_task_that_is_cancelled_at_any_step_leaves_the_claim_right(
    server: BillingServer, once: Once
) -> None:
    step, end = 0, CallOutcome(0)
    while end.result is None:
        step += 1
        prompt = f"cat {step}"
        end = await by_task(once(prompt, key=prompt), Threads(), step)
        assert (await once(prompt, key=prompt)).status in {"done", "unknown"}
        assert server.billed[prompt] <= 1
    assert step > 10


async def test_the_thread_of_the_store_renews_a_claim_while_the_event_loop_is_busy(
    server: BillingServer, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[object] = []
    renew = claims.renew

    def count(*args: Any) -> Claim | None:
        beats.append(args)
        if len(beats) == 3:
            server.released.set()
        return renew(*args)

    monkeypatch.setattr(claim_ledger, "HEARTBEAT", 0.01)
    monkeypatch.setattr(claim_ledger, "renew", count)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(once, "hold this")
        await arrival(server)
        server.released.wait(10)  # blocks the event loop
    assert server.released.is_set()
    assert (await once("hold this")).status == "done"


class Outage:
    """A store that is away between two calls of its methods."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        for store, name in product((SqliteStore, RedisStore), ("read", "swap")):
            monkeypatch.setattr(store, name, self._wrapped(getattr(store, name)))

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.error is not None:
                raise self.error
            return function(*args, **options)

        return call


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    monkeypatch.setattr(claim_ledger, "RELEASE_LIMIT", 0.05)
    monkeypatch.setattr(claim_ledger, "_PAUSE", 0.01)
    return Outage(monkeypatch)


async def test_a_store_that_is_away_ends_a_call_within_its_time_and_nothing_is_sent(
    server: BillingServer, once: Once, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.error = StoreUnavailable("it is away")
    with pytest.raises(CoordinationError, match="cannot be reached"):
        await once("a cat", timeout=0.05)
    with monkeypatch.context() as patch:
        patch.setattr(claim_ledger, "PATIENCE", 0.05)
        with pytest.raises(CoordinationError, match="cannot be reached"):
            await once("a cat")
    assert not server.asked
    outage.error = None
    assert (await once("a cat")).status == "done"


async def test_a_store_that_goes_away_just_before_a_job_is_sent_ends_the_call_and_nothing_is_sent(
    server: BillingServer, once: Once, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = ClaimStore.sending

    with monkeypatch.context() as patch:

        async def away(*args: Any) -> None:
            patch.setattr(claim_ledger, "PATIENCE", 0.05)
            outage.error = StoreUnavailable("it is away")
            await sending(*args)

        patch.setattr(ClaimStore, "sending", away)
        with pytest.raises(CoordinationError, match="cannot be reached"):
            await once("a cat")
    assert not server.asked
    outage.error = None
    assert (await once("a cat")).status == "done"


async def test_a_call_that_waits_for_another_one_learns_that_the_store_is_away(
    server: BillingServer, once: Once, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        outage.error = StoreUnavailable("it is away")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(once, "hold this")
        await arrival(server)
        monkeypatch.setattr(claim_ledger, "PATIENCE", 0.05)
        monkeypatch.setattr(ClaimLedger, "wait_until_free", before_waiting(break_down))
        with pytest.raises(CoordinationError, match="cannot be reached"):
            await once("hold this")
        outage.error = None
        server.released.set()
    assert server.billed == {"hold this": 1}


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), CoordinationError("The disk is full.")])
async def test_images_that_arrive_while_the_store_is_away_are_kept_and_recorded_when_it_is_back(
    server: BillingServer,
    once: Once,
    outage: Outage,
    error: Exception,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes: list[Outcome] = []

    async def break_down() -> None:
        await arrival(server)
        outage.error = error
        server.released.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_down)
        with caplog.at_level(logging.WARNING, "imagesdk"):
            outcomes.append(await once("hold this"))
    outage.error = None
    [outcome] = outcomes
    assert outcome.status == "done"
    assert isinstance(outcome.unrecorded, CoordinationError)
    assert "is not in the ledger" in caplog.text
    assert outcome.unwrap()[0].bytes
    later = await once("hold this")
    assert (later.status, later.resumed, later.unrecorded) == ("done", True, None)
    assert server.billed == {"hold this": 1}
    assert len(files(tmp_path)) == 1


async def test_images_of_a_call_whose_claim_another_one_has_taken_are_kept(
    server: BillingServer, once: Once, claim: ReadClaim, shared: str
) -> None:
    outcomes: list[Outcome] = []

    async def take_over() -> None:
        await arrival(server)
        mine = claim("k")
        assert mine is not None
        with closing(open_store(SharedStore(shared))) as store:
            text, version = dumps(evolve(mine, owner="another call")), store.read("claim:k").version
            assert store.swap("claim:k", version, "v", text, notify=(), keep=float("inf")).swapped
        server.released.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_over)
        outcomes.append(await once("hold this", key="k"))
    [outcome] = outcomes
    assert outcome.status == "done"
    assert outcome.unwrap()[0].bytes
    assert "Another call has taken" in str(outcome.unrecorded)
    found = claim("k")
    assert found is not None
    assert (found.state, found.owner) == ("sending", "another call")


async def test_an_owner_is_not_taken_for_dead_because_the_store_was_away(
    server: BillingServer, once: Once, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []

    async def call() -> None:
        outcomes.append(await once("hold this", retry_unknown=True))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await arrival(server)
        outage.error = StoreUnavailable("it is away")
        with pytest.raises(CoordinationError):
            await once("hold this", timeout=0.01)
        is_held = Claim.is_held

        def is_held_later(claim: Claim, now: float, since: float) -> bool:
            return is_held(claim, now + LEASE, since + LEASE)

        monkeypatch.setattr(Claim, "is_held", is_held_later)
        outage.error = None
        monkeypatch.setattr(ClaimLedger, "wait_until_free", before_waiting(server.released.set))
        outcomes.append(await once("hold this", retry_unknown=True))
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert server.billed == {"hold this": 1}


async def test_a_claim_of_a_later_version_is_an_error_before_anything_is_sent(
    server: BillingServer, once: Once, shared: str
) -> None:
    with closing(open_store(SharedStore(shared))) as store:
        text = json.dumps({"version": 2})
        store.swap("claim:k", "", "v", text, notify=(), keep=float("inf"))
    with pytest.raises(CoordinationError, match="its version is 2, and this program reads version 1"):
        await once("a cat", key="k")
    assert not server.asked

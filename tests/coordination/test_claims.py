"""The rules of claims, without a store: any order of calls, deaths and leases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk._coordination import claims
from imagesdk._coordination.claims import (
    LEASE,
    Claim,
    DamagedClaimError,
    State,
    ask,
    dumps,
    end,
    loads,
    may_forget,
    not_sent,
    receive,
    release,
    renew,
    start,
)

pytestmark = pytest.mark.hypothesis
ENDS: tuple[State, ...] = ("done", "refused", "failed", "unknown")


def new(owner: str = "a", content: str = "c") -> Claim:
    return Claim(content=content, id="job", idempotency_key=f"key-{owner}", owner=owner)


def held(state: State, now: float = 0.0) -> Claim:
    return evolve(new(), state=state, renewed=now)


def free(state: State) -> Claim:
    return evolve(new(""), state=state)


@define(eq=False)
class Caller:
    """One call after another of a process."""

    again: bool
    ending: State
    """How the server answers."""
    calls: int = 0
    phase: str = "asks"
    """``asks``, ``holds``, ``starts`` (the store knows), ``sent``, ``answered`` or ``rejected``."""
    waited: bool = False
    mine: Claim = field(factory=new)


@define(eq=False)
class Key:
    """One key, several processes, and what the server sees of them."""

    callers: list[Caller]
    now: float = 1000.0
    claim: Claim | None = None
    billable: int = 0
    """Requests that the server may have billed."""
    allowed: int = 1
    """Requests that it may bill."""

    def happen(self, event: str, number: int) -> None:
        caller = self.callers[number]
        match event:
            case "step":
                getattr(self, caller.phase)(caller)
            case "die":
                self.begin(caller)
            case "cancel":
                self.apply(caller, release, self.now, {})
                self.begin(caller)
            case "renew" if caller.phase != "asks":
                self.claim = renew(self.claim, caller.mine, self.now) or self.claim
            case "reboot":
                self.now = 1.0
                for each in self.callers:
                    self.begin(each)
            case "wait":
                self.now += LEASE / 2 * (number + 1)
            case _:
                pass  # a renewal of nothing

    def begin(self, caller: Caller) -> None:
        """The caller asks anew, as another call."""
        caller.calls += 1
        caller.mine = new(f"{self.callers.index(caller)}-{caller.calls}")
        caller.phase, caller.waited = "asks", False

    def apply(self, caller: Caller, change: Callable[..., Claim | None], *facts: Any) -> bool:
        found = change(self.claim, caller.mine, *facts)
        if found is not None:
            self.claim = caller.mine = found
        return found is not None

    def asks(self, caller: Caller) -> None:
        options = {"again": caller.again, "remake": caller.again, "waited": caller.waited}
        answer = ask(self.claim, caller.mine, self.now, **options)
        if answer.verdict == "wait":
            assert answer.claim.owner not in {"", caller.mine.owner}
            caller.waited = True
            return
        self.claim = answer.claim
        if answer.verdict == "hold":
            caller.phase, caller.mine = "holds", answer.claim
        else:
            assert answer.claim.state in ENDS
            self.begin(caller)

    def holds(self, caller: Caller) -> None:
        if caller.mine.state in {"done", "received"}:  # its images are there
            self.apply(caller, end, self.now, "done")
            self.begin(caller)
        elif self.apply(caller, start, self.now, self.now):
            if caller.mine.before == "unknown":
                assert caller.again, "a job that may have been billed was sent again without permission"
                self.allowed += 1
            caller.phase = "starts"
        else:
            caller.phase = "asks"

    def starts(self, caller: Caller) -> None:
        self.billable += 1
        assert self.billable <= self.allowed, "a job was sent twice"
        caller.phase = "sent"

    def sent(self, caller: Caller) -> None:
        if caller.ending in {"refused", "failed"}:
            self.billable -= 1
            self.allowed -= caller.mine.before == "unknown"
            self.apply(caller, not_sent)
            caller.phase = "rejected"
        elif caller.ending == "unknown":
            self.apply(caller, end, self.now, "unknown")
            self.begin(caller)
        else:
            self.apply(caller, receive, self.now, {"images": []})
            caller.phase = "answered"

    def answered(self, caller: Caller) -> None:
        self.apply(caller, end, self.now, "done")
        self.begin(caller)

    def rejected(self, caller: Caller) -> None:
        if caller.mine.state in {"planned", "failed"}:
            self.apply(caller, end, self.now, caller.ending)
        else:  # what was known of it stays
            self.apply(caller, release, self.now, {})
        self.begin(caller)


EVENTS = st.tuples(
    st.sampled_from(["step"] * 12 + ["wait"] * 2 + ["die", "cancel", "renew", "reboot"]), st.integers(0, 2)
)


@settings(max_examples=60)
@given(
    st.lists(st.builds(Caller, st.booleans(), st.sampled_from(ENDS)), min_size=3, max_size=3),
    st.lists(EVENTS, min_size=15, max_size=40),
)
def test_a_job_is_sent_again_only_with_permission_and_nobody_waits_for_the_dead(
    callers: list[Caller], events: list[tuple[str, int]]
) -> None:
    key = Key(callers)
    for caller in callers:
        key.begin(caller)
    for event in events:
        key.happen(*event)
    assert key.claim is None or loads(dumps(key.claim)) == key.claim
    for again in (False, True):
        later = (key.now + 2 * LEASE, key.now + 4 * LEASE)  # after a reboot a clock may meet an old time
        answers = [ask(key.claim, new("last"), now, again=again, remake=again) for now in later]
        assert {answer.verdict for answer in answers} & {"hold", "report"}


@pytest.mark.parametrize("state", ["planned", "received", "failed"])
def test_a_job_that_cannot_be_billed_twice_is_free_for_the_next_call(state: State) -> None:
    assert ask(free(state), new("b"), 0.0).verdict == "hold"
    assert ask(held(state), new("b"), LEASE - 1).verdict == "wait"
    dead = ask(held(state), new("b"), LEASE)
    assert (dead.verdict, dead.claim.owner, dead.claim.state) == ("hold", "b", state)
    assert dead.claim.idempotency_key == "key-a"


def test_a_job_whose_owner_died_while_sending_it_is_unknown_and_sent_again_only_when_asked() -> None:
    reported = ask(held("sending"), new("b"), LEASE)
    assert (reported.verdict, reported.claim.state) == ("report", "unknown")
    allowed = ask(reported.claim, new("b"), LEASE, again=True)
    assert (allowed.verdict, allowed.claim.state) == ("hold", "unknown")
    assert allowed.claim.idempotency_key == "key-a"


def test_an_owner_that_was_taken_for_dead_may_still_report_its_images() -> None:
    buried = ask(held("sending"), new("b"), LEASE).claim
    done = end(buried, held("sending"), 0.0, "done", answer={"images": []})
    assert done is not None
    assert (done.state, done.owner) == ("done", "")


def test_an_owner_whose_claim_another_call_has_taken_changes_nothing() -> None:
    taken = ask(held("planned"), new("b"), LEASE).claim
    mine = held("planned")
    assert start(taken, mine, LEASE, 0.0) is None
    assert receive(taken, mine, 0.0, {}) is None
    assert end(taken, mine, 0.0, "failed") is None
    assert release(taken, mine, 0.0, {}) is None
    assert renew(taken, mine, LEASE) is None


@pytest.mark.parametrize("state", ENDS)
def test_calls_that_waited_for_an_attempt_report_how_it_ended(state: State) -> None:
    assert ask(free(state), new("b"), 0.0, again=True, remake=True, waited=True).verdict == "report"


def test_a_refused_job_is_never_sent_again() -> None:
    assert ask(free("refused"), new("b"), 0.0, again=True, remake=True).verdict == "report"


def test_a_claim_that_the_store_has_lost_is_written_again_by_its_owner() -> None:
    mine = held("sending")
    assert renew(None, mine, 7.0) == evolve(mine, renewed=7.0)
    lost = release(None, mine, 0.0, {"error": "OutcomeUnknownError"})
    assert lost is not None
    assert lost.state == "unknown"


def test_an_attempt_after_one_that_may_have_been_billed_is_not_forgotten() -> None:
    first = held("sending")
    second = start(first, first, 1.0, 1.0)
    assert second is not None
    refused = not_sent(second, second)
    assert refused is not None
    assert refused.state == "unknown"


def test_a_clock_that_jumped_back_by_a_reboot_ends_leases() -> None:
    claim = held("planned", now=1_000_000.0)
    assert ask(claim, new("b"), 12.0).verdict == "hold"
    assert ask(claim, new("b"), 1_000_000.0 - 1).verdict == "wait"


def test_a_lease_that_could_not_be_renewed_while_the_store_was_away_lasts_anew() -> None:
    claim = held("sending")
    assert ask(claim, new("b"), 500.0, 490.0, again=True).verdict == "wait"
    assert ask(claim, new("b"), 490.0 + LEASE, 490.0, again=True).verdict == "hold"


def test_claims_are_forgotten_by_age_and_never_while_a_call_holds_them() -> None:
    claim = evolve(free("done"), changed_at=100.0)
    assert may_forget(claim, 0.0, 161.0, 60.0)
    assert not may_forget(claim, 0.0, 159.0, 60.0)
    assert not may_forget(evolve(held("sending"), changed_at=100.0), 0.0, 161.0, 60.0)


@given(
    st.text(max_size=40) | st.sampled_from(["[]", "{}", '{"version": 1}', '{"version": 2, "content": "c"}'])
)
def test_what_is_no_claim_is_refused_by_a_reason(text: str) -> None:
    with pytest.raises(DamagedClaimError, match=r"its? "):
        loads(text)


@given(st.sampled_from(sorted(claims.KINDS)), st.sampled_from([None, 1, "x", [], {}]))
def test_a_claim_with_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    kinds = claims.KINDS[name]
    text = json.dumps({**json.loads(dumps(held("sending"))), name: value})
    if isinstance(value, kinds) and name not in {"state", "before"}:
        assert getattr(loads(text), name) == value
    else:
        with pytest.raises(DamagedClaimError, match=f"{name}|state"):
            loads(text)

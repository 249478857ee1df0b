"""The rules of claims, without a store: any order of calls, deaths and leases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
    """One call, in any process."""

    name: str
    again: bool
    mine: Claim
    phase: str = "asks"
    """``asks``, ``holds``, ``starts`` (the store knows), ``sent``, ``answered``, ``ended`` or ``dead``."""
    waited: bool = False
    reported: State | None = None


class Claiming(RuleBasedStateMachine):
    """One key, several calls: what the server sees of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.claim: Claim | None = None
        self.callers: list[Caller] = []
        self.billable = 0
        """Requests that the server may have billed."""
        self.sent_by_permission = 0
        self.is_done = False

    def some(self, data: st.DataObject, *phases: str) -> Caller:
        return data.draw(st.sampled_from([each for each in self.callers if each.phase in phases]))

    def apply(self, caller: Caller, change: Callable[..., Claim | None], *args: Any, **facts: Any) -> bool:
        found = change(self.claim, caller.mine, *args, **facts)
        if found is not None:
            self.claim = caller.mine = found
        return found is not None

    @precondition(lambda self: len(self.callers) < 6)
    @rule(again=st.booleans())
    def arrive(self, again: bool) -> None:
        name = f"call {len(self.callers)}"
        self.callers.append(Caller(name, again, new(name)))

    @precondition(lambda self: any(each.phase == "asks" for each in self.callers))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        caller = self.some(data, "asks")
        options = {"again": caller.again, "remake": caller.again, "waited": caller.waited}
        answer = ask(self.claim, caller.mine, self.now, **options)
        if answer.verdict == "wait":
            assert self.claim is not None
            assert self.claim.owner not in {"", caller.name}
            caller.waited = True
            return
        self.claim = answer.claim
        if answer.verdict == "hold":
            caller.phase, caller.mine = "holds", answer.claim
        else:
            assert answer.verdict == "report"
            caller.phase, caller.reported = "ended", answer.claim.state
            assert caller.reported in ENDS

    @precondition(lambda self: any(each.phase in {"holds", "answered"} for each in self.callers))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        caller = self.some(data, "holds", "answered")
        if caller.phase == "answered" or (self.claim and self.claim.state in {"done", "received"}):
            return  # a job with its images is finished, not sent
        if not self.apply(caller, start, self.now, self.now):
            assert self.claim is not None
            assert self.claim.owner != caller.name
            caller.phase = "asks"
            return
        caller.phase = "starts"
        self.sent_by_permission += caller.again and self.billable > 0

    @precondition(lambda self: any(each.phase == "starts" for each in self.callers))
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        caller = self.some(data, "starts")
        caller.phase = "sent"
        self.billable += 1

    @precondition(lambda self: any(each.phase == "sent" for each in self.callers))
    @rule(data=st.data(), refused=st.booleans())
    def answer(self, data: st.DataObject, refused: bool) -> None:
        caller = self.some(data, "sent")
        if refused:
            self.billable -= 1
            self.apply(caller, not_sent)
            caller.phase = "holds"
        else:
            self.apply(caller, receive, self.now, {"images": []})
            caller.phase = "answered"

    @precondition(lambda self: any(each.phase in {"holds", "sent", "answered"} for each in self.callers))
    @rule(data=st.data(), state=st.sampled_from(["refused", "failed", "unknown"]))
    def end(self, data: st.DataObject, state: State) -> None:
        caller = self.some(data, "holds", "sent", "answered")
        if caller.phase == "answered":
            state = "done"
        elif caller.phase == "sent":
            state = "unknown"
        elif caller.mine.state not in {"planned", "failed"}:
            self.apply(caller, release, self.now, {})
            caller.phase = "ended"
            return
        if self.apply(caller, end, self.now, state):
            self.is_done = self.is_done or state == "done"
        caller.phase = "ended"

    @precondition(
        lambda self: any(each.phase in {"holds", "starts", "sent", "answered"} for each in self.callers)
    )
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = self.some(data, "holds", "starts", "sent", "answered")
        self.apply(caller, release, self.now, {})
        caller.phase = "ended"

    @precondition(
        lambda self: any(each.phase in {"holds", "starts", "sent", "answered"} for each in self.callers)
    )
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.some(data, "holds", "starts", "sent", "answered").phase = "dead"

    @precondition(
        lambda self: any(each.phase in {"holds", "starts", "sent", "answered"} for each in self.callers)
    )
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        caller = self.some(data, "holds", "starts", "sent", "answered")
        if (found := renew(self.claim, caller.mine, self.now)) is not None:
            self.claim = found

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE, 3 * LEASE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def reboot(self) -> None:
        self.now = 1.0
        for caller in self.callers:
            caller.phase = "dead" if caller.phase not in {"asks", "ended"} else caller.phase

    @invariant()
    def a_job_is_sent_twice_only_with_permission(self) -> None:
        assert self.billable <= 1 + self.sent_by_permission

    @invariant()
    def a_finished_job_stays_finished_without_permission(self) -> None:
        if self.is_done and not any(each.again for each in self.callers):
            assert self.claim is not None
            assert self.claim.state == "done"
            assert not any(each.phase in {"starts", "sent"} for each in self.callers)

    @invariant()
    def a_claim_survives_the_store(self) -> None:
        if self.claim is not None:
            assert loads(dumps(self.claim)) == self.claim

    def teardown(self) -> None:
        """Nobody waits for the dead: soon a new call holds the claim or reports how the job ended."""
        for again in (False, True):
            later = (
                self.now + 2 * LEASE,
                self.now + 4 * LEASE,
            )  # after a reboot a clock may meet an old time
            answers = [ask(self.claim, new("last"), now, again=again, remake=again) for now in later]
            assert {answer.verdict for answer in answers} & {"hold", "report"}


TestClaiming = Claiming.TestCase
TestClaiming.settings = settings(max_examples=60, stateful_step_count=30)


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


@given(st.sampled_from(sorted(claims._KINDS)), st.sampled_from([None, 1, "x", [], {}]))
def test_a_claim_with_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    kinds = claims._KINDS[name]
    text = json.dumps({**json.loads(dumps(held("sending"))), name: value})
    if isinstance(value, kinds) and name not in {"state", "before"}:
        assert getattr(loads(text), name) == value
    else:
        with pytest.raises(DamagedClaimError, match=f"{name}|state"):
            loads(text)

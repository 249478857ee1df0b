"""The shared window: a pure document that processes change one after the other, on clocks that the test invents."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk import RateLimit
from imagesdk._coordination.shared_window import (
    LEASE_SECONDS,
    SETTLE_SECONDS,
    SILENCE_SECONDS,
    SharedWindow,
    Standing,
    Ticket,
    Turns,
    UnknownFormat,
)
from imagesdk._protocol.server_limits import ServerLimit, ServerLimits

LIMIT = RateLimit(4, per=60.0)
WINDOW = 60.4


def window_of(*owners: str, limit: RateLimit = LIMIT) -> SharedWindow:
    shared = SharedWindow([limit])
    for owner in owners or ("a", "b"):
        shared.join(owner, [limit])
    return shared


def grants(shared: SharedWindow, now: float, me: str = "a", **seen: float) -> list[tuple[str, int]]:
    """Grant what is ready, after a way through the text of the document."""
    loaded = SharedWindow.load(shared.dump())
    vars(shared).update(vars(loaded))
    return [(ticket.owner, ticket.seq) for ticket in shared.grant_ready(Standing(me, now, seen))]


def all_grants(shared: SharedWindow, start: float, end: float) -> list[tuple[str, int]]:
    """Grant all that is ready from one time to another, and send it at once."""
    found: list[tuple[str, int]] = []
    now: float | None = start
    while now is not None and now <= end:
        ready = grants(shared, now)
        for owner, seq in ready:
            shared.sent(owner, seq, now, now)
        found += ready
        now = shared.next_at if shared.next_at is None or shared.next_at > now else now + 0.01
    return found


def test_tickets_are_granted_in_the_order_of_their_turns_whoever_added_them_first() -> None:
    shared = window_of()
    shared.enqueue("b", 1, 2.0, 1)
    shared.enqueue("a", 1, 1.0, 1)
    shared.enqueue("a", 2, 3.0, 1)
    assert all_grants(shared, 5.0, 6.0) == [("a", 1), ("b", 1), ("a", 2)]


def test_no_ticket_starts_before_its_turn() -> None:
    shared = window_of()
    shared.enqueue("a", 1, 5.0, 1)
    assert grants(shared, 4.9) == []
    assert shared.next_at == 5.0
    assert grants(shared, 4.96) == [("a", 1)]
    ticket = shared.ticket("a", 1)
    assert ticket is not None
    assert ticket.start_at == 5.0


def test_calls_that_arrive_together_have_turns_that_leave_room_for_other_processes() -> None:
    turns = Turns()
    found = [turns.next(10.0) for _ in range(1000)]
    assert found[:3] == pytest.approx([10.0, 10.002, 10.004])
    assert found[-1] == pytest.approx(10.15)
    assert turns.next(20.0) == 20.0


def test_a_later_ticket_waits_for_an_earlier_one_that_its_owner_has_not_added_yet() -> None:
    shared = window_of(limit=RateLimit(100, per=60.0))
    standing = Standing("a", 300.0)
    many = [(number, float(number), 10) for number in range(1, 60)]
    added = shared.admit("a", many, standing)
    assert added == [number for number, _, _ in many[:20]]
    assert shared.owners["a"].hidden_turn == 21.0
    shared.enqueue("b", 1, 100.0, 1)
    shared.enqueue("b", 2, 20.5, 1)
    for number in added:
        shared.cancel("a", number)
    assert grants(shared, 300.0) == [("b", 2)]
    assert shared.short_of(standing) == "a"
    shared.admit("a", many[20:22], standing)
    assert all_grants(shared, 301.0, 310.0) == [("a", 21), ("a", 22), ("b", 1)]


def test_a_dead_process_leaves_the_queue_and_its_grants_count_from_then_on() -> None:
    shared = window_of()
    for number in range(1, 6):
        shared.enqueue("b", number, 0.0, 1)
    shared.enqueue("a", 1, 1.0, 4)
    assert grants(shared, 0.0, me="b") == [("b", 1), ("b", 2)]
    dead_at = LEASE_SECONDS + 0.1
    shared.remove_dead(Standing("a", dead_at, {"b": 0.0}))
    assert "b" not in shared.owners
    assert grants(shared, dead_at) == []
    assert all_grants(shared, dead_at + 59, dead_at + 59.9) == []
    assert all_grants(shared, dead_at + 60, dead_at + 62) == [("a", 1)]


def test_a_silent_process_is_granted_nothing_but_keeps_its_place() -> None:
    shared = window_of()
    shared.enqueue("b", 1, 0.0, 1)
    shared.enqueue("a", 1, 1.0, 1)
    now = SILENCE_SECONDS + 1
    assert grants(shared, now, b=0.0) == [("a", 1)]
    assert grants(shared, now + 1, b=now + 1) == [("b", 1)]


def test_what_a_store_has_lost_is_added_again_before_anything_is_granted() -> None:
    shared = window_of("a")
    shared.restore("a", 7, 1.0, 2, 99.0, 100.0)
    shared.restore("a", 8, 2.0, 1, None, 100.0)
    shared.restore("a", 6, 2.0, 1, 10.0, 100.0)  # its window has ended
    shared.enqueue("a", 9, 3.0, 1)
    shared.enqueue("a", 10, 4.0, 1)
    assert grants(shared, 100.0 + SETTLE_SECONDS - 0.1) == []
    assert all_grants(shared, 100.0 + SETTLE_SECONDS, 150.0) == [("a", 9)]


def test_a_clock_that_was_set_back_lets_everything_count_once_more() -> None:
    shared = window_of()
    shared.enqueue("a", 1, 1000.0, 3)
    shared.enqueue("b", 1, 1001.0, 4)
    assert grants(shared, 1000.0) == [("a", 1)]
    shared.sent("a", 1, 1000.0, 1000.0)
    shared.changed_at = 1002.0
    shared.turn_back(10.0)
    shared.enqueue("a", 2, 10.0, 1)
    assert all_grants(shared, 10.0, 10.0 + 60) == []
    assert all_grants(shared, 70.0, 71.0) == [("b", 1)]


def test_the_lower_of_two_stated_limits_holds_until_its_last_process_has_left() -> None:
    shared = window_of("a")
    shared.join("b", [RateLimit(1, per=60.0)])
    assert shared.limit.images == 1
    shared.enqueue("a", 1, 0.0, 1)
    shared.enqueue("a", 2, 0.0, 3)
    assert all_grants(shared, 0.0, 1.0) == [("a", 1)]
    shared.leave("b", 1.0)
    assert shared.limit == LIMIT
    assert all_grants(shared, 1.0, 2.0) == [("a", 2)]


def test_a_document_of_another_version_is_no_document() -> None:
    state = json.loads(window_of().dump())
    for text in (json.dumps({**state, "format": 99}), json.dumps({"format": 1}), "{", "[]", ""):
        with pytest.raises(UnknownFormat):
            SharedWindow.load(text)


def test_everything_that_was_learned_is_in_the_document() -> None:
    shared = window_of(limit=RateLimit(20, per=60.0, tokens=10_000))
    for number in range(1, 21):
        shared.enqueue("a", number, number / 100, 1 + number % 3)
    now = 1.0
    for step in range(12):
        for owner, seq in grants(shared, now):
            shared.sent(owner, seq, now, now)
            if step % 3 == 2:
                stated = ServerLimits(
                    waits=(0.5,), limits={"images": ServerLimit(15, 60.0)}, message="too many"
                )
                shared.rejected(owner, seq, 0.0, 1, now, now + 0.1, stated)
            else:
                shared.accepted(owner, seq, ServerLimits(), 300)
        now += 1.0
    text = shared.dump()
    assert SharedWindow.load(text).dump() == text
    assert "too many" in text


OWNERS = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enqueue", "grant", "send", "cancel", "reject", "die", "lose", "accept", "leave"]),
        st.sampled_from(OWNERS),
        st.integers(1, 3),
        st.floats(0.0, 4.0),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_interleaving_sends_more_than_the_limit_in_any_window(
    steps: list[tuple[str, str, int, float]],
) -> None:
    """Each owner knows its own tickets; the document is lost now and then, or an older one is found instead."""
    limit = RateLimit(5, per=10.0)
    shared, now = window_of(*OWNERS, limit=limit), 0.0
    known: dict[tuple[str, int], tuple[float, int, float | None]] = {}  # start, images, sent
    sent: list[tuple[float, int]] = []
    alive: dict[str, bool] = dict.fromkeys(OWNERS, True)
    for number, (action, owner, weight, pause) in enumerate(steps):
        now += pause
        standing = Standing(owner, now, {name: now if alive[name] else -math.inf for name in OWNERS})
        if not alive[owner]:
            continue
        shared.join(owner, [limit])
        mine = [key for key in known if key[0] == owner]
        if action == "enqueue":
            shared.enqueue(owner, number, now, weight)
        elif action in {"send", "accept"}:
            for key in mine:
                start, images, sent_at = known[key]
                if sent_at is None and start <= now:
                    sent.append((now, images))
                    known[key] = (start, images, now)
                    shared.sent(*key, now, now)
                    if action == "accept":
                        shared.accepted(*key, ServerLimits(), None)
        elif action == "cancel" and mine and known[mine[-1]][2] is None:
            shared.cancel(*mine[-1])
            del known[mine[-1]]
        elif action == "reject" and mine and known[mine[-1]][2] is not None:
            start, images, sent_at = known.pop(mine[-1])
            assert sent_at is not None
            sent.remove((sent_at, images))
            shared.rejected(*mine[-1], 0.0, images, sent_at, now, ServerLimits(waits=(1.0,)))
        elif action == "die":
            for key in mine:  # whatever it was granted is sent before others take it for dead
                start, images, sent_at = known.pop(key)
                if sent_at is None:
                    sent.append((now, images))
            alive[owner] = sum(alive.values()) == 1
            others = Standing("x", now, {name: now if alive[name] else -math.inf for name in OWNERS})
            shared.remove_dead(others)
        elif action == "leave":
            for key in mine:
                if known[key][2] is None:
                    sent.append((now, known[key][1]))
                del known[key]
            shared.leave(owner, now)
        elif action == "lose":
            # Every owner that is alive has sent what it was granted, and adds it within the time to settle.
            dead = [
                ticket
                for ticket in shared._tickets.values()
                if not alive.get(ticket.owner) and ticket.sent_at
            ]
            gone, shared = shared, window_of(*(name for name in OWNERS if alive[name]), limit=limit)
            shared.settle(now + SETTLE_SECONDS)
            for ticket in [
                *dead,
                *(each for each in gone._tickets.values() if (each.owner, each.seq) not in known),
            ]:
                if ticket.sent_at is not None:
                    shared.restore(ticket.owner, ticket.seq, 0.0, ticket.weight, ticket.sent_at, now)
            for (name, seq), (_, images, sent_at) in known.items():
                shared.restore(name, seq, 0.0, images, sent_at, now)
        shared = SharedWindow.load(shared.dump())
        for ticket in shared.grant_ready(standing):
            known[ticket.owner, ticket.seq] = (ticket.start_at, ticket.weight, None)
    for moment, _ in sent:
        assert sum(images for at, images in sent if moment <= at < moment + limit.per) <= limit.images


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OWNERS), st.floats(0, 3), st.floats(0, 3)), max_size=20))
def test_equal_calls_are_granted_in_the_order_of_their_turns(calls: list[tuple[str, float, float]]) -> None:
    limit = RateLimit(3, per=10.0)
    shared, now = window_of(*OWNERS, limit=limit), 0.0
    granted: list[float] = []
    for number, (owner, turn_after, pause) in enumerate(calls):
        now += pause
        shared.enqueue(owner, number, now + turn_after / 100, 1)
    end = now + 100
    while now < end:
        for ticket in shared.grant_ready(Standing("a", now)):
            assert isinstance(ticket, Ticket)
            granted.append(ticket.turn)
            shared.sent(ticket.owner, ticket.seq, ticket.start_at, now)
        now += 0.05
    assert len(granted) == len(calls)
    assert granted == sorted(granted)

"""The line of those who wait, against a plain sorted list."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from imagesdk._ratelimit.queue import Permit, WaitQueue

EVERYBODY = 10_000
weights = st.integers(1, 10)
anyone = st.integers(0, 999)


class AnyOrder(RuleBasedStateMachine):
    """Some come, some leave from wherever they stand, and some of those return to their old places."""

    def __init__(self) -> None:
        super().__init__()
        self.line = WaitQueue()
        self.waiting: list[Permit] = []
        self.gone: list[Permit] = []

    @rule(weight=weights)
    def join(self, weight: int) -> None:
        self.waiting.append(self.line.push(weight))

    @rule(count=st.integers(50, 200), weight=weights)
    def a_crowd_joins(self, count: int, weight: int) -> None:
        for _ in range(count):
            self.join(weight)

    @precondition(lambda self: self.waiting)
    @rule()
    def the_head_leaves(self) -> None:
        head = self.waiting.pop(0)
        self.line.remove(head)
        self.gone.append(head)

    @precondition(lambda self: self.waiting)
    @rule(at=anyone)
    def one_leaves(self, at: int) -> None:
        permit = self.waiting.pop(at % len(self.waiting))
        self.line.remove(permit)
        self.gone.append(permit)

    @precondition(lambda self: self.waiting)
    @rule()
    def all_leave(self) -> None:
        while self.waiting:
            self.the_head_leaves()

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(50, 200))
    def a_crowd_passes_through_a_line_that_is_never_empty(self, count: int) -> None:
        for _ in range(count):
            self.join(1)
            self.the_head_leaves()

    @precondition(lambda self: self.gone)
    @rule(at=anyone)
    def one_who_is_gone_leaves_again(self, at: int) -> None:
        self.line.remove(self.gone[at % len(self.gone)])

    @precondition(lambda self: self.gone)
    @rule(at=anyone)
    def one_returns(self, at: int) -> None:
        permit = self.gone.pop(at % len(self.gone))
        self.line.push_back(permit)
        self.waiting = sorted([*self.waiting, permit], key=lambda waiting: waiting.number)

    @precondition(lambda self: self.gone)
    @rule(at=anyone, weight=weights)
    def another_takes_the_place_of_one_who_is_gone(self, at: int, weight: int) -> None:
        permit = self.line.push(weight, number=self.gone.pop(at % len(self.gone)).number)
        self.waiting = sorted([*self.waiting, permit], key=lambda waiting: waiting.number)

    @rule()
    def all_are_sent_away(self) -> None:
        self.line.clear()
        self.gone += self.waiting
        self.waiting = []

    @invariant()
    def the_longest_in_line_goes_next(self) -> None:
        assert self.line.head is (self.waiting[0] if self.waiting else None)
        assert len(self.line) == len(self.waiting)
        assert bool(self.line) == bool(self.waiting)

    @invariant()
    def all_know_whether_they_stand_in_line(self) -> None:
        assert all(permit.waiting for permit in self.waiting)
        assert not any(permit.waiting for permit in self.gone)

    @invariant()
    def each_place_is_the_number_of_those_before_it(self) -> None:
        images = 0
        for place, permit in enumerate(self.waiting):
            assert self.line.position(permit) == (place, images)
            images += permit.weight

    @invariant()
    def those_behind_the_head_stand_in_their_order(self) -> None:
        if self.waiting:
            head, *others = self.waiting
            assert list(self.line.after(head, EVERYBODY)) == others
            assert list(self.line.after(head, 3)) == others[:3]


def test_any_order_of_events_leaves_a_line_like_a_sorted_list() -> None:
    run_state_machine_as_test(
        AnyOrder, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


def line_of(*weights: int) -> tuple[WaitQueue, list[Permit]]:
    line = WaitQueue()
    return line, [line.push(weight) for weight in weights]


def test_one_who_passed_others_and_returns_stands_where_it_stood_and_only_once() -> None:
    line, (first, second, third) = line_of(4, 1, 2)
    line.remove(second)
    assert list(line.after(first, EVERYBODY)) == [third]

    line.push_back(second)

    assert list(line.after(first, EVERYBODY)) == [second, third]
    assert line.position(third) == (2, 5)
    for permit in (first, second, third):
        assert line.head is permit
        line.remove(permit)
    assert line.head is None


def test_one_whose_place_has_passed_returns_before_all_who_came_later() -> None:
    line, (first, second) = line_of(4, 1)
    line.remove(first)
    line.remove(second)
    third = line.push(2)

    line.push_back(second)
    line.push_back(first)

    assert line.head is first
    assert list(line.after(first, EVERYBODY)) == [second, third]
    assert [line.position(permit) for permit in (first, second, third)] == [(0, 0), (1, 4), (2, 5)]


@pytest.mark.parametrize("depth", [0, 1, 3, 4, 99])
def test_one_looks_no_deeper_into_a_line_than_asked(depth: int) -> None:
    line, (first, *others) = line_of(1, 1, 1, 1, 1)
    assert list(line.after(first, depth)) == others[:depth]


def test_one_looks_past_those_who_have_left() -> None:
    line, (first, *others) = line_of(*[1] * 500)
    for permit in others[:400]:
        line.remove(permit)
    assert list(line.after(first, 3)) == others[400:403]


def test_one_who_took_a_place_in_the_middle_leaves_and_returns_there() -> None:
    line, (first, second, third) = line_of(4, 1, 2)
    line.remove(second)
    again = line.push(1, number=second.number)
    line.remove(again)

    line.push_back(again)

    assert list(line.after(first, EVERYBODY)) == [again, third]
    line.remove(first)
    assert line.head is again


def test_a_line_that_is_never_empty_takes_no_more_memory_for_those_who_have_left() -> None:
    line, (permit,) = line_of(1)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            line.push(1)
            line.remove(permit)
            permit = line.head or permit
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert line.position(permit) == (0, 0)

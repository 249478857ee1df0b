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

from imagesdk._protocol.line import Line, Ticket

EVERYBODY = 10_000
weights = st.integers(1, 10)
anyone = st.integers(0, 999)


class AnyOrder(RuleBasedStateMachine):
    """Some come, some leave from wherever they stand, and some of those return to their old places."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.waiting: list[Ticket] = []
        self.gone: list[Ticket] = []

    @rule(weight=weights)
    def join(self, weight: int) -> None:
        self.waiting.append(self.line.join(weight))

    @rule(count=st.integers(50, 200), weight=weights)
    def a_crowd_joins(self, count: int, weight: int) -> None:
        for _ in range(count):
            self.join(weight)

    @precondition(lambda self: self.waiting)
    @rule()
    def the_head_leaves(self) -> None:
        head = self.waiting.pop(0)
        self.line.leave(head)
        self.gone.append(head)

    @precondition(lambda self: self.waiting)
    @rule(at=anyone)
    def one_leaves(self, at: int) -> None:
        ticket = self.waiting.pop(at % len(self.waiting))
        self.line.leave(ticket)
        self.gone.append(ticket)

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
        self.line.leave(self.gone[at % len(self.gone)])

    @precondition(lambda self: self.gone)
    @rule(at=anyone)
    def one_returns(self, at: int) -> None:
        ticket = self.gone.pop(at % len(self.gone))
        self.line.rejoin(ticket)
        self.waiting = sorted([*self.waiting, ticket], key=lambda waiting: waiting.number)

    @precondition(lambda self: self.gone)
    @rule(at=anyone, weight=weights)
    def another_takes_the_place_of_one_who_is_gone(self, at: int, weight: int) -> None:
        ticket = self.line.join(weight, number=self.gone.pop(at % len(self.gone)).number)
        self.waiting = sorted([*self.waiting, ticket], key=lambda waiting: waiting.number)

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
        assert all(ticket.waiting for ticket in self.waiting)
        assert not any(ticket.waiting for ticket in self.gone)

    @invariant()
    def each_place_is_the_number_of_those_before_it(self) -> None:
        images = 0
        for place, ticket in enumerate(self.waiting):
            assert self.line.ahead(ticket) == (place, images)
            images += ticket.weight

    @invariant()
    def those_behind_the_head_stand_in_their_order(self) -> None:
        if self.waiting:
            head, *others = self.waiting
            assert list(self.line.behind(head, EVERYBODY)) == others
            assert list(self.line.behind(head, 3)) == others[:3]


def test_any_order_of_events_leaves_a_line_like_a_sorted_list() -> None:
    run_state_machine_as_test(
        AnyOrder, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


def line_of(*weights: int) -> tuple[Line, list[Ticket]]:
    line = Line()
    return line, [line.join(weight) for weight in weights]


def test_one_who_passed_others_and_returns_stands_where_it_stood_and_only_once() -> None:
    line, (first, second, third) = line_of(4, 1, 2)
    line.leave(second)
    assert list(line.behind(first, EVERYBODY)) == [third]

    line.rejoin(second)

    assert list(line.behind(first, EVERYBODY)) == [second, third]
    assert line.ahead(third) == (2, 5)
    for ticket in (first, second, third):
        assert line.head is ticket
        line.leave(ticket)
    assert line.head is None


def test_one_whose_place_has_passed_returns_before_all_who_came_later() -> None:
    line, (first, second) = line_of(4, 1)
    line.leave(first)
    line.leave(second)
    third = line.join(2)

    line.rejoin(second)
    line.rejoin(first)

    assert line.head is first
    assert list(line.behind(first, EVERYBODY)) == [second, third]
    assert [line.ahead(ticket) for ticket in (first, second, third)] == [(0, 0), (1, 4), (2, 5)]


@pytest.mark.parametrize("depth", [0, 1, 3, 4, 99])
def test_one_looks_no_deeper_into_a_line_than_asked(depth: int) -> None:
    line, (first, *others) = line_of(1, 1, 1, 1, 1)
    assert list(line.behind(first, depth)) == others[:depth]


def test_one_looks_past_those_who_have_left() -> None:
    line, (first, *others) = line_of(*[1] * 500)
    for ticket in others[:400]:
        line.leave(ticket)
    assert list(line.behind(first, 3)) == others[400:403]


def test_one_who_took_a_place_in_the_middle_leaves_and_returns_there() -> None:
    line, (first, second, third) = line_of(4, 1, 2)
    line.leave(second)
    again = line.join(1, number=second.number)
    line.leave(again)

    line.rejoin(again)

    assert list(line.behind(first, EVERYBODY)) == [again, third]
    line.leave(first)
    assert line.head is again


def test_a_line_that_is_never_empty_takes_no_more_memory_for_those_who_have_left() -> None:
    line, (ticket,) = line_of(1)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            line.join(1)
            line.leave(ticket)
            ticket = line.head or ticket
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert line.ahead(ticket) == (0, 0)

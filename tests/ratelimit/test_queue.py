"""The wait queue, compared with a plain sorted list."""

from __future__ import annotations

import tracemalloc

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

ALL = 10_000
weights = st.integers(1, 10)
anywhere = st.integers(0, 999)


class AnyOrder(RuleBasedStateMachine):
    """Permits that are pushed, removed from anywhere, and returned to their places."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WaitQueue()
        self.waiting: list[Permit] = []
        self.gone: list[Permit] = []

    @rule(weight=weights)
    def push(self, weight: int) -> None:
        self.waiting.append(self.queue.push(weight))

    @rule(count=st.integers(50, 200), weight=weights)
    def a_crowd_is_pushed(self, count: int, weight: int) -> None:
        for _ in range(count):
            self.push(weight)

    @precondition(lambda self: self.waiting)
    @rule()
    def remove_the_head(self) -> None:
        head = self.waiting.pop(0)
        self.queue.remove(head)
        self.gone.append(head)

    @precondition(lambda self: self.waiting)
    @rule(at=anywhere)
    def remove_one(self, at: int) -> None:
        permit = self.waiting.pop(at % len(self.waiting))
        self.queue.remove(permit)
        self.gone.append(permit)

    @precondition(lambda self: self.waiting)
    @rule()
    def remove_all(self) -> None:
        while self.waiting:
            self.remove_the_head()

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(50, 200))
    def a_crowd_passes_through_a_queue_that_is_never_empty(self, count: int) -> None:
        for _ in range(count):
            self.push(1)
            self.remove_the_head()

    @precondition(lambda self: self.gone)
    @rule(at=anywhere)
    def remove_one_that_is_gone(self, at: int) -> None:
        self.queue.remove(self.gone[at % len(self.gone)])

    @precondition(lambda self: self.gone)
    @rule(at=anywhere)
    def push_one_back(self, at: int) -> None:
        permit = self.gone.pop(at % len(self.gone))
        self.queue.push_back(permit)
        self.waiting = sorted([*self.waiting, permit], key=lambda waiting: waiting.number)

    @precondition(lambda self: self.gone)
    @rule(at=anywhere, weight=weights)
    def rejoin_at_the_place_of_one_that_is_gone(self, at: int, weight: int) -> None:
        permit = self.queue.push(weight, number=self.gone.pop(at % len(self.gone)).number)
        self.waiting = sorted([*self.waiting, permit], key=lambda waiting: waiting.number)

    @rule()
    def clear(self) -> None:
        self.queue.clear()
        self.gone += self.waiting
        self.waiting = []

    @invariant()
    def the_head_has_waited_longest(self) -> None:
        assert self.queue.head is (self.waiting[0] if self.waiting else None)
        assert len(self.queue) == len(self.waiting)
        assert bool(self.queue) == bool(self.waiting)

    @invariant()
    def every_permit_knows_whether_it_waits(self) -> None:
        assert all(permit.waiting for permit in self.waiting)
        assert not any(permit.waiting for permit in self.gone)

    @invariant()
    def a_position_counts_earlier_permits_and_images(self) -> None:
        images = 0
        for place, permit in enumerate(self.waiting):
            assert self.queue.position(permit) == (place, images)
            images += permit.weight

    @invariant()
    def later_permits_are_in_order(self) -> None:
        if self.waiting:
            head, *others = self.waiting
            for depth in (0, 1, 3, ALL):
                assert list(self.queue.after(head, depth)) == others[:depth]


def test_any_order_of_events_leaves_the_queue_like_a_sorted_list() -> None:
    run_state_machine_as_test(
        AnyOrder, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


def queue_of(*weights: int) -> tuple[WaitQueue, list[Permit]]:
    queue = WaitQueue()
    return queue, [queue.push(weight) for weight in weights]


def test_a_permit_that_returns_after_thousands_of_others_is_before_all_that_wait() -> None:
    queue, (old, waiting) = queue_of(4, 1)
    queue.remove(old)
    for _ in range(3000):
        queue.remove(queue.push(1))

    queue.push_back(old)

    assert queue.head is old
    assert [queue.position(permit) for permit in (old, waiting)] == [(0, 0), (1, 4)]


def test_a_queue_that_is_never_empty_keeps_no_memory_of_removed_permits() -> None:
    queue, (permit,) = queue_of(1)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            queue.push(1)
            queue.remove(permit)
            permit = queue.head or permit
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert queue.position(permit) == (0, 0)

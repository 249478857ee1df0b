"""Claims in a store, and the one thread of the process that reads and writes them.

Every change is a compare-and-swap with a rule of :mod:`.claims`. The thread

- makes the changes in the order in which they were asked for, and repeats them while the store is away,
- renews the claims that calls of this process hold, also while an event loop is busy,
- looks at the claims that calls wait for, all calls of the process at once, and wakes those whose claim is free.

A process has one ledger, with one connection, for each URL. Its thread ends when it has nothing to do.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar, cast

import anyio
from anyio.lowlevel import EventLoopToken
from attrs import define

from imagesdk._coordination.claims import HEARTBEAT, PREFIX, Claim, DamagedClaimError, dumps, loads, renew
from imagesdk._coordination.store import DocumentStore, Reply, StoreUnavailable
from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.errors import CoordinationError

T = TypeVar("T")
Rule = Callable[[Claim | None, float], tuple[Claim | None, T]]
"""From the claim in the store and the store's clock to the claim to write, if any, and a result."""

PATIENCE: Final = 30.0
"""Seconds for which a change is repeated while the store is away."""
LATE: Final = 24 * 3600.0
"""Seconds for which the result of a paid job is kept for a store that is away, while the process lives."""
_PAUSE: Final = 0.25
"""Seconds between two looks at a store that is away."""
_IDLE: Final = 5.0
_ALWAYS: Final = float("inf")
_MOST_RIVALS: Final = 1000
_MOST_OF_TIME: Final = 20
"""A look at all claims that calls wait for may take one part in so many of the thread's time."""
_SLOWEST_LOOK: Final = 1.0
_NO_ANSWER: Final = StoreUnavailable("it does not answer")
_logger = logging.getLogger("imagesdk")


@define(eq=False)
class Change(Generic[T]):
    """A change that the thread makes."""

    key: str
    rule: Rule[T]
    until: float
    """Monotonic time after which it fails if the store is still away."""
    on_end: Callable[[], object]
    late: bool = False
    """Whether it is repeated after any error."""
    result: T | None = None
    error: Exception | None = None
    tried: tuple[str, Claim, T] | None = None
    """Version, claim and result of a swap whose reply may have been lost."""


@define(eq=False)
class _Waiter:
    loop: EventLoopToken
    event: anyio.Event


class ClaimLedger:
    """Claims in one store. Thread-safe. ``where`` names the store, without a password."""

    def __init__(self, store: DocumentStore, where: str) -> None:
        self.where = where
        self._store = store
        self._changed = threading.Condition()
        self._changes = deque[Change[Any]]()
        self._held: dict[str, Claim] = {}
        self._waiters: dict[str, list[_Waiter]] = {}
        self._running = False
        self._beat_at = self._look_at = self._away_until = 0.0
        self._away: StoreUnavailable | None = None

    async def change(
        self, key: str, rule: Rule[T], *, deadline: float | None = None, late: bool = False
    ) -> T:
        """Apply a rule to a claim. A cancelled call leaves the change to the thread, which may still make it.

        Args:
            key: The key of the claim.
            rule: The rule, which may be applied several times.
            deadline: The end of the call, on the monotonic clock.
            late: Whether the thread still makes the change after this method has raised, when the store is back.

        Raises:
            CoordinationError: If the store is away for :data:`PATIENCE` seconds (5 if ``late``), or until ``deadline``; or
                if the claim is damaged.
        """
        now = time.monotonic()
        until = now + (RELEASE_LIMIT if late else PATIENCE)
        until = until if deadline is None or late else min(deadline, until)
        loop, ended = running_loop(), anyio.Event()
        change = Change(
            key, rule, now + LATE if late else until, lambda: call_soon(loop, ended.set), late=late
        )
        with self._changed:
            self._changes.append(change)
            self._wake()
        with anyio.move_on_after(until - now + (0 if late else _PAUSE)):  # the store may hang
            await ended.wait()
        if change.error is not None:
            raise change.error
        if not ended.is_set():
            raise self._lost(self._away or _NO_ANSWER)
        return cast("T", change.result)

    async def wait_until_free(self, key: str, *, deadline: float | None = None) -> bool:
        """Wait until no living call holds a claim. Return whether it is free, rather than the time over."""
        waiter = _Waiter(running_loop(), anyio.Event())
        with self._changed:
            self._waiters.setdefault(key, []).append(waiter)
            self._look_at = min(self._look_at, time.monotonic() + (self._store.poll_seconds or 0.0))
            self._wake()
        try:
            with anyio.move_on_after(None if deadline is None else max(0.0, deadline - time.monotonic())):
                await waiter.event.wait()
        finally:
            with self._changed:
                left = [each for each in self._waiters.pop(key, []) if each is not waiter]
                if left:
                    self._waiters[key] = left
        return waiter.event.is_set()

    def _wake(self) -> None:
        if not self._running:
            self._running = True
            threading.Thread(target=self._run, name="imagesdk-ledger", daemon=True).start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._pause():
                    self._running = False
                    self._store.close()
                    return
                now = time.monotonic()
                beats = bool(self._held) and now >= self._beat_at
                looks = bool(self._waiters) and now >= self._look_at
            try:
                self._make_changes()
                if beats:
                    self._beat()
                if looks:
                    self._look()
            except StoreUnavailable as error:
                self._note_away(error)
                self._free(*list(self._waiters))  # the calls ask again, and learn that the store is away
            except Exception:
                _logger.exception("the thread of the ledger continues after an error")

    def _pause(self) -> bool:
        """Wait until there is something to do. Return ``False`` if there was nothing for a while."""
        idle_until = time.monotonic() + _IDLE
        while True:
            now = time.monotonic()
            due = idle_until
            if self._changes:
                due = self._away_until
            if self._held:
                due = min(due, max(self._beat_at, self._away_until))
            if self._waiters:
                due = min(due, max(self._look_at, self._away_until))
            if due <= now:
                return bool(self._changes or self._held or self._waiters)
            self._changed.wait(due - now)

    def _make_changes(self) -> None:
        """Make the changes in their order; those to one key never overtake each other."""
        with self._changed:
            changes = list(self._changes)
            self._changes.clear()
        left = list[Change[Any]]()
        postponed = set[str]()
        away: StoreUnavailable | None = None
        for change in changes:
            if away is None and change.key not in postponed:
                try:
                    change.result, change.error = self._swap(change), None
                except StoreUnavailable as error:
                    away, change.error = error, self._lost(error)
                except Exception as error:  # noqa: BLE001 - raised again by the caller
                    change.error = error
                if change.error is None or not (away or change.late):
                    change.on_end()
                    continue
            if time.monotonic() < change.until:
                postponed.add(change.key)
                left.append(change)
                continue
            change.error = change.error or self._lost(away or _NO_ANSWER)
            change.on_end()
        self._away = away
        with self._changed:
            self._changes.extendleft(reversed(left))
            if left:
                self._away_until = time.monotonic() + _PAUSE

    def _swap(self, change: Change[T]) -> T:
        key = change.key
        reply = self._store.read(PREFIX + key)
        for _ in range(_MOST_RIVALS):
            if change.tried is not None and change.tried[0] == reply.version:
                self._remember(key, change.tried[1])
                return change.tried[2]
            claim = self._claim_of(key, reply)
            new, result = change.rule(claim, reply.now)
            if new is None or new == claim:
                return result
            change.tried = (uuid.uuid4().hex, new, result)
            reply = self._store.swap(
                PREFIX + key, reply.version, change.tried[0], dumps(new), notify=(), keep=_ALWAYS
            )
            if reply.swapped:
                self._remember(key, new)
                return result
        raise CoordinationError(f"The claim {key!r} in {self.where} changes too often.")

    def _remember(self, key: str, claim: Claim) -> None:
        """Note a claim that was written: it is to be renewed, or calls that wait for it may go on."""
        with self._changed:
            if key in self._held and self._held[key].owner == claim.owner:
                self._held[key] = claim
            if key in self._waiters:
                self._look_at = 0.0

    def hold(self, key: str, claim: Claim) -> None:
        """Renew the claim until :meth:`let_go`."""
        with self._changed:
            if not self._held:
                self._beat_at = time.monotonic() + HEARTBEAT
            self._held[key] = claim
            self._wake()

    def let_go(self, key: str, owner: str) -> None:
        """Renew the claim no longer."""
        with self._changed:
            if key in self._held and self._held[key].owner == owner:
                del self._held[key]

    def _beat(self) -> None:
        with self._changed:
            held = list(self._held.items())
            self._beat_at = time.monotonic() + HEARTBEAT
        for key, mine in held:

            def rule(known: Claim | None, now: float, mine: Claim = mine) -> tuple[Claim | None, None]:
                return renew(known, mine, now), None

            with suppress(CoordinationError):  # the call itself reports it
                self._swap(Change(key, rule, 0.0, int))

    def _look(self) -> None:
        with self._changed:
            keys = list(self._waiters)
        began = time.monotonic()
        for key in keys:
            if self._is_free(key):
                self._free(key)
        now = time.monotonic()
        pause = max(self._store.poll_seconds or 0.0, _MOST_OF_TIME * (now - began))
        with self._changed:
            self._look_at = now + min(_SLOWEST_LOOK, pause)

    def _is_free(self, key: str) -> bool:
        try:
            reply = self._store.read(PREFIX + key)
            claim = self._claim_of(key, reply)
        except CoordinationError:  # the call that waits reports it
            return True
        return claim is None or not claim.is_held(reply.now)

    def _free(self, *keys: str) -> None:
        with self._changed:
            waiters = [waiter for key in keys for waiter in self._waiters.pop(key, [])]
        for waiter in waiters:
            call_soon(waiter.loop, waiter.event.set)

    def _claim_of(self, key: str, reply: Reply) -> Claim | None:
        try:
            return loads(reply.document) if reply.version else None
        except DamagedClaimError as error:
            raise CoordinationError(f"The claim {key!r} in {self.where} cannot be read: {error}.") from error

    def _note_away(self, error: StoreUnavailable) -> None:
        self._away = error
        self._away_until = time.monotonic() + _PAUSE

    def _lost(self, error: StoreUnavailable) -> CoordinationError:
        problem = CoordinationError(f"The ledger in {self.where} cannot be reached: {error}.")
        problem.__cause__ = error
        return problem


_ledgers: dict[str, ClaimLedger] = {}
_of_the_parent: list[ClaimLedger] = []
"""Ledgers of the process that this one was forked from. Their connections are not closed here."""


def _forget_ledgers() -> None:
    _of_the_parent.extend(_ledgers.values())
    _ledgers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_ledgers)


def shared_ledger(where: str, open_store: Callable[[], DocumentStore]) -> ClaimLedger:
    """Return the ledger of this process for a store."""
    return _ledgers.get(where) or _ledgers.setdefault(where, ClaimLedger(open_store(), where))

"""Claims in a store. The thread of the store reads and writes them.

Every change is a compare-and-swap with a rule of :mod:`.claims`. The thread

- makes the changes in the order in which they were asked for, and repeats them while the store is away,
- renews the claims that calls of this process hold, also while an event loop is busy,
- looks at the claims that calls wait for, all calls of the process at once, and wakes those whose claim is free.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import anyio
from anyio.lowlevel import EventLoopToken
from attrs import define

from imagesdk._coordination.claims import HEARTBEAT, PREFIX, Claim, DamagedClaimError, dumps, loads, renew
from imagesdk._coordination.store import Reply, StoreUnavailable
from imagesdk._coordination.store_thread import PROCESS_THREADS, StoreThread
from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.errors import CoordinationError
from imagesdk.policies import SharedStore
from imagesdk.remedies import Remedy

T = TypeVar("T")
Rule: TypeAlias = Callable[[Claim | None, float, float], tuple[Claim | None, T]]
"""From the claim in the store, the store's clock and the time since which leases can be renewed, to the claim to write, if
any, and a result."""

PATIENCE: Final = 60.0
"""Seconds for which a change is repeated while the store is away."""
LATE: Final = 24 * 3600.0
"""Seconds for which the result of a paid job is kept for a store that is away, while the process lives."""
_PAUSE: Final = 0.2
"""Seconds between the first two tries while the store is away. The pause doubles with each try."""
_LONGEST_PAUSE: Final = 4.0
_LOOK: Final = 0.1
"""Seconds between two looks at the claims that calls wait for."""
_SLOWEST_LOOK: Final = 2.0
_MOST_OF_TIME: Final = 20
"""Looks take at most one part in so many of the thread's time, if that makes them no slower than the slowest."""
_KEYS: Final = 50
"""Claims that the thread looks at or renews before it does other work."""
_MOST_RIVALS: Final = 1000
_ALWAYS: Final = float("inf")
_NO_ANSWER: Final = StoreUnavailable("it does not answer")


@define(eq=False)
class _Change(Generic[T]):
    """A change that the thread makes."""

    key: str
    rule: Rule[T]
    until: float
    """Monotonic time after which it fails if the store is still away."""
    late: bool
    """Whether it is repeated after any error."""
    on_end: Callable[[], object]
    result: T | None = None
    error: Exception | None = None
    tried: tuple[str, Claim, T] | None = None
    """Version, claim and result of a swap whose reply may have been lost."""


@define(eq=False)
class _Waiter:
    """A call that waits for a claim."""

    key: str
    loop: EventLoopToken
    event: anyio.Event


class ClaimLedger:
    """Claims in one store. Its private methods run on the thread of the store."""

    def __init__(self, thread: StoreThread) -> None:
        self.where = thread.shared.name
        """The store, without a password."""
        self._thread = thread
        self._changes = deque[_Change[Any]]()
        self._pause = _PAUSE
        self._tries = 0
        self._away: StoreUnavailable | None = None
        """Why the store could not be reached at last."""
        self._renewable_since: float | None = None
        """Time on the store's clock since which owners can renew their leases; ``None`` if it is to be found out."""
        self._held: dict[str, Claim] = {}
        self._beats = False
        self._waiters: list[_Waiter] = []
        self._looks = False
        self._to_look = deque[str]()
        self._looked_since = 0.0

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
        on_end = partial(call_soon, loop, ended.set)
        change = _Change(key, rule, now + LATE if late else until, late, on_end)
        self._thread.call_soon(partial(self._add, change))
        with anyio.move_on_after(until - now + (0 if late else _PAUSE)):  # the store may hang
            await ended.wait()
        if change.error is not None:
            raise change.error
        if not ended.is_set():
            raise self._lost(self._away or _NO_ANSWER)
        return cast("T", change.result)

    async def wait_until_free(self, key: str, *, deadline: float | None = None) -> bool:
        """Wait until no living call holds a claim. Return whether it may be free, rather than the time over."""
        waiter = _Waiter(key, running_loop(), anyio.Event())
        self._thread.call_soon(partial(self._wait, waiter))
        try:
            with anyio.move_on_after(None if deadline is None else max(0.0, deadline - time.monotonic())):
                await waiter.event.wait()
        finally:
            if not waiter.event.is_set():
                self._thread.call_soon(partial(self._leave, waiter))
        return waiter.event.is_set()

    def hold(self, key: str, claim: Claim) -> None:
        """Renew the claim until :meth:`let_go`."""
        self._thread.call_soon(partial(self._hold, key, claim))

    def let_go(self, key: str, owner: str) -> None:
        """Renew the claim no longer."""
        self._thread.call_soon(partial(self._let_go, key, owner))

    def _after(self, seconds: float, task: Callable[[], None]) -> None:
        self._thread.call_at(time.monotonic() + seconds, task)

    def _add(self, change: _Change[Any]) -> None:
        self._changes.append(change)
        if self._pause == _PAUSE:
            self._make_changes()
        elif self._pause > 2 * _PAUSE:
            self._pause = 2 * _PAUSE
            self._try_again()

    def _make_changes(self) -> None:
        """Make the changes in their order; those to one key never overtake each other."""
        left = deque[_Change[Any]]()
        postponed = set[str]()
        away: StoreUnavailable | None = None
        for change in self._changes:
            if away is None and change.key not in postponed:
                try:
                    change.result, change.error = self._swap(change), None
                except StoreUnavailable as error:
                    away, change.error = error, self._lost(error)
                    self._note_away(error)
                except Exception as error:  # noqa: BLE001 - raised again by the caller
                    change.error = error
                if change.error is None or not (away or change.late) or _is_damage(change.error):
                    change.on_end()
                    continue
            if time.monotonic() < change.until:
                postponed.add(change.key)
                left.append(change)
                continue
            change.error = change.error or self._lost(away or _NO_ANSWER)
            change.on_end()
        self._changes = left
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause) if left else _PAUSE
        if left:
            self._try_again()

    def _try_again(self) -> None:
        self._tries = number = self._tries + 1

        def make() -> None:
            if number == self._tries:  # otherwise an earlier try was planned since
                self._make_changes()

        self._after(self._pause / 2, make)

    def _swap(self, change: _Change[T]) -> T:
        key, store = change.key, self._thread.store
        reply = store.read(PREFIX + key)
        for _ in range(_MOST_RIVALS):
            if change.tried is not None and change.tried[0] == reply.version:
                self._remember(key, change.tried[1])
                return change.tried[2]
            claim = self._claim_of(key, reply)
            new, result = change.rule(claim, reply.now, self._since(reply.now))
            if new is None or new == claim:
                return result
            change.tried = (uuid.uuid4().hex, new, result)
            version = change.tried[0]
            reply = store.swap(PREFIX + key, reply.version, version, dumps(new), notify=(), keep=_ALWAYS)
            if reply.swapped:
                self._remember(key, new)
                return result
        raise CoordinationError(f"The claim {key!r} in {self.where} changes too often.")

    def _remember(self, key: str, claim: Claim) -> None:
        """Note a claim that was written: it is to be renewed, or calls that wait for it may go on."""
        if key in self._held and self._held[key].owner == claim.owner:
            self._held[key] = claim
        if not claim.owner:
            self._wake(key)

    def _hold(self, key: str, claim: Claim) -> None:
        self._held[key] = claim
        if not self._beats:
            self._beats = True
            self._after(HEARTBEAT, self._beat)

    def _let_go(self, key: str, owner: str) -> None:
        if key in self._held and self._held[key].owner == owner:
            del self._held[key]

    def _beat(self) -> None:
        """Renew all claims that are held, some at a time."""
        self._beats = bool(self._held)
        if self._held:
            self._after(HEARTBEAT, self._beat)
            keys = list(self._held)
            for at in range(0, len(keys), _KEYS):
                self._after(0, partial(self._renew, keys[at : at + _KEYS]))

    def _renew(self, keys: list[str]) -> None:
        for key in keys:
            if (mine := self._held.get(key)) is None:
                continue

            def rule(
                known: Claim | None, now: float, since: float, mine: Claim = mine
            ) -> tuple[Claim | None, None]:
                return renew(known, mine, now), None

            try:
                self._swap(_Change(key, rule, 0.0, False, int))
            except StoreUnavailable as error:
                self._note_away(error)
                return  # there are more beats before the lease ends
            except CoordinationError:
                continue  # the call itself reports it

    def _wait(self, waiter: _Waiter) -> None:
        self._waiters.append(waiter)
        if not self._looks:
            self._looks = True
            self._begin_look()

    def _leave(self, waiter: _Waiter) -> None:
        with suppress(ValueError):
            self._waiters.remove(waiter)

    def _begin_look(self) -> None:
        self._to_look = deque(dict.fromkeys(waiter.key for waiter in self._waiters))
        self._looked_since = time.monotonic()
        self._looks = bool(self._to_look)
        if self._looks:
            self._look()

    def _look(self) -> None:
        """Look at some claims that calls wait for, and wake the calls whose claim is free."""
        try:
            for _ in range(min(_KEYS, len(self._to_look))):
                key = self._to_look.popleft()
                if self._is_free(key):
                    self._wake(key)
        except StoreUnavailable as error:  # the calls ask again, and learn that the store is away
            self._note_away(error)
            self._to_look.clear()
            self._wake(*{waiter.key for waiter in self._waiters})
        if self._to_look:
            self._after(0, self._look)
            return
        took = time.monotonic() - self._looked_since
        self._after(min(_SLOWEST_LOOK, max(_LOOK, _MOST_OF_TIME * took)), self._begin_look)

    def _is_free(self, key: str) -> bool:
        try:
            reply = self._thread.store.read(PREFIX + key)
            claim = self._claim_of(key, reply)
            return claim is None or not claim.is_held(reply.now, self._since(reply.now))
        except CoordinationError:  # the call that waits reports it
            return True

    def _wake(self, *keys: str) -> None:
        woken = [waiter for waiter in self._waiters if waiter.key in keys]
        if woken:
            self._waiters = [waiter for waiter in self._waiters if waiter.key not in keys]
        for waiter in woken:
            call_soon(waiter.loop, waiter.event.set)

    def _since(self, now: float) -> float:
        """Return since when the store has been there: it may have been away from all owners."""
        if self._renewable_since is None:
            uptime = 0.0 if self._away is not None else self._thread.store.uptime()
            self._renewable_since, self._away = now - uptime, None
        return self._renewable_since

    def _note_away(self, error: StoreUnavailable) -> None:
        self._away, self._renewable_since = error, None

    def _claim_of(self, key: str, reply: Reply) -> Claim | None:
        try:
            return loads(reply.document) if reply.version else None
        except DamagedClaimError as error:
            raise CoordinationError(f"The claim {key!r} in {self.where} cannot be read: {error}.") from error

    def _lost(self, error: StoreUnavailable) -> CoordinationError:
        summary = f"The ledger in {self.where} cannot be reached: {str(error).rstrip('.')}."
        problem = CoordinationError(summary, remedies=(Remedy.CHECK_STORE,))
        problem.__cause__ = error
        return problem


def _is_damage(error: Exception) -> bool:
    """Return whether trying again is useless."""
    return isinstance(error.__cause__, DamagedClaimError)


_ledgers: dict[StoreThread, ClaimLedger] = {}


def ledger_of(shared: SharedStore) -> ClaimLedger:
    """Return the ledger of this process in a store.

    Raises:
        ConfigurationError: If the URL cannot be used.
    """
    thread = PROCESS_THREADS.get(shared)
    return _ledgers.get(thread) or _ledgers.setdefault(thread, ClaimLedger(thread))

"""One process's copy of a shared document: it writes the changes of this process, and takes over those of others.

Everything here runs on the thread of the store. A change is a closure that is applied again when another process was
first. The owner of the first ticket in the queue grants for all, and notifies the owners of the tickets. The others
look after it, in case it died.
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable

from imagesdk._coordination.local_permits import LocalPermit, LocalPermits, Scene
from imagesdk._coordination.local_share import PROBE_SECONDS, LocalShare, share_of
from imagesdk._coordination.shared_window import SETTLE_SECONDS, SharedWindow, Standing, Ticket, UnknownFormat
from imagesdk._coordination.store import DocumentStore, Notice, Reply, StoreUnavailable
from imagesdk._coordination.store_thread import StoreThread
from imagesdk.errors import CoordinationError
from imagesdk.policies import RateLimit

_logger = logging.getLogger("imagesdk")

HEARTBEAT_SECONDS = 2.0
"""Distance of the signs of life of an owner that waits for capacity or takes it."""
SUCCESSOR_SECONDS = 0.25
"""How much later each next owner in the queue grants, if those before it do not."""
MAX_SUCCESSORS = 8
"""Owners that do so at different times."""
LEAD_HORIZONS = 1 / 2
"""How long before a grant it is written, in horizons: so its owner knows it in time."""
LEAST_DELAY = 0.002
"""Shortest time until something is looked at again."""
RETRY_SECONDS = (0.01, 0.5)
"""First and longest distance of attempts to reach a store that is away."""
FAILURE_SECONDS = 2.0
"""Time until a store that cannot be used is tried again for what is left to write."""
GATHER_SECONDS = 0.05
"""Time without grants in a new document, so that processes that start together share the first window."""
BACKWARDS_SECONDS = 0.1
"""By how much the store's clock must be behind a document for it to have been turned back."""
FORWARDS_SECONDS = 0.25
"""By how much the store's clock must have jumped ahead for nobody to know how old requests are."""
SMALL_FLEET = 8
"""Most owners that are all notified of every change: what they know is fresh when they write."""
KEEP_WINDOWS = 10
"""Windows for which a document is kept after its last change, and a minute."""
MOST_BACKOFF = 0.1
"""Longest wait between two attempts to write."""
MOST_ATTEMPTS = 50
"""Attempts to write a change, while other processes are faster."""


class Replica:
    """One document, from the point of view of this process.

    Args:
        thread: The thread of the store.
        key: The key of the document.
        permits: The permits of this process.
        wake: Called with permits whose calls should look at them; with ``None`` for all.
        clock: The local clock.
    """

    def __init__(
        self,
        thread: StoreThread,
        key: str,
        permits: LocalPermits,
        wake: Callable[[Iterable[LocalPermit] | None], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.away_since: float | None = None
        """Since when the store cannot be reached, in local time."""
        self.reason = ""
        """Why it cannot be reached."""
        self.was_reached = False
        """Whether it was ever reached."""
        self.owners = 1
        """Processes that use the document."""
        self._thread = thread
        self._me = thread.owner
        self._key = key
        self._permits = permits
        self._wake = wake
        self._local_clock = clock
        self._store: DocumentStore = thread.store
        self._share: LocalShare | None = None
        self._before_share: tuple[str, str] = ("", "")
        self._version: str = ""
        self._document: str = ""  # the last ones that the store is known to have had
        self._expected = ""  # the version that it has now
        self._shared: SharedWindow | None = None  # the document, unless a change of it failed
        self._must_write = False
        self._done = 0  # changes of this process that the store had
        self._seen: dict[str, float] = {}
        self._contact_at = -math.inf
        self._failures = 0
        self._step_at = math.inf
        self._step_lock = threading.Lock()
        thread.watch(key, self._notice, at_exit=self._leave)

    def close(self) -> None:
        """Take no notices any longer."""
        self._thread.unwatch(self._key)

    def step_by(self, when: float) -> None:
        """Do what is due at a time of the local clock, or sooner. From any thread."""
        with self._step_lock:
            if when >= self._step_at:
                return
            self._step_at = when
        self._thread.call_at(when, self._step)

    def _step(self) -> None:
        now = self._local_clock()
        with self._step_lock:
            if now < self._step_at:  # done by an earlier step
                return
            self._step_at = math.inf
        try:
            self._work(now)
        except StoreUnavailable as error:
            self._lose(error)
            return
        except UnknownFormat as error:
            name = self._thread.shared.name
            self._fail(
                CoordinationError(
                    f"The shared store {name} is used by another version of the package: {error}."
                )
            )
        except CoordinationError as error:
            self._fail(error)
        else:
            if self.away_since is not None and self._share is None:
                self.away_since, self._failures = None, 0
                _logger.info("the shared store %s is back", self._thread.shared.name)
                self._wake(None)
            self._schedule()

    def _work(self, now: float) -> None:
        """Write what is due and grant, or else leave a sign of life."""
        self._try_to_return(now)
        shared = self._shared
        rank = None if shared is None else self._rank(shared, now)
        if shared is None or (rank and self._duty_at(shared, rank) <= now):
            self._read()
        is_late = self._contact_at + HEARTBEAT_SECONDS <= now
        if not self._write(early=is_late) and is_late:
            self._read()
            self._write()

    def _write(self, *, early: bool = False) -> bool:
        """Apply what is due, or ``early`` all changes, and write the document; return whether there was anything to write."""
        for attempt in range(MOST_ATTEMPTS):
            if attempt > 1:  # others write as well
                time.sleep(random.uniform(0.0, min(MOST_BACKOFF, LEAST_DELAY * 2**attempt)))  # noqa: S311 - jitter
            shared = self._shared
            assert shared is not None  # noqa: S101 - it was read
            scene = self._scene(shared)
            with self._permits.lock:
                if not (early and self._permits.changes) and not self._is_due(shared, scene):
                    woken = self._permits.take(shared, scene)
                    break
                before = shared.limit, shared.pause_ends
                self._apply(shared, scene)
                added = shared.admit(self._me, self._permits.hidden(), scene.standing)
            shared.remove_dead(scene.standing)
            granted = shared.grant_ready(scene.standing)
            shared.changed_at = max(shared.changed_at, scene.standing.now)
            everybody = (shared.limit, shared.pause_ends) != before
            if self._swap(shared, self._to_notify(shared, scene, granted, everybody=everybody)):
                with self._permits.lock:
                    self._permits.reveal(added, scene.local_now)
                    woken = self._permits.take(shared, scene)
                self._wake(woken)
                return True
        else:
            raise StoreUnavailable("other processes are faster")
        self._wake(woken)
        return False

    def _is_due(self, shared: SharedWindow, scene: Scene) -> bool:
        """Return whether the document should be written now."""
        permits, owner = self._permits, shared.owners.get(self._me)
        rank = self._rank(shared, scene.local_now)
        return (
            self._must_write
            or bool(shared.dead(scene.standing))
            or any(change.due_at <= scene.local_now for change in permits.changes)
            or (permits.has_hidden and shared.wants_more(self._me, scene.standing))
            or (owner is not None and owner.hidden_turn is not None and not permits.has_hidden)
            or (not permits.is_idle and (owner is None or owner.done < self._done))
            or (rank is not None and self._duty_at(shared, rank) <= scene.local_now)
        )

    def _apply(self, shared: SharedWindow, scene: Scene) -> None:
        limits = self._permits.limits if self._share is None else [self._share.limit]
        shared.join(self._me, limits)
        owner = shared.owners[self._me]
        if owner.done < self._done:
            self._permits.add_lost(shared, scene)
            owner.done = self._done
        for change in self._permits.changes:
            if change.number > owner.done:
                change.apply(shared, scene)
                owner.done = change.number

    def _to_notify(
        self, shared: SharedWindow, scene: Scene, granted: list[Ticket], *, everybody: bool
    ) -> set[str]:
        if everybody or len(shared.owners) <= SMALL_FLEET:
            return set(shared.owners) - {self._me}
        names = {ticket.owner for ticket in granted}
        names.update(shared.leaders(scene.standing)[:1])
        if short := shared.short_of(scene.standing):
            names.add(short)
        return names - {self._me}

    def _swap(self, shared: SharedWindow, notify: set[str]) -> bool:
        document, keep = shared.dump(), _keep(shared.limit)
        version = f"{_counter(self._version) + 1}-{secrets.token_hex(4)}"
        asked_at, self._shared = self._local_clock(), None
        reply = self._store.swap(
            self._key, self._expected, version, document, notify=notify, keep=keep, owner=self._me
        )
        if not reply.swapped:
            self._take(asked_at, reply)
            return False
        self._hear(asked_at, reply)
        self._shared, self._document, self._must_write = shared, document, False
        self._version = self._expected = version
        if not self._done and self._share is None:
            self._store.attend(self._key)
        if self._me in shared.owners:
            self._done = shared.owners[self._me].done
        return True

    def _read(self) -> None:
        asked_at = self._local_clock()
        self._take(asked_at, self._store.read(self._key, known=self._version, owner=self._me))

    def _take(self, asked_at: float, reply: Reply) -> None:
        """Continue with the document of the store, or with the own copy if the store has an older one or none."""
        is_first, last_contact = not self._permits.clock.is_known, self._contact_at
        jump = self._hear(asked_at, reply)
        self._expected = reply.version
        if reply.version and reply.version == self._version:
            self._shared = self._shared or SharedWindow.load(self._document)
        elif _counter(reply.version) < _counter(self._version) and not self._is_over(last_contact):
            self._shared = SharedWindow.load(self._document)
            self._shared.settle(reply.now + SETTLE_SECONDS)
            self._must_write = True
        else:
            self._version, self._document = reply.version, reply.document
            if reply.document:
                self._shared = SharedWindow.load(reply.document)
            else:
                self._shared = SharedWindow(self._permits.limits)
                self._shared.settle(reply.now + GATHER_SECONDS)
        shared = self._shared
        if is_first and not reply.version:
            # Those who know what was sent add it within that time.
            rest = SETTLE_SECONDS if reply.heard else SETTLE_SECONDS - self._store.uptime()
            if rest > 0:
                shared.settle(reply.now + rest)
                self._must_write = True
        if reply.now + BACKWARDS_SECONDS < shared.changed_at:
            shared.turn_back(reply.now)
            self._must_write = True
        if jump > FORWARDS_SECONDS:
            shared.settle(reply.now + shared.window.log.window_seconds)
            self._must_write = True
        self._seen = {owner: self._seen.get(owner, reply.now) for owner in shared.owners}
        self.owners = len(shared.owners)

    def _hear(self, asked_at: float, reply: Reply) -> float:
        """Note the store's clock and the signs of life; return by how much the clock has jumped."""
        self._contact_at, self.was_reached = self._local_clock(), True
        with self._permits.lock:
            jump = self._permits.clock.update(asked_at, reply.now, self._contact_at)
            if jump:
                self._permits.shift(jump)
        if jump:
            self._seen.clear()
        self._seen.update(reply.seen)
        return jump

    def _notice(self, notice: Notice) -> None:
        reply, now = notice.reply, self._local_clock()
        if reply is None:
            self._shared = None
        elif self._share is not None or _counter(reply.version) <= _counter(self._version):
            return
        else:
            self._permits.clock.hear(reply.now, now)
            self._version = self._expected = reply.version
            self._document, self._shared = reply.document, SharedWindow.load(reply.document)
        with self._step_lock:
            self._step_at = now
        self._step()

    def _leave(self) -> None:
        """Write what is left, and remove this process from the document, at its exit."""
        if self._shared is None or self._me not in self._shared.owners or self._share is not None:
            return
        for _ in range(MOST_ATTEMPTS):
            shared = self._shared
            scene = self._scene(shared)
            with self._permits.lock:
                self._apply(shared, scene)
            shared.leave(self._me, self._permits.clock.latest(scene.local_now))
            shared.grant_ready(scene.standing)
            if self._swap(shared, self._to_notify(shared, scene, [], everybody=False)):
                return

    def _lose(self, error: StoreUnavailable) -> None:
        """Try again soon, and let the calls that have no time left know."""
        now = self._local_clock()
        self._shared, self.reason = None, str(error)
        if self.away_since is None:
            self.away_since = now
            _logger.warning("the shared store %s is away: %s", self._thread.shared.name, error)
            self._wake(None)
        self._begin_local_share(now)
        first, longest = RETRY_SECONDS
        self._failures += 1
        self.step_by(now + min(longest, first * 2 ** min(self._failures, 8)))

    def _fail(self, error: CoordinationError) -> None:
        """End the waits of all calls: the store cannot be used."""
        self._shared = None
        with self._permits.lock:
            for permit in list(self._permits.waiting()):
                permit.error = error
                permit.waiting = False
                self._permits.held.pop(permit.number, None)
            is_idle = self._permits.is_idle
        self._wake(None)
        if not is_idle:
            self.step_by(self._local_clock() + FAILURE_SECONDS)

    def _begin_local_share(self, now: float) -> None:
        if self._thread.shared.on_store_loss != "local_share" or self._share or not self._document:
            return
        shared = SharedWindow.load(self._document)
        share = share_of(shared.limit, max(1, len(shared.owners)))
        if share is None or now < self._contact_at + shared.window.log.window_seconds:
            return
        _logger.warning("the shared store is away: this process keeps to its share of %s", share)
        self._share = LocalShare(share, lambda: self._permits.clock.earliest(self._local_clock()))
        self._share.probe_at = now + PROBE_SECONDS
        self._before_share = self._version, self._document
        self._store, self._version, self._document = self._share, "", ""

    def _try_to_return(self, now: float) -> None:
        """Leave the local share if the store can be reached again."""
        if self._share is None or now < self._share.probe_at:
            return
        self._share.probe_at = now + PROBE_SECONDS
        store, (version, document) = self._thread.store, self._before_share
        try:
            reply = store.read(self._key, known=version, owner=self._me)
        except StoreUnavailable:
            return
        self._store, self._share, self._shared = store, None, None
        self._version, self._document = version, document
        self._take(now, reply)

    def _schedule(self) -> None:
        """Plan the next step."""
        now, shared = self._local_clock(), self._shared
        times: list[float] = []
        with self._permits.lock:
            times += [change.due_at for change in self._permits.changes]
            if not self._permits.is_idle:
                times.append(self._contact_at + HEARTBEAT_SECONDS)
            self._thread.poll(self._key, wanted=any(self._permits.waiting()))
        if shared is not None and (rank := self._rank(shared, now)) is not None:
            times.append(self._duty_at(shared, rank))
        if times and min(times) < math.inf:
            self.step_by(max(min(times), now + LEAST_DELAY))

    def _rank(self, shared: SharedWindow, now: float) -> int | None:
        """Return how many owners should grant before this one; ``None`` if it has no ticket that waits."""
        leaders = shared.leaders(self._standing(now))
        return leaders.index(self._me) if self._me in leaders else None

    def _duty_at(self, shared: SharedWindow, rank: int) -> float:
        """Return when this owner grants, in local time."""
        if shared.next_at is None:
            return math.inf
        at = self._permits.clock.local(shared.next_at)
        if rank:
            return at + SUCCESSOR_SECONDS * min(rank, MAX_SUCCESSORS)
        return at - LEAD_HORIZONS * shared.horizon

    def _standing(self, local_now: float) -> Standing:
        return Standing(self._me, self._permits.clock.earliest(local_now), self._seen)

    def _scene(self, shared: SharedWindow) -> Scene:
        now = self._local_clock()
        return Scene(self._me, self._permits.clock, self._standing(now), now)

    def _is_over(self, last_contact: float) -> bool:
        """Return whether a document of the last contact would not be kept any longer."""
        return last_contact + _keep(self._permits.limit) < self._local_clock()


def _keep(limit: RateLimit) -> float:
    return KEEP_WINDOWS * limit.per + 60


def _counter(version: str) -> int:
    return int(version.partition("-")[0] or 0)

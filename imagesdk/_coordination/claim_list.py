"""All claims of a store: to read, and to forget by age. Blocks; it has a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager

from attrs import frozen

from imagesdk._coordination.claims import PREFIX, Claim, DamagedClaimError, State, loads, may_forget
from imagesdk._coordination.store import LedgerStore, StoreUnavailable
from imagesdk._coordination.stores import file_of, open_store, resolve
from imagesdk.errors import CoordinationError
from imagesdk.policies import SharedStore
from imagesdk.remedies import Remedy


@frozen
class ListedClaim:
    """A claim as it is in the store."""

    key: str
    claim: Claim | None
    """``None`` if it is damaged."""
    now: float
    """The store's clock."""
    version: str
    problem: str = ""
    """Why it cannot be read."""


class ClaimList:
    """The claims of one store."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def __iter__(self) -> Iterator[ListedClaim]:
        after = ""
        while True:
            page = self._store.scan(PREFIX, after)
            for key, reply in page.documents:
                found: tuple[Claim | None, str]
                try:
                    found = loads(reply.document), ""
                except DamagedClaimError as error:
                    found = None, str(error)
                yield ListedClaim(key.removeprefix(PREFIX), found[0], reply.now, reply.version, found[1])
            after = page.after
            if not after:
                return

    def older_than(self, seconds: float, states: Collection[State] = ()) -> Iterator[ListedClaim]:
        """Yield the claims that may be forgotten: of these states, or of all."""
        at = time.time()
        for listed in self:
            claim = listed.claim
            if claim is None or not may_forget(claim, listed.now, at, seconds):
                continue
            if not states or claim.seen(listed.now) in states:
                yield listed

    def forget(self, listed: ListedClaim) -> bool:
        """Delete a claim, unless it has changed since it was listed. Return whether it was deleted."""
        return self._store.delete(PREFIX + listed.key, listed.version)


@contextmanager
def open_claims(shared: SharedStore) -> Generator[ClaimList]:
    """Open the claims of a store.

    Raises:
        ConfigurationError: If the URL cannot be used, or the package for it is missing.
        CoordinationError: If the store cannot be used.
        FileNotFoundError: If there is no such file.
    """
    shared = resolve(shared)
    if (path := file_of(shared)) is not None:
        path.stat()
    try:
        with closing(open_store(shared)) as store:
            yield ClaimList(store)
    except StoreUnavailable as error:
        reason = str(error).rstrip(".")
        summary = f"The ledger in {shared.name} cannot be reached: {reason}."
        raise CoordinationError(summary, remedies=(Remedy.CHECK_STORE,)) from error

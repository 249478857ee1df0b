"""Ledger of one job: the store and the budget learn of each attempt before its first byte.

===============================  ==========================  ===================================
event                            store                       money
===============================  ==========================  ===================================
first attempt begins             ``sending``                 reserved by the worker
another attempt begins           ``sending``                 reserved again if the one before may
                                                             have been billed
attempt was not sent or refused  ``not_sent``                kept for the next attempt
job ends                         by the worker               settled
===============================  ==========================  ===================================
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import anyio
from attrs import define

from imagesdk._protocol.retry import Failure
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.fan_out.spending import Reservation, SpendingLimit
from imagesdk.fan_out.store import STORE_ERRORS, JobRecord, JobStore


@define(eq=False)
class JobLedger:
    """Attempts of one job, for which the worker has reserved ``amount``."""

    store: JobStore
    record: JobRecord
    spending: SpendingLimit
    amount: Decimal
    """Maximum cost of one attempt, in US dollars."""
    check: Callable[[], None] = lambda: None
    """Raises if no attempt may start now."""
    count: int = 0
    """Number of attempts."""
    maybe_billed: bool = False
    """Whether the server may have worked on the latest attempt."""
    maybe_billed_before: bool = False
    """Whether the server may have worked on an attempt before the latest, in this run."""
    _written_off: Decimal = Decimal(0)
    """Maximum cost of the attempts before the latest, in US dollars."""

    @property
    def run_maybe_billed(self) -> bool:
        """Whether the server may have worked on an attempt of this run."""
        return self.maybe_billed or self.maybe_billed_before

    @property
    def ever_maybe_billed(self) -> bool:
        """Whether the server may have worked on any attempt, also of an earlier run."""
        return self.run_maybe_billed or self.record.maybe_billed

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """Reserve money for a repeated attempt, and record that an attempt begins."""
        self.check()
        if self.maybe_billed:
            self.maybe_billed_before = True
            if self.spending.reserve(self.amount) is not Reservation.RESERVED:
                raise self.spending.refusal(self.amount)
            self._written_off += self.amount
        try:
            await self.store.sending(self.record, str(self.amount) if self.amount else None)
        except BaseException:
            with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(*STORE_ERRORS):
                await self.store.not_sent(self.record)  # a cancelled write may have been committed
            raise
        self.count += 1
        self.maybe_billed = True

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """Record an attempt that did no work."""
        if failure is not None and failure.kind in {"never_sent", "refused"}:
            self.maybe_billed = False
            await self.store.not_sent(self.record)

    def close(self, cost: Decimal | None) -> None:
        """Settle the reserved money. ``cost`` is the cost of the latest attempt, or ``None`` if it is unknown."""
        latest = self.amount if self.maybe_billed and cost is None else cost or Decimal(0)
        self.spending.settle(self.amount + self._written_off, self._written_off + latest)

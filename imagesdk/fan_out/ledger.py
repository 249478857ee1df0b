"""The ledger of one job of a run: the book is told of every attempt before its first byte, and money is set aside for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import anyio
from attrs import define

from imagesdk._protocol.retry import Failure
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.errors import JournalError
from imagesdk.fan_out.spending import SpendingLimit
from imagesdk.fan_out.store import JobRecord, JobStore


@define(eq=False)
class JobLedger:
    """The attempts of one job, for which ``amount`` has been reserved."""

    store: JobStore
    record: JobRecord
    spending: SpendingLimit
    amount: Decimal
    """US dollars that one attempt may cost."""
    on_granted: Callable[[], None]
    """Called when the job need not wait for the limit any more."""
    count: int = 0
    maybe_billed: bool = False
    """Whether the latest attempt may have been worked on."""
    _written_off: Decimal = Decimal(0)
    """What attempts before the latest may have cost."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """Set money aside for what is done twice, and write it down.

        Raises:
            BudgetExceededError: the money does not last for another attempt.
            JournalError: it cannot be written down.
        """
        self.on_granted()
        if self.maybe_billed:
            if self.spending.reserve(self.amount) != "yes":
                raise self.spending.refusal(self.amount)
            self._written_off += self.amount
        try:
            await self.store.sending(self.record, str(self.amount) if self.amount else None)
        except BaseException:
            with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(JournalError):
                await self.store.not_sent(self.record)  # given up, perhaps after it was written down
            raise
        self.count = attempt
        self.maybe_billed = True

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """Write down what is free to be sent again.

        Raises:
            JournalError: it cannot be written down.
        """
        if failure is not None and failure.kind in {"never_sent", "refused"}:
            self.maybe_billed = False
            await self.store.not_sent(self.record)

    def close(self, cost: Decimal | None) -> None:
        """Settle the money: ``cost`` is what the latest attempt cost, if that is known."""
        latest = self.amount if self.maybe_billed and cost is None else cost or Decimal(0)
        self.spending.settle(self.amount + self._written_off, self._written_off + latest)

"""What a run may spend: reserved before a job is sent, settled when it has ended. Pure; US dollars, in decimals.

Rules: what may have been billed counts as if it had been; what cannot be known is never taken for nothing.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal, TypeAlias

from imagesdk import models
from imagesdk.errors import BudgetExceededError, ConfigurationError
from imagesdk.jobs import Job
from imagesdk.pricing import Estimate, estimate
from imagesdk.remedies import Remedy

UnknownPrice: TypeAlias = Literal["stop", "allow"]
"""What is done with a job whose price is not known: not sent, or sent uncounted."""

_CENT = Decimal("0.01")
_SPELLED = re.compile(r"\s*(?:(?:USD|\$)\s*)?(\d+(?:\.\d+)?)\s*(?:USD)?\s*", re.IGNORECASE)


def parse_budget(given: str | Decimal | int) -> Decimal:
    """Read ``"20 USD"``, ``"$20"``, ``"20"``, or a number of dollars.

    Raises:
        ConfigurationError: it is something else, or negative.
    """
    found: Decimal | None = None
    if isinstance(given, str) and (spelled := _SPELLED.fullmatch(given)):
        found = Decimal(spelled[1])
    elif isinstance(given, (Decimal, int)) and not isinstance(given, bool):
        found = Decimal(given)
    if found is None or not found.is_finite() or found < 0:
        raise ConfigurationError.for_parameter(
            "budget", given, allowed='a number of US dollars of at least 0, such as "20 USD"'
        )
    return found


def priced(job: Job, *, list_prices: bool) -> Estimate:
    """Return the estimate for a job; without ``list_prices`` only a price that you registered counts."""
    profile = models.lookup(job.model)
    if profile is not None and profile.price.list_price and not list_prices:
        return Estimate(
            profile.name, job.n or 1, reason="This server does not take the prices that the maker publishes."
        )
    if profile is None and not list_prices:
        return Estimate(job.model or "the server's own model", job.n or 1, reason="Its price is not known.")
    return estimate(job)


class SpendingLimit:
    """The money of one run.

    Args:
        limit: All that may be spent; ``None`` for no limit.
        spent: What was spent before.
    """

    def __init__(self, limit: Decimal | None, spent: Decimal = Decimal(0)) -> None:
        self._limit = limit
        self._spent = spent
        self._reserved = Decimal(0)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    @property
    def left(self) -> Decimal | None:
        """What is neither spent nor reserved; ``None`` without a limit."""
        return None if self._limit is None else self._limit - self._spent - self._reserved

    def reserve(self, amount: Decimal) -> Literal["yes", "wait", "no"]:
        """Set ``amount`` aside, or say whether it may be there when what is reserved has been settled."""
        if self._limit is None or self._spent + self._reserved + amount <= self._limit:
            self._reserved += amount
            return "yes"
        return "wait" if self._reserved and self._spent + amount <= self._limit else "no"

    def settle(self, reserved: Decimal, spent: Decimal) -> None:
        """Put in place of what was reserved what was spent."""
        self._reserved -= reserved
        self._spent += spent

    def refusal(self, amount: Decimal) -> BudgetExceededError:
        """Return the error of a job that cannot be paid."""
        limit, left = self._limit or Decimal(0), self.left or Decimal(0)
        return BudgetExceededError(
            f"This job may cost up to {_dollars(amount, ROUND_CEILING)}, but only {_dollars(left, ROUND_FLOOR)} of the "
            f"${limit if limit % _CENT else limit.quantize(_CENT)} budget is left, so it was not sent.",
            remedies=(Remedy.RAISE_BUDGET,),
        )


def unknown_price(found: Estimate) -> BudgetExceededError:
    """Return the error of a job that no budget can be kept with."""
    return BudgetExceededError(
        f"The cost of this job is unknown, so it was not sent under a budget. {found.reason}",
        remedies=(Remedy.ALLOW_UNKNOWN_PRICE,),
    )


def _dollars(amount: Decimal, rounding: str) -> str:
    """Return an amount in whole cents; what is less than a cent as it is."""
    return f"${amount if 0 < amount < _CENT else amount.quantize(_CENT, rounding)}"

"""Budget of a run: money is reserved before a job is sent and settled when the job ends. Pure.

Amounts are US dollars, as decimals. An attempt that may have been billed counts as billed. An unknown price never
counts as zero.

=================================  =========================================
budget                             reservation
=================================  =========================================
none, or it covers the amount      ``RESERVED``
covers it if open jobs cost less   ``WAIT`` until a job ends
does not cover it                  ``REFUSED``
=================================  =========================================
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import Enum, auto
from typing import Literal, TypeAlias

from attrs import define, evolve, field

from imagesdk import models
from imagesdk.errors import BudgetExceededError, ConfigurationError
from imagesdk.fan_out.outcomes import Notice
from imagesdk.jobs import Job, Variation
from imagesdk.pricing import Estimate, estimate
from imagesdk.remedies import Remedy

UnknownPrice: TypeAlias = Literal["stop", "allow"]
"""Treatment of a job with an unknown price: ``"stop"`` does not send it, ``"allow"`` sends it uncounted."""

_MODERATE = "medium"
_CENT = Decimal("0.01")
_SPELLED = re.compile(r"\s*(?:(?:USD|\$)\s*)?(\d+(?:\.\d+)?)\s*(?:USD)?\s*", re.IGNORECASE)


def parse_budget(given: str | Decimal | int) -> Decimal:
    """Parse ``"20 USD"``, ``"$20"``, ``"20"``, or a number of dollars.

    Raises:
        ConfigurationError: If the budget is anything else, or negative.
    """
    dollars: Decimal | None = None
    if isinstance(given, str) and (spelled := _SPELLED.fullmatch(given)):
        dollars = Decimal(spelled[1])
    elif isinstance(given, (Decimal, int)) and not isinstance(given, bool):
        dollars = Decimal(given)
    if dollars is None or not dollars.is_finite() or dollars < 0:
        allowed = 'a number of US dollars of at least 0, such as "20 USD"'
        raise ConfigurationError.for_parameter("budget", given, allowed=allowed)
    return dollars


def priced(job: Job, *, list_prices: bool, batch: bool = False) -> Estimate:
    """Estimate the price of a job, live or in a ``batch``. Without ``list_prices`` only a price that the caller registered counts."""
    profile = models.lookup(job.model)
    if profile is not None and profile.price.list_price and not list_prices:
        reason = "This server does not use the prices that OpenAI publishes."
        return Estimate(profile.name, job.n or 1, reason=reason)
    if profile is None and not list_prices:
        return Estimate(job.model or "the server's own model", job.n or 1, reason="Its price is not known.")
    return estimate(job, batch=batch)


class Reservation(Enum):
    """Answer to a request for money."""

    RESERVED = auto()
    WAIT = auto()
    """The money may be there when an open job ends."""
    REFUSED = auto()


@define(eq=False)
class SpendingLimit:
    """Spent and reserved money of one run."""

    limit: Decimal | None
    """Maximum to spend, in US dollars; ``None`` for no limit."""
    spent: Decimal = Decimal(0)
    """Money that this run and earlier runs of the journal have spent."""
    _reserved: Decimal = field(default=Decimal(0), init=False)

    @property
    def left(self) -> Decimal | None:
        """Money that is neither spent nor reserved; ``None`` without a limit."""
        return None if self.limit is None else self.limit - self.spent - self._reserved

    def reserve(self, amount: Decimal) -> Reservation:
        """Reserve ``amount``, if the budget covers it."""
        if self.limit is None or self.spent + self._reserved + amount <= self.limit:
            self._reserved += amount
            return Reservation.RESERVED
        may_fit_later = self._reserved and self.spent + amount <= self.limit
        return Reservation.WAIT if may_fit_later else Reservation.REFUSED

    def settle(self, reserved: Decimal, spent: Decimal) -> None:
        """Replace reserved money by the money that was spent."""
        self._reserved -= reserved
        self.spent += spent

    def reopen(self, amount: Decimal) -> None:
        """Reserve money again that an earlier run has reserved, and that counts as spent so far."""
        self.spent -= amount
        self._reserved += amount

    def refusal(self, amount: Decimal, *, auto_quality: bool = False) -> BudgetExceededError:
        """Return the error of a job that the budget does not cover."""
        reason = ' because quality is "auto"' if auto_quality else ""
        limit, left = self.limit or Decimal(0), self.left or Decimal(0)
        return BudgetExceededError(
            f"This job may cost up to {_dollars(amount, ROUND_CEILING)}{reason}, but only {_dollars(left, ROUND_FLOOR)} of "
            f"the ${limit if limit % _CENT else limit.quantize(_CENT)} budget is left, so it was not sent.",
            remedies=(Remedy.SET_QUALITY, Remedy.RAISE_BUDGET) if auto_quality else (Remedy.RAISE_BUDGET,),
        )


def unknown_price(found: Estimate) -> BudgetExceededError:
    """Return the error of a job whose price is unknown."""
    summary = f"The cost of this job is unknown, so it was not sent under a budget. {found.reason}"
    return BudgetExceededError(summary, remedies=(Remedy.ALLOW_UNKNOWN_PRICE,))


def notice_of(job: Job, price: Estimate) -> Notice | None:
    """Return advice for a job that reserves much money because the server chooses its quality."""
    if isinstance(job, Variation) or job.quality not in {None, "auto"} or price.at_most is None:
        return None
    profile = models.lookup(price.model)
    if profile is None or _MODERATE not in profile.qualities:
        return None
    moderate = estimate(evolve(job, quality=_MODERATE), model=profile).at_most
    if moderate is None or moderate >= price.at_most:
        return None
    summary = (
        f"Quality auto may cost up to {_dollars(price.at_most, ROUND_CEILING)} a job, so the run reserves that much of "
        f"its budget for each job in flight (quality {_MODERATE}: {_dollars(moderate, ROUND_CEILING)})."
    )
    return Notice(summary, (Remedy.SET_QUALITY,))


def _dollars(amount: Decimal, rounding: str) -> str:
    """Return an amount in whole cents; what is less than a cent as it is."""
    return f"${amount if 0 < amount < _CENT else amount.quantize(_CENT, rounding)}"

"""Options of a run."""

from __future__ import annotations

import os
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

from imagesdk._engine.engine import Engine
from imagesdk.fan_out.lanes import Lane
from imagesdk.fan_out.spending import UnknownPrice
from imagesdk.policies import Delivery

if TYPE_CHECKING:
    from imagesdk.fan_out.resume import ResumePolicy

StopOn: TypeAlias = Literal["fatal", "never"]
"""Answers that end a run: ``"fatal"`` for those that every further job would get."""


@frozen(kw_only=True)
class RunOptions:
    """Options of a run, as the caller gave them. ``client.images.fan_out`` documents them."""

    out: str | os.PathLike[str] | None = None
    journal: str | os.PathLike[str] | bool | None = True
    """``True``: in the folder of ``out``. ``False`` or ``None``: no journal."""
    concurrency: int | None = None
    delivery: Delivery = "at_most_once"
    retry_unknown: bool = False
    budget: str | Decimal | int | None = None
    unknown_price: UnknownPrice = "stop"
    stop_on: StopOn = "fatal"
    max_failures: int | None = None
    give_up_after: float | None = 900.0
    lane: Lane = "live"
    deadline: str | float | timedelta | None = None
    poll: float | None = None

    def resume_policy(self, engine: Engine) -> ResumePolicy:
        """Return which jobs the run may send a second time."""
        from imagesdk.fan_out.resume import ResumePolicy

        return ResumePolicy(
            retry_unknown=self.retry_unknown,
            repeats=self.delivery == "at_least_once",
            server_idempotent=engine.server_idempotent,
        )

"""Options of a whole run."""

from __future__ import annotations

import os
from decimal import Decimal
from enum import Enum

from attrs import frozen

from imagesdk._engine.engine import Engine
from imagesdk.fan_out import resume as recovery
from imagesdk.fan_out.spending import UnknownPrice
from imagesdk.policies import Delivery


class Beside(Enum):
    """Where the journal of a run is that names none: in the folder of its pictures."""

    OUT = "journal.db"


@frozen(kw_only=True)
class RunOptions:
    """What a caller says of a whole run."""

    out: str | os.PathLike[str] | None = None
    journal: str | os.PathLike[str] | Beside | None = Beside.OUT
    delivery: Delivery = "at_most_once"
    retry_unknown: bool = False
    budget: str | Decimal | int | None = None
    unknown_price: UnknownPrice = "stop"

    def resume_policy(self, engine: Engine) -> recovery.ResumePolicy:
        """Return what may be sent a second time."""
        return recovery.ResumePolicy(
            retry_unknown=self.retry_unknown,
            repeats=self.delivery == "at_least_once",
            server_idempotent=engine.server_idempotent,
        )

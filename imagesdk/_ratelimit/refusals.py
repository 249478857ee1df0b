"""The 429s of an account since its last success: how many, for how long, and when a call stops waiting.

A limit that lets others through never ends a call, however long its queue is. Only time in which nothing succeeded
counts, from the first 429 on. An account that nobody has asked for some windows begins anew.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from imagesdk.errors import LimitWaitError, excerpt
from imagesdk.policies import DEFAULT_MAX_LIMIT_WAIT
from imagesdk.remedies import Remedy

NOTABLE_WINDOWS = 2
"""Windows without a success after which a warning is logged."""
IDLE_WINDOWS = 2
"""Windows from the end of a pause to the next request after which the account begins anew."""
LEAST_WINDOWS = 2
"""Least patience of calls with the default one: under a long window an honest limit may let nobody through for one."""

EXCERPT = 200
"""Characters of the server's message that are shown."""


class Refusals:
    """Successive 429s of one account."""

    def __init__(self) -> None:
        self.count = 0
        """429s since the last success."""
        self._since = 0.0
        self._message = ""
        self._was_notable = False

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {**vars(self), "_message": excerpt(self._message, EXCERPT)}

    def load(self, state: dict[str, Any]) -> None:
        """Continue with the state of :meth:`dump`."""
        vars(self).update(state)

    def clear(self) -> None:
        """Begin anew, after an answer that is no 429."""
        self.count, self._was_notable = 0, False

    def add(self, sent_at: float, now: float, *, asked_until: float, per: float, message: str) -> bool:
        """Count the 429 of a request; return whether to warn now. The pause before it ended at ``asked_until``."""
        if sent_at - asked_until > IDLE_WINDOWS * per:
            self.clear()
        if not self.count:
            self._since = now
        self.count += 1
        self._message = message
        if self._was_notable or self.lasted(now) < NOTABLE_WINDOWS * per:
            return False
        self._was_notable = True
        return True

    def lasted(self, now: float) -> float:
        """Return the seconds since the first of the 429s; 0 without one."""
        return now - self._since if self.count else 0.0

    def ends_at(self, patience: float | None, per: float) -> float:
        """Return when a call with so much patience stops waiting, unless something succeeds."""
        if patience is None or not self.count:
            return math.inf
        if patience == DEFAULT_MAX_LIMIT_WAIT:
            patience = max(patience, LEAST_WINDOWS * per)
        return self._since + patience

    def error(self, now: float) -> LimitWaitError:
        """Return the error of a call that stops waiting."""
        seconds = self.lasted(now)
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        return LimitWaitError(
            f"The server has answered nothing but 429 for {seconds:.0f} s ({self.count} times since "
            f"{since:%H:%M:%S} UTC), lastly: {excerpt(self._message, EXCERPT)}",
            retry_after=None,
            remedies=(Remedy.CHECK_QUOTA, Remedy.RAISE_LIMIT_WAIT),
        )

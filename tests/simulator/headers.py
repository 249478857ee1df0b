"""How servers speak of their limits: the headers of every answer, and all the ways to say it in a 429.

Words and names are those seen at real servers; some of the numbers are wrong on purpose.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final, Literal, TypeAlias, get_args

from attrs import frozen

from tests.simulator.limits import Account, Refusal

Wait: TypeAlias = Literal[
    "seconds", "fraction", "date", "milliseconds", "try again in", "try again after", "retry after",
    "nothing", "0", "1", "3600", "-5", "soon"
]  # fmt: skip
"""How a 429 says when to come again: ``retry-after`` in whole seconds, with a fraction, or as a date,
``retry-after-ms``, in the words of the body, not at all, or always the same wrong thing."""

WAITS: Final[tuple[Wait, ...]] = get_args(Wait)


@frozen
class ServerStyle:
    """A server's way to speak of its limit."""

    wait: Wait = "seconds"
    family: Literal["images", "requests"] | None = None
    """The ``x-ratelimit-*`` headers of every answer, good or not; ``None`` for none."""
    names_limit: bool = True
    """Whether the body of a 429 names the limit."""

    def headers(self, account: Account, now: float) -> dict[str, str]:
        """Return the headers of every response."""
        if self.family is None:
            return {}
        return {
            f"x-ratelimit-limit-{self.family}": str(account.limit.images),
            f"x-ratelimit-remaining-{self.family}": str(account.remaining(now)),
            f"x-ratelimit-reset-{self.family}": _duration(account.limit.reset(now)),
        }

    def refuse(self, refusal: Refusal) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a 429."""
        message = "Rate limit reached."
        if self.names_limit:
            window = "1min" if refusal.per == 60 else f"{refusal.per:g}s"
            message = (
                "Rate limit exceeded for images per minute in organization org-x. "
                f"Limit: {refusal.limit}/{window}. Current: {refusal.used}/{window}."
            )
        message += self._words(refusal.retry_after)
        error = {"message": message, "type": "requests", "param": None, "code": "rate_limit_exceeded"}
        return self._header(refusal.retry_after), json.dumps({"error": error}).encode()

    def _words(self, seconds: float) -> str:
        match self.wait:
            case "try again in":
                return f" Please try again in {_up(seconds, 10):g}s."
            case "try again after":
                return f" Please slow down and try again after {_up(seconds, 100):g} seconds."
            case "retry after":
                return f" Please retry after {math.ceil(seconds)} seconds."
            case _:
                return ""

    def _header(self, seconds: float) -> dict[str, str]:
        match self.wait:
            case "seconds":
                return {"retry-after": str(math.ceil(seconds))}
            case "fraction":
                return {"retry-after": f"{_up(seconds, 1000):g}"}
            case "date":  # the wall clock is no part of the simulation, and dates know whole seconds only
                then = datetime.now(UTC) + timedelta(seconds=math.ceil(seconds) + 1)
                return {"retry-after": format_datetime(then, usegmt=True)}
            case "milliseconds":
                return {"retry-after-ms": str(math.ceil(seconds * 1000))}
            case "0" | "1" | "3600" | "-5" | "soon" as always:
                return {"retry-after": always}
            case _:
                return {}


def _up(seconds: float, parts: int) -> float:
    return math.ceil(seconds * parts) / parts


def _duration(seconds: float) -> str:
    minutes, rest = divmod(_up(seconds, 1000), 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"

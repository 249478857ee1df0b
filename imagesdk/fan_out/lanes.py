"""Lanes of a run: options, and the time at which open batches must go live to meet the deadline. Pure.

The margin before the deadline is the time for what is left to do:

======================  =============================================================
part                    from
======================  =============================================================
cancellation            the longest one of the run, until then :data:`CANCEL_SECONDS`
download of results     the measured speed of downloads
live calls              the open images at the rate limit in force, times
                        :data:`SAFETY`, and the longest live call of the run, until
                        then :data:`LIVE_SECONDS`
======================  =============================================================
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from attrs import frozen

from imagesdk.errors import ConfigurationError
from imagesdk.policies import is_positive
from imagesdk.remedies import Remedy

Lane: TypeAlias = Literal["live", "batch", "auto"]
"""How a run sends its jobs: ``"live"`` calls, in a ``"batch"``, or ``"auto"``: in a batch, and live what would be late."""
LANES: Final = frozenset({"live", "batch", "auto"})
CANCEL_SECONDS = 600.0
"""Time that a server takes to cancel a batch, until it is measured: https://platform.openai.com/docs/guides/batch."""
SAFETY: Final = 1.25
"""Factor for the time of live calls, whose rate may fall."""
_IMAGES_A_SECOND: Final = 50 / 60
"""Rate of live calls without a rate limit."""
FETCH_BYTES_A_SECOND: Final = 10_000_000.0
"""Speed of the download of results, until it is measured."""
LIVE_SECONDS = 60.0
"""Time of one live call, until it is measured."""

_SPELLED: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|hours?|d|days?)\s*", re.IGNORECASE)
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_deadline(given: str | float | timedelta) -> float:
    """Return the seconds of ``"20h"``, of a number of seconds, or of a timedelta.

    Raises:
        ConfigurationError: If it is anything else, or not greater than 0.
    """
    seconds: object = given
    if isinstance(given, timedelta):
        seconds = given.total_seconds()
    elif isinstance(given, str) and (spelled := _SPELLED.fullmatch(given)):
        seconds = float(spelled[1]) * _UNITS[spelled[2][0].lower()]
    if not is_positive(seconds):
        allowed = 'a time such as "20h" or "90m", seconds, or a timedelta, greater than 0'
        raise ConfigurationError.for_parameter("deadline", given, allowed=allowed)
    return float(seconds)


def check_lane(lane: Lane, deadline: str | float | timedelta | None, poll: float | None) -> None:
    """Raise a ``ConfigurationError`` if the options of the lanes are not valid, or do not belong together."""
    if lane not in LANES:
        raise ConfigurationError.for_parameter("lane", lane, allowed='"live", "batch" or "auto"')
    for name, given in (("deadline", deadline), ("poll", poll)):
        if lane == "live" and given is not None:
            summary = f'{name} is an option of the lanes "batch" and "auto".'
            raise ConfigurationError(summary, param=name, remedies=(Remedy.CHOOSE_LANE,))
    if deadline is not None:
        parse_deadline(deadline)
    if poll is not None and not is_positive(poll):
        allowed = "a number of seconds greater than 0, or None"
        raise ConfigurationError.for_parameter("poll", poll, allowed=allowed)


@frozen
class Rates:
    """Rates of a run, as measured or assumed."""

    images_a_second: float | None = None
    """Rate of live images, by the rate limit in force."""
    live_seconds: float | None = None
    """Time of one live call."""
    cancel_seconds: float | None = None
    """Longest time that a cancellation took in this run."""
    bytes_a_second: float = FETCH_BYTES_A_SECOND
    """Speed of the download of results."""

    def live(self, images: int) -> float:
        """Return the seconds that so many images take live; 0 for none."""
        rate = self.images_a_second or _IMAGES_A_SECOND
        return 0.0 if images <= 0 else SAFETY * images / rate + self._one_call

    def margin(self, images: int, output_bytes: int) -> float:
        """Return the seconds before the deadline at which open batches must be cancelled.

        Args:
            images: Images that would be open then.
            output_bytes: Bytes of the results to fetch.
        """
        cancel = CANCEL_SECONDS if self.cancel_seconds is None else self.cancel_seconds
        return cancel + output_bytes / self.bytes_a_second + self.live(images)

    def in_time(self, seconds: float) -> int:
        """Return the images that fit live into so many seconds."""
        rate = self.images_a_second or _IMAGES_A_SECOND
        return max(0, int((seconds - self._one_call) * rate / SAFETY))

    @property
    def _one_call(self) -> float:
        return LIVE_SECONDS if self.live_seconds is None else self.live_seconds

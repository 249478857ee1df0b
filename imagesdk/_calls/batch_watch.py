"""Waiting for the end of a batch: looks that become rarer, and a call from a webhook that ends a wait at once."""

from __future__ import annotations

import time
from typing import Final

from imagesdk._calls.batch_calls import BatchCalls, is_passing
from imagesdk._protocol.batch_rules import poll_delay
from imagesdk._runtime.notify import Wakeups
from imagesdk.errors import APIError, APITimeoutError, ConfigurationError
from imagesdk.policies import is_positive
from imagesdk.reports import Batch

WAKEUPS: Final = Wakeups()
"""Waits for batches of this process, by the id of the batch."""


def check_poll(poll: float | None) -> None:
    """Raise a ``ConfigurationError`` if ``poll`` is not a time."""
    if poll is not None and not is_positive(poll):
        allowed = "a number of seconds greater than 0, or None"
        raise ConfigurationError.for_parameter("poll", poll, allowed=allowed)


async def wait_for_end(calls: BatchCalls, batch_id: str, poll: float | None, seconds: float | None) -> Batch:
    """Return a batch when it has ended.

    Raises:
        APITimeoutError: If it has not ended within so many seconds.
        APIError: If the server cannot be asked, for another reason than a 429, a 5xx or the connection.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    looks, before = 0, ""
    while True:
        wish: float | None = None
        try:
            batch, wish = await calls.retrieve(batch_id)
        except APIError as error:
            if not is_passing(error):
                raise
            wish = getattr(error, "retry_after", None)
        else:
            if batch.ended:
                return batch
            shown = f"{batch.status} {batch.counts}"
            looks, before = (looks if shown == before else 0), shown
        delay = poll_delay(looks, poll, wish)
        looks += 1
        if deadline is not None and time.monotonic() + delay > deadline:
            left = deadline - time.monotonic()
            if left <= 0:
                raise APITimeoutError(f"The batch {batch_id} has not ended within {seconds:g} s.")
            delay = left
        await WAKEUPS.sleep(batch_id, delay)

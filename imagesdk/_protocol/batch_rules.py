"""Rules for batches: what became of lines in no file, and when to ask again.

Pure functions. A line that is in neither file of a batch that has ended:

==========================================  =============================================================
batch                                       its lines without a result
==========================================  =============================================================
failed in validation, no counts, no files   undone
completed                                   unknown: lines were lost
cancelled or expired                        undone, if the counts are those of the lines in the files, and no
                                            file is gone; otherwise unknown
not ended                                   unknown
==========================================  =============================================================

Undone lines were not billed. They may go live. Unknown lines never go live by themselves.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from imagesdk._protocol.batch_api import TOKEN_LIMIT
from imagesdk.reports import Batch

Fate: TypeAlias = Literal["undone", "unknown"]

FIRST_POLL: Final = 5.0
LAST_POLL: Final = 60.0
"""Seconds between two looks at a batch, if the caller and the server name none: they grow from the first to the last."""
_GROWTH: Final = 1.5
_FIRST_WAIT: Final = 30.0
_LONGEST_WAIT: Final = 600.0


def fate_of_rest(batch: Batch, *, sent: int, found: int, gone: bool) -> Fate:
    """Return what became of the lines that are in no file of a batch, by the table of the module.

    Args:
        batch: The batch, as it was seen last.
        sent: Lines of its input file.
        found: Lines with a result in its files.
        gone: Whether a file of results could not be fetched.
    """
    counts = batch.counts
    if gone or batch.status == "completed" or not batch.ended:
        return "unknown"
    if batch.status == "failed" and not found and (counts is None or not counts.ended):
        return "undone"
    if counts is None or counts.ended != found:
        return "unknown"
    return "undone" if counts.total == sent or (not counts.total and not found) else "unknown"


def is_token_limited(batch: Batch) -> bool:
    """Whether a batch failed because too many tokens are enqueued, so that a later or smaller one may pass."""
    return batch.status == "failed" and any(problem.code == TOKEN_LIMIT for problem in batch.problems)


def token_wait(refusals: int) -> float:
    """Return the seconds after the given number of refusals in succession before the next batch is created."""
    return min(_FIRST_WAIT * 2.0 ** min(refusals - 1, 30), _LONGEST_WAIT)


def poll_delay(looks: int, poll: float | None, wish: float | None) -> float:
    """Return the seconds until the next look at a batch.

    Args:
        looks: Looks without a change so far.
        poll: Seconds that the caller has named.
        wish: Seconds that the server has named.
    """
    if poll is not None:
        return max(poll, wish or 0.0)
    if wish is not None:
        return max(wish, 1.0)
    return min(FIRST_POLL * _GROWTH ** min(looks, 30), LAST_POLL)

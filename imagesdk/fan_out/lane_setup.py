"""Set-up of the batch lane of a run."""

from __future__ import annotations

from functools import partial

from imagesdk._calls.batch_calls import BatchCalls
from imagesdk._protocol.batch_api import check_host
from imagesdk._runtime.notify import Notifier
from imagesdk.fan_out.batch_board import LaneBoard
from imagesdk.fan_out.batch_inputs import UPLOAD_SECONDS, ImageUploads
from imagesdk.fan_out.batch_lane import BatchLane
from imagesdk.fan_out.batch_store import BatchStore
from imagesdk.fan_out.job_source import JobReader
from imagesdk.fan_out.journal import Journal
from imagesdk.fan_out.lanes import parse_deadline
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.worker import JobWorker


async def open_lane(
    reader: JobReader, worker: JobWorker, journal: Journal, changes: Notifier, options: RunOptions
) -> BatchLane:
    """Return the batch lane of a run. The deadline counts from the first start of the run.

    Raises:
        ConfigurationError: If the Batch API of the server is not known to make images.
        JournalError: If the journal cannot be used.
    """
    check_host(worker.context.host)
    store, calls = BatchStore(journal), BatchCalls(worker.context)
    started = await store.started()
    board = LaneBoard(
        worker,
        calls,
        store,
        changes,
        options.lane,
        options.poll,
        options.give_up_after,
        None if options.deadline is None else started + parse_deadline(options.deadline),
    )
    record = partial(store.uploaded, life=UPLOAD_SECONDS)
    return BatchLane(reader, board, ImageUploads(calls, board.pace, await store.uploads(), record))

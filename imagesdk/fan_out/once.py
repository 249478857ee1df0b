"""``client.images.once``: one job, sent by one call only, whichever process makes it.

The job takes the way of a job of a run (:mod:`.worker`), with a claim in the shared ledger in the place of the journal.
"""

from __future__ import annotations

import logging
import os
from typing import cast

from attrs import define, evolve, field

from imagesdk._calls.build import ClientContext
from imagesdk._calls.call_options import CallSettings
from imagesdk._coordination.claim_ledger import ClaimLedger, ledger_of
from imagesdk._media.output import FOLDER_TEMPLATE, OutputTemplate
from imagesdk._runtime.notify import Notifier
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ConfigurationError, CoordinationError, InvalidRequestError
from imagesdk.fan_out.claim_store import ClaimLostError, ClaimStore
from imagesdk.fan_out.gate import OpenGate
from imagesdk.fan_out.job_source import as_item, is_label
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.outcomes import Outcome
from imagesdk.fan_out.output_files import State as FileState
from imagesdk.fan_out.output_files import TakenNames
from imagesdk.fan_out.resume import Action
from imagesdk.fan_out.spending import SpendingLimit
from imagesdk.fan_out.store import JobRecord
from imagesdk.fan_out.worker import JobWorker
from imagesdk.jobs import CallOptions, Job
from imagesdk.policies import SharedStore
from imagesdk.remedies import Remedy

_NAMES = "{id}-{index}.{ext}"
"""Names of files in a folder. A slug would put the prompt into the ledger."""
_logger = logging.getLogger("imagesdk")


@define(eq=False)
class OnceWorker(JobWorker):
    """Worker for the job of one call."""

    taken: TakenNames = field(init=False, factory=TakenNames)
    """Without the folder of ``out``, which no run has checked."""

    def next_action(self, record: JobRecord, files: FileState | None) -> Action:
        """Decide what to do with the job: a call that does not hold the claim never sends it."""
        if cast("ClaimStore", self.store).held:
            return super().next_action(record, files)
        return "restore" if record.state == "done" and files == "whole" else "report"


async def once(
    context: ClientContext, job: Job | str, *, key: str | None, retry_unknown: bool, options: CallOptions
) -> Outcome:
    """Send a job, or return the outcome of the call that has sent it."""
    settings = CallSettings.from_options(options, context.defaults)
    if key is not None and not is_label(key):
        raise InvalidRequestError.for_parameter(
            "key", key, allowed="one line of 1 to 200 printable characters"
        )
    ledger = _ledger(context.shared)
    out = options.get("out")
    template = None if out is None else await run_blocking(_template, out)
    item = evolve(as_item(job, 0, None), label=key)
    rest = cast("CallOptions", {name: value for name, value in options.items() if name != "out"})
    run_options = RunOptions(out=out, retry_unknown=retry_unknown)
    again = retry_unknown or context.engine.server_idempotent
    while True:
        store = ClaimStore(
            ledger,
            key=key,
            again=again,
            remake=retry_unknown,
            deadline=settings.deadline,
            idempotency_key=options.get("idempotency_key"),
            extra={"body": settings.extra_body, "query": settings.query},
        )
        worker = OnceWorker(
            context,
            run_options,
            template,
            store,
            SpendingLimit(None),
            OpenGate(),
            Notifier(),
            call_options=rest,
            deadline=settings.deadline,
        )
        try:
            result = await worker.run(item, lambda: None)
        except ClaimLostError:
            continue
        finally:
            await store.release()
        outcome = result.outcome
        if outcome is None:  # the store cannot be used, and nothing was sent
            assert result.fatal is not None  # noqa: S101 - only errors leave a job without an outcome
            raise result.fatal
        if isinstance(result.fatal, CoordinationError):
            _logger.warning("the outcome of the job %s is not in the ledger: %s", outcome.id, result.fatal)
            return evolve(outcome, unrecorded=result.fatal)
        return outcome


def _template(out: str | os.PathLike[str]) -> OutputTemplate:
    template = OutputTemplate.parse(out)
    is_folder = template.template == FOLDER_TEMPLATE and FOLDER_TEMPLATE not in os.fsdecode(out)
    return OutputTemplate(template.folder, _NAMES) if is_folder else template


def _ledger(shared: SharedStore | None) -> ClaimLedger:
    if shared is None:
        summary = "once needs a store that the processes share, and this client has none."
        raise ConfigurationError(summary, param="shared", remedies=(Remedy.SET_SHARED,))
    return ledger_of(shared)

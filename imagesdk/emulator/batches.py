"""Batches on the virtual clock: their states, their counts, their files and what they do wrong on request.

A batch takes ``delay`` seconds from its creation to its end. It is validated in the first 2 % of them and its files are
written in the last 2 %. Whenever the store is asked, every batch does what its time allows. A batch that is not done
after 24 hours expires: what was made is delivered and billed.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from attrs import define, field

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.batch_faults import BatchFault
from imagesdk.emulator.batch_input import BatchInput, Entry, batch_error
from imagesdk.emulator.batch_results import Allowance, BatchFile, BatchWork
from imagesdk.emulator.files import FileStore
from imagesdk.emulator.webhooks import Webhook, WebhookSender

__all__ = ["FINAL", "WINDOW", "Batch", "BatchStore"]

Status: TypeAlias = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
WINDOW = 24 * 3600
"""Seconds after which a batch expires."""
_VALIDATED, _FINALIZED = 0.02, 0.98
"""Shares of the delay at which the validation and the work end."""
_CANCELLING = 600
"""Longest time of a cancellation in seconds."""
_USUAL_LIMIT = 2_000_000
"""Enqueued tokens in the text of an error that a test asked for."""
FINAL = frozenset({"failed", "completed", "expired", "cancelled"})
"""States in which a batch stays."""


@define
class Batch:
    """One batch."""

    id: str
    input_file_id: str
    metadata: Mapping[str, str] | None
    input: BatchInput
    work: BatchWork
    fault: BatchFault
    created_at: int
    delay: float
    output_life: int
    dice: str
    """Seed of what is random about the batch."""
    status: Status = "validating"
    times: dict[str, int] = field(factory=dict[str, int])
    """When each status began."""
    errors: list[dict[str, object]] = field(factory=list[dict[str, object]])
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the batch has ended."""
        return self.status in FINAL

    def to_json(self) -> dict[str, object]:
        """Return the batch as a JSON object of the API."""
        begun = self.status != "validating" and not self.errors
        work = self.work
        counts = {
            "total": len(self.input) if begun else 0,
            "completed": work.completed,
            "failed": work.failed,
        }
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.input.url,
            "model": self.input.model or None,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "in_progress_at": self.times.get("in_progress"),
            "expires_at": self.created_at + WINDOW,
            **{
                f"{name}_at": self.times.get(name)
                for name in ("finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
            },
            "request_counts": {**counts, **self.fault.counts} if begun else counts,
            "usage": {
                **work.usage,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
            "metadata": None if self.metadata is None else dict(self.metadata),
        }


class BatchStore:
    """Store of batches, newest last. It is thread-safe."""

    def __init__(
        self,
        clock: Callable[[], float],
        files: FileStore,
        *,
        token_limit: int | None = None,
        sender: WebhookSender | None = None,
        expires: bool = True,
        drawings: int = 8,
    ) -> None:
        self._clock = clock
        self._files = files
        self._token_limit = token_limit
        self._sender = sender
        self._expires = expires
        self._timers: set[threading.Timer] = set()
        self._drawings = drawings
        self.allowance = Allowance(drawings)
        self.webhooks: list[Webhook] = []
        """Webhooks that were sent, oldest first."""
        self._batches: dict[str, Batch] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: Batch) -> dict[str, object]:
        """Accept a batch, and return it as JSON."""
        with self._lock:
            self._batches[batch.id] = batch
            self._wake(min(batch.delay, WINDOW))
            return batch.to_json()

    def describe(self, name: str) -> dict[str, object]:
        """Return a batch in its current state as JSON. This may be slow and belongs in a thread."""
        with self._lock:
            return self.get(name).to_json()

    def get(self, name: str) -> Batch:
        """Return a batch in its current state."""
        with self._lock:
            self.update()
            batch = self._batches.get(name)
            if batch is None:
                raise Refusal(f"No batch found with id '{name}'.", status=404)
            return batch

    def cancel(self, name: str) -> dict[str, object]:
        """Begin to cancel a batch, and return it as JSON."""
        with self._lock:
            batch = self.get(name)
            if batch.is_final:
                raise Refusal(f"Cannot cancel a batch with status '{batch.status}'.", status=409)
            if batch.status != "cancelling":
                self._enter(batch, "cancelling", self._clock())
                self._wake(min(_CANCELLING, batch.delay / 10))
            return batch.to_json()

    def page(self, after: str | None, limit: int) -> dict[str, object]:
        """Return one page of the list, newest first."""
        with self._lock:
            self.update()
            found = [one for one in reversed(self._batches.values()) if self._is_listed(one)]
            if after is not None:
                ids = [batch.id for batch in found]
                if after not in ids:
                    raise Refusal(f"No batch found with id '{after}'.", status=404, param="after")
                found = found[ids.index(after) + 1 :]
            shown = [batch.to_json() for batch in found[:limit]]
        return {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(shown) < len(found),
        }

    def update(self) -> None:
        """Let every batch do what its time allows."""
        with self._lock:
            for batch in list(self._batches.values()):
                while not batch.is_final and self._step(batch, self._clock()):
                    pass

    def clear(self) -> None:
        """Forget every batch."""
        with self._lock:
            self._batches.clear()
            self.allowance = Allowance(self._drawings)
            self.webhooks.clear()
            self.sleep()

    def sleep(self) -> None:
        """Do nothing before somebody looks."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def close(self) -> None:
        """Forget every batch, and send no more webhooks."""
        self.clear()
        if self._sender is not None:
            self._sender.stop()

    def _wake(self, seconds: float) -> None:
        """Update the batches after some real time, so that a webhook is sent although nobody looks."""
        if self._sender is None:
            return

        def update() -> None:
            with self._lock:
                self._timers.discard(timer)
                self.update()

        timer = threading.Timer(seconds, update)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    def _is_listed(self, batch: Batch) -> bool:
        return self._clock() >= batch.created_at + batch.fault.unlisted

    def _step(self, batch: Batch, now: float) -> bool:
        """Change the state of a batch if it is time. Return whether there may be more to change."""
        began, end = batch.created_at, batch.created_at + batch.delay
        if batch.status == "validating":
            moment = began + batch.delay * _VALIDATED
            if now < moment:
                return False
            batch.errors = self._validated(batch)
            if not batch.errors:
                batch.work.failing = batch.fault.failing(batch.input, _dice(batch))
            self._enter(batch, "failed" if batch.errors else "in_progress", moment)
            return True
        if batch.status == "cancelling":
            since = batch.times["cancelling"]
            moment = since + min(_CANCELLING, batch.delay / 10)
            if batch.fault.cancel_hangs or now < moment:
                return False
            self._deliver(batch, "batch_cancelled", moment)
            self._enter(batch, "cancelled", moment)
            return True
        expiry = began + WINDOW if self._expires else math.inf
        if batch.status == "in_progress":
            self._progress(batch, min(now, expiry))
            moment = began + batch.delay * _FINALIZED
            if batch.fault.stuck is None and moment <= min(now, expiry):
                self._enter(batch, "finalizing", moment)
                return True
        elif end <= min(now, expiry):
            self._deliver(batch, None, end)
            self._enter(batch, "completed", end)
            return True
        if now < expiry:
            return False
        self._deliver(batch, "batch_expired", expiry)
        self._enter(batch, "expired", expiry)
        return True

    def _validated(self, batch: Batch) -> list[dict[str, object]]:
        if batch.fault.error is not None:
            batch.input.validate()
            return [self._known_error(batch, batch.fault.error)]
        errors = batch.input.validate()
        if errors or self._token_limit is None:
            return errors
        waiting = sum(
            other.input.tokens
            for other in self._batches.values()
            if other.status in {"in_progress", "finalizing", "cancelling"}
            and other.input.model == batch.input.model
        )
        fits = waiting + batch.input.tokens <= self._token_limit
        return [] if fits else [self._known_error(batch, "token_limit_exceeded")]

    def _known_error(self, batch: Batch, code: str) -> dict[str, object]:
        if code != "token_limit_exceeded":
            return batch_error(code, "The batch could not be validated.")
        limit = self._token_limit or _USUAL_LIMIT
        text = (
            f"Enqueued token limit reached for {batch.input.model} in organization org-emulator. Limit: {limit:,} "
            "enqueued tokens. Please try again once some in_progress batches have been completed."
        )
        return batch_error(code, text)

    def _progress(self, batch: Batch, now: float) -> None:
        """Work on the lines for which there was time."""
        start = batch.created_at + batch.delay * _VALIDATED
        length = batch.delay * (_FINALIZED - _VALIDATED)
        share = 1.0 if length <= 0 else min(1.0, (now - start) / length)
        if batch.fault.stuck is not None:
            share = min(share, batch.fault.stuck)
        batch.work.advance(int(share * len(batch.input)))

    def _deliver(
        self, batch: Batch, rest: Literal["batch_expired", "batch_cancelled"] | None, moment: float
    ) -> None:
        """Write the files. ``rest`` is the error of the requests that were not executed."""
        work, fault = batch.work, batch.fault
        made, failed = work.indexes(failed=False), work.indexes(failed=True)
        output: list[Entry] = [("whole", index) for index in made]
        errors: list[Entry] = [("whole", index) for index in failed]
        if rest is not None and not fault.rest_missing:
            errors.extend((rest, index) for index in range(work.done, len(batch.input)))
        output = fault.bent(output, batch.input, _dice(batch))
        if output and not fault.no_output_file:
            batch.output_file_id = self._write(batch, "output", output, moment)
        if errors:
            batch.error_file_id = self._write(batch, "error", errors, moment)

    def _write(self, batch: Batch, kind: str, entries: list[Entry], moment: float) -> str:
        name = f"{batch.id}_{kind}.jsonl"
        file = BatchFile(batch.work, entries)
        stored = self._files.put(name, "batch_output", int(moment), batch.output_life, file)
        if batch.fault.files_gone:
            self._files.delete(stored.id)
        return stored.id

    def _enter(self, batch: Batch, status: Status, moment: float) -> None:
        batch.status = status
        batch.times[status] = int(moment)
        if batch.is_final and self._sender is not None:
            times = batch.fault.webhooks
            self._sender.send(f"batch.{status}", batch.id, int(moment), self.webhooks, times)


def _dice(batch: Batch) -> random.Random:
    return random.Random(batch.dice)  # noqa: S311 - an order of lines, not a secret

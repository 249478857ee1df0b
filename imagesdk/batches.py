"""``client.batches``: images at half the price for those who can wait a day.

A run (``client.images.fan_out(..., lane="batch")``) divides many jobs into batches, records them in a journal, and survives
the end of its process. The methods here work on single batches, also on those that another program has created.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Self

from imagesdk._calls.build import ClientContext
from imagesdk._calls.context import NotEntered
from imagesdk.fan_out.outcomes import Jobs, Outcome
from imagesdk.jobs import Generate
from imagesdk.policies import Timeouts
from imagesdk.reports import Batch

if TYPE_CHECKING:
    from imagesdk.fan_out.batch_results import BatchResults
    from imagesdk.webhooks import WebhookEvent


class AsyncBatches:
    """Batches of the account, as ``client.batches``."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context

    async def create(
        self,
        jobs: Jobs,
        *,
        defaults: Generate | None = None,
        metadata: Mapping[str, str] | None = None,
        output_expires_after: int | None = None,
        max_output_bytes: int = 500_000_000,
        timeout: float | Timeouts | None = None,
    ) -> Batch:
        """Create one batch of jobs: all of one model, and all of them generations or all of them edits.

        The batch is created once: if there is no answer, the client looks for it for a minute before it tries again.
        Images of edits are uploaded first. A program that may be killed meanwhile uses ``client.images.fan_out``, whose
        journal finds the batch again.

        Args:
            jobs: Jobs, prompts and :class:`Labelled` jobs. The id of a ``Labelled`` job becomes its ``custom_id``.
            defaults: Parameters for jobs that are only prompts. Its own prompt is not used.
            metadata: Up to 15 texts to keep with the batch.
            output_expires_after: Seconds until the server deletes the results, from an hour (3600) to 30 days
                (2592000).
            max_output_bytes: Expected size of the results above which the batch is refused: a server may not be able to
                deliver a larger file. ``client.images.fan_out`` divides the jobs instead.
            timeout: Seconds for each request, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            batch = await client.batches.create(["a river", "a lake"])
            ```

        Raises:
            InvalidRequestError: If the jobs do not fit into one batch, or a job breaks a rule. Nothing was billed.
            ConfigurationError: If the Batch API of the server is not known to make images.
            APIError: If the server refuses the batch, or cannot be asked whether it has it.
            OSError: If an input image cannot be read.
        """
        from imagesdk.fan_out.batch_creation import create_batch

        return await create_batch(
            self._context,
            jobs,
            defaults,
            metadata=metadata,
            output_expires_after=output_expires_after,
            max_output_bytes=max_output_bytes,
            timeout=timeout,
        )

    async def retrieve(self, batch: str | Batch, *, timeout: float | Timeouts | None = None) -> Batch:
        """Return the state of a batch.

        Example:
            ```python
            batch = await client.batches.retrieve("batch_abc123")
            print(batch.status, batch.counts)
            ```

        Raises:
            NotFoundError: If there is no such batch.
            APIError: If the request fails in another way.
        """
        from imagesdk._calls.batch_calls import BatchCalls

        found, _ = await BatchCalls(self._context, timeout).retrieve(batch)
        return found

    async def list(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        timeout: float | Timeouts | None = None,
    ) -> tuple[Batch, ...]:
        """Return a page of the batches of the account, newest first.

        Args:
            limit: The maximum number of batches. Default: that of the server.
            after: The id of the last batch on the page before.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            for batch in await client.batches.list():
                print(batch.id, batch.status)
            ```

        Raises:
            APIError: If the request fails.
        """
        from imagesdk._calls.batch_calls import BatchCalls

        found, _ = await BatchCalls(self._context, timeout).page(limit, after)
        return found

    async def cancel(self, batch: str | Batch, *, timeout: float | Timeouts | None = None) -> Batch:
        """Ask the server to cancel a batch, and return its state. What it has finished is delivered and billed.

        The batch is ``"cancelling"`` for up to ten minutes. :meth:`wait` returns it when it has ended.

        Example:
            ```python
            await client.batches.cancel("batch_abc123")
            ```

        Raises:
            NotFoundError: If there is no such batch.
            APIError: If the request fails in another way.
        """
        from imagesdk._calls.batch_calls import BatchCalls

        return await BatchCalls(self._context, timeout).cancel(batch)

    async def wait(
        self, batch: str | Batch, *, poll: float | None = None, timeout: float | None = None
    ) -> Batch:
        """Return a batch when it has ended: completed, failed, expired or cancelled.

        A look that fails with a 429, a 5xx or the connection is repeated. :meth:`notify` ends a wait at once.

        Args:
            batch: The batch, or its id.
            poll: Seconds between two looks. Default: as the server asks, or else from 5 to 60 seconds.
            timeout: Seconds after which the wait fails. Default: no end.

        Example:
            ```python
            batch = await client.batches.wait("batch_abc123")
            ```

        Raises:
            APITimeoutError: If the batch has not ended in time.
            NotFoundError: If there is no such batch.
            APIError: If the server cannot be asked.
        """
        from imagesdk._calls.batch_calls import BatchCalls
        from imagesdk._calls.batch_watch import check_poll, wait_for_end

        check_poll(poll)
        return await wait_for_end(BatchCalls(self._context), _id(batch), poll, timeout)

    def notify(self, batch: str | Batch | WebhookEvent) -> None:
        """Let waits and runs of this process look at a batch at once, for example when its webhook has come.

        It returns at once, from any thread. An event about something else than a batch has no effect.

        Example:
            ```python
            client.batches.notify("batch_abc123")
            ```
        """
        from imagesdk._calls.batch_watch import WAKEUPS

        named = batch if isinstance(batch, str) else getattr(batch, "batch_id", getattr(batch, "id", None))
        if isinstance(named, str):
            WAKEUPS.wake(named)

    def results(
        self, batch: str | Batch, *, out: str | os.PathLike[str] | None = None
    ) -> AbstractAsyncContextManager[AsyncBatchResults]:
        """Read the results of a batch that has ended, one by one, with their images in files or in memory.

        The order is that of the server. Requests without a result come last. A download that breaks off is continued.

        Args:
            batch: The batch, or its id.
            out: A folder, or a template with ``{job}``, ``{id}`` or ``{slug}``. ``{id}`` is the ``custom_id``. Existing
                files are replaced. Default: images stay in memory.

        Example:
            ```python
            async with client.batches.results("batch_abc123", out="images/") as results:
                async for outcome in results:
                    print(outcome.id, outcome.status)
            ```

        Raises:
            InvalidRequestError: If the batch has not ended, or ``out`` gives the images of several jobs the same name.
            NotFoundError: If there is no such batch.
            APIError: If the server cannot be asked.
            OSError: If the output folder cannot be written to.
        """
        return NotEntered(self._results(batch, out, None, waits=False), "results")

    def attach(
        self, batch: str | Batch, *, out: str | os.PathLike[str] | None = None, poll: float | None = None
    ) -> AbstractAsyncContextManager[AsyncBatchResults]:
        """Wait for the end of a batch of any program, and read its results as :meth:`results` does.

        Args:
            batch: The batch, or its id.
            out: As for :meth:`results`.
            poll: As for :meth:`wait`.

        Example:
            ```python
            async with client.batches.attach("batch_abc123", out="images/") as results:
                outcomes = await results.collect()
            ```

        Raises:
            InvalidRequestError: If ``out`` gives the images of several jobs the same name.
            NotFoundError: If there is no such batch.
            APIError: If the server cannot be asked.
            OSError: If the output folder cannot be written to.
        """
        return NotEntered(self._results(batch, out, poll, waits=True), "attach")

    @asynccontextmanager
    async def _results(
        self, batch: str | Batch, out: str | os.PathLike[str] | None, poll: float | None, *, waits: bool
    ) -> AsyncGenerator[AsyncBatchResults, None]:
        from imagesdk.fan_out.batch_results import open_results, template_of

        template = await template_of(out)
        found = await (self.wait(batch, poll=poll) if waits else self.retrieve(batch))
        async with open_results(self._context, found, template) as results:
            yield AsyncBatchResults(results)


class AsyncBatchResults:
    """Results of one batch. Iterate over it for their outcomes. Created by ``client.batches``.

    Example:
        ```python
        async with client.batches.attach("batch_abc123", out="images/") as results:
            async for outcome in results:
                print(outcome.status, outcome.id)
        ```
    """

    def __init__(self, results: BatchResults) -> None:
        self._results = results

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome.

        Raises:
            APIError: If a file of results cannot be downloaded. A file that is gone is no error: the requests in it have
                the status ``"unknown"``.
            OSError: If an image cannot be written.
        """
        outcome = await self._results.next()
        if outcome is None:
            raise StopAsyncIteration
        return outcome

    async def collect(self) -> list[Outcome]:
        """Return all outcomes that were not taken yet, in the order of the input file.

        Raises:
            APIError: If a file of results cannot be downloaded.
            OSError: If an image cannot be written.
        """
        outcomes = [outcome async for outcome in self]
        outcomes.sort(key=lambda outcome: outcome.place)
        return outcomes

    @property
    def batch(self) -> Batch:
        """The batch. It returns at once."""
        return self._results.batch


def _id(batch: str | Batch) -> str:
    return batch if isinstance(batch, str) else batch.id


for _type in (AsyncBatches, AsyncBatchResults):
    _type.__module__ = "imagesdk"

"""Ray Data: a class for ``Dataset.map_batches`` whose actors send each row once. Needs the extra ``ray``."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from imagesdk.integrations.rows import run_once


class SendOnce:
    """Rows in, rows out: each row keeps its columns, and gets those of :mod:`imagesdk.integrations.rows`.

    The rows of a batch are sent at the same time. Ray repeats a batch after an actor has died: its finished jobs are not
    sent again, and those under way are reported as ``unknown``.

    Args:
        key: Name of a column with the identity of a job. Default: the content of the job.
        out: A folder that all workers reach, a URL of one such as ``s3://bucket/run/``, or a template.
        retry_unknown: Whether to send jobs again whose outcome is unknown.
        client: Options of the client, such as ``shared`` and ``rate_limit``.

    Example:
        ```python
        rows = ray.data.read_csv("jobs.csv").map_batches(
            SendOnce,
            fn_constructor_kwargs={"shared": "redis://host/0", "out": "s3://bucket/run/", "rate_limit": "250/min"},
            batch_size=16,
            concurrency=4,
        )
        ```
    """

    def __init__(
        self, *, key: str | None = None, out: str | None = None, retry_unknown: bool = False, **client: Any
    ) -> None:
        self._key = key
        self._options: dict[str, Any] = {"out": out, "retry_unknown": retry_unknown, **client}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Send the rows of a batch, in its default format, and return the batch with their outcomes."""
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        with ThreadPoolExecutor(max(1, len(rows))) as threads:
            sent = list(threads.map(self._send_row, rows))
        return {**batch, **{name: [row[name] for row in sent] for name in (sent[0] if sent else ())}}

    def _send_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return run_once(row, key=None if self._key is None else str(row[self._key]), **self._options)

"""Dask: jobs on the workers of a cluster, each sent once. Needs the extra ``dask``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imagesdk.integrations.rows import Row, run_once
from imagesdk.jobs import Job


def map_jobs(
    client: Any,
    jobs: Iterable[Mapping[str, Any] | Job | str],
    *,
    keys: Iterable[str] | None = None,
    out: str | None = None,
    retry_unknown: bool = False,
    retries: int = 10,
    **options: Any,
) -> list[Any]:
    """Send jobs from the workers of a Dask cluster, and return their futures.

    The result of each has the columns of :mod:`imagesdk.integrations.rows`. Dask repeats the tasks of a worker that has
    died: a finished job is not sent again, and one under way is reported as ``unknown``.

    Args:
        client: The ``distributed.Client``.
        jobs: Jobs, prompts, or mappings of parameters.
        keys: The identity of each job. Default: its content.
        out: A folder that all workers reach, a URL of one such as ``s3://bucket/run/``, or a template.
        retry_unknown: Whether to send jobs again whose outcome is unknown.
        retries: How often Dask repeats a task that raises, such as when the store is away.
        options: Options of the client of each worker, such as ``shared`` and ``rate_limit``.

    Example:
        ```python
        futures = map_jobs(client, ["a river", "a lake"], shared="redis://host/0", out="s3://bucket/waters/")
        for row in client.gather(futures):
            print(row["status"], row["path"])
        ```
    """
    listed = list(jobs)
    identities = [None] * len(listed) if keys is None else list(keys)
    options |= {"out": out, "retry_unknown": retry_unknown}
    return [
        client.submit(_send, job, {**options, "key": key}, retries=retries, pure=False)
        for job, key in zip(listed, identities, strict=True)
    ]


def _send(job: Mapping[str, Any] | Job | str, options: Mapping[str, Any]) -> Row:
    return run_once(job, **options)

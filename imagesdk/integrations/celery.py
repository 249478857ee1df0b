"""Celery: a task that sends a job once, however often the broker delivers it. Needs the extra ``celery``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesdk.errors import CoordinationError
from imagesdk.integrations.rows import Row, run_once


def add_task(
    app: Any,
    *,
    out: str | None = None,
    retry_unknown: bool = False,
    name: str = "imagesdk.once",
    **client: Any,
) -> Any:
    """Add a task to a Celery application, and return it.

    The task takes a job as a mapping of parameters, or a prompt, and the keyword ``key``, the identity of the job. Its
    result has the columns of :mod:`imagesdk.integrations.rows`. The message is acknowledged after the job, and delivered
    again if the worker dies: a finished job is not sent again, and one under way is reported as ``unknown``. A task that
    cannot reach the store has sent nothing, and is tried again later.

    Args:
        app: The application.
        out: A folder that all workers reach, a URL of one such as ``s3://bucket/run/``, or a template.
        retry_unknown: Whether to send jobs again whose outcome is unknown.
        name: Name of the task.
        client: Options of the client, such as ``shared`` and ``rate_limit``.

    Example:
        ```python
        send_once = add_task(app, shared="redis://host/0", out="s3://bucket/covers/", rate_limit="250/min")
        result = send_once.delay({"prompt": "a white siamese cat", "quality": "low"}, key="cover 17")
        print(result.get()["path"])
        ```
    """

    def once(job: Mapping[str, Any] | str, *, key: str | None = None) -> Row:
        return run_once(job, key=key, out=out, retry_unknown=retry_unknown, **client)

    return app.task(
        once,
        name=name,
        acks_late=True,
        reject_on_worker_lost=True,
        autoretry_for=(CoordinationError,),
        retry_backoff=True,
        max_retries=None,
    )

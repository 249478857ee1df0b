"""Rows of engines: from the columns of a row to a job, and from an outcome to columns.

=================  ==================================================================================
column             meaning
=================  ==================================================================================
``status``         ``done``, ``refused``, ``failed``, ``unknown`` or ``missing``, as in ``Outcome``
``path``           path or URL of the image; of the first one, if the job asked for several
``paths``          of all images
``cost``           US dollars
``request_id``     id of the request on the server
``error``          what happened, if the job is not done
``resumed``        whether an earlier call has sent the job
=================  ==================================================================================
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypedDict

import attrs

from imagesdk._sync.facade import Client
from imagesdk.fan_out.outcomes import Outcome
from imagesdk.jobs import Edit, Generate, Job

_PARAMETERS: Final[Mapping[type[Job], frozenset[str]]] = {
    kind: frozenset(attribute.name for attribute in attrs.fields(kind)) for kind in (Edit, Generate)
}


class Row(TypedDict):
    """Outcome of a job, as columns. They never hold an image."""

    status: str
    path: str | None
    paths: list[str]
    cost: float | None
    request_id: str | None
    error: str | None
    resumed: bool


def job_of(row: Mapping[str, Any] | Job | str) -> Job:
    """Return the job of a row: ``Edit`` if it has an ``image``, else ``Generate``.

    Columns with the name of a parameter are parameters, unless they are empty. All others are ignored.
    """
    if isinstance(row, Job):
        return row
    if isinstance(row, str):
        return Generate(row)
    given = {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
    kind = Edit if given.get("image") is not None else Generate
    known = {name: value for name, value in given.items() if name in _PARAMETERS[kind]}
    # A missing number is NaN in a table, which is not equal to itself.
    return kind(**{name: value for name, value in known.items() if value is not None and value == value})  # noqa: PLR0124


def row_of(outcome: Outcome) -> Row:
    """Return the columns of an outcome."""
    response = outcome.response
    paths = [image.location for image in response or () if image.location is not None]
    error = outcome.error
    return {
        "status": outcome.status,
        "path": paths[0] if paths else None,
        "paths": paths,
        "cost": None if outcome.cost is None else float(outcome.cost),
        "request_id": response.request_id if response is not None else getattr(error, "request_id", None),
        "error": None if error is None else f"{type(error).__name__}: {error}",
        "resumed": outcome.resumed,
    }


@cache
def client_of(**options: Any) -> Client:
    """Return the client of this process with these options, which is closed when the process ends."""
    client = Client(**options)
    atexit.register(client.close)
    return client


def run_once(
    row: Mapping[str, Any] | Job | str,
    *,
    key: str | None = None,
    out: str | None = None,
    retry_unknown: bool = False,
    **client: Any,
) -> Row:
    """Send a job that no other process sends, and return the columns of its outcome. Blocks.

    Args:
        row: The job, a prompt, or a row for :func:`job_of`.
        key: The identity of the job. Default: its content.
        out: A folder that all workers reach, a URL of one, or a template.
        retry_unknown: Whether to send the job again if its outcome is unknown.
        client: Options of the client, such as ``shared`` and ``rate_limit``.
    """
    outcome = client_of(**client).images.once(job_of(row), key=key, out=out, retry_unknown=retry_unknown)
    return row_of(outcome)

"""Identity of a job: a digest of its content, independent of its place in the list. Pure.

The content is the kind of job, its parameters and the bytes of its input images. Jobs with equal content are numbered by
occurrence:

===================================  =============================================
list                                 jobs
===================================  =============================================
``["a", "b"]``                       ``a``-1, ``b``-1
``["new", "a", "b"]``                ``new``-1, and the same two as before
``["a", "a"]``                       ``a``-1, ``a``-2: two jobs
===================================  =============================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import attrs
from attrs import frozen

from imagesdk._protocol.parameter_checks import IMAGE_PARAMETERS
from imagesdk.jobs import Job

_SHOWN = 12
"""Length of a short name, in characters of the digest."""


@frozen
class Hashes:
    """Input images of a job: the SHA-256 of their bytes, or the URL or file id of one that the server has."""

    images: Sequence[str] = ()
    mask: str | None = None
    markup: str | None = None


def parameters(job: Job) -> dict[str, Any]:
    """Return the parameters of a job, without its input images."""
    return {name: value for name, value in job.parameters().items() if name not in IMAGE_PARAMETERS}


def digest(job: Job, hashes: Hashes) -> str:
    """Return the digest of a job's content."""
    content = {"kind": type(job).__name__, "parameters": parameters(job), **attrs.asdict(hashes)}
    content["images"] = list(hashes.images)
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def name_of(content: str, occurrence: int) -> str:
    """Return a short name for the ``occurrence``-th job of this content, counted from 0."""
    return content[:_SHOWN] if not occurrence else f"{content[:_SHOWN]}-{occurrence + 1}"

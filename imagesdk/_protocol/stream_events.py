"""Interpretation of the events of an image stream.

================================================================  ===============================
event                                                             result
================================================================  ===============================
``image_generation.partial_image``, ``image_edit.partial_image``  a partial image
``image_generation.completed``, ``image_edit.completed``          the completed image
a whole response with ``data``, as some relays send it            the completed image
``error``, or any event with an ``error`` field                   a failure
any other                                                         ``None``
================================================================  ===============================

https://platform.openai.com/docs/api-reference/images-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from imagesdk._protocol.api_errors import is_error_event, stream_failure
from imagesdk._protocol.json_values import is_list, is_object
from imagesdk._protocol.missing_images import NoImageError
from imagesdk._protocol.requests import Request
from imagesdk._protocol.responses import ParsedEvent, parse_event
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.scanner import MAX_ERROR, ScanError, check_entries
from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk._protocol.sse import Message
from imagesdk.models import ModelProfile

DONE = b"[DONE]"
"""The data that some servers send after the last event."""


@frozen
class StreamEvent:
    """An image of a stream."""

    parsed: ParsedEvent
    is_last: bool


def is_partial(name: str) -> bool:
    """Whether events of this name contain partial images."""
    return name.rpartition(".")[2] == "partial_image"


def read_stream_event(
    message: Message,
    request: Request,
    *,
    profile: ModelProfile | None,
    now: datetime,
    seen_images: bool,
    request_id: str | None,
    key: Secret = NO_KEY,
    is_openai: bool,
    texts: Mapping[int, str],
) -> StreamEvent | Failure | None:
    """Interpret an event by the table of the module. ``seen_images``: an image preceded it, so work was done.

    ``texts`` are the images of the event that are texts, by their number.
    """
    name = key.removed_from(message.event)
    try:
        document = message.scanner.document(key, texts)
        check_entries(document, request.weight)
    except ScanError:
        document = key.removed_from(message.scanner.rest()[:MAX_ERROR].decode("utf-8", "replace"))
        if not is_error_event(name, document):
            raise
    failure = stream_failure(
        name,
        document,
        now=now,
        requested=request.weight,
        model=request.model,
        path=request.path,
        request_id=request_id,
        seen_images=seen_images,
        is_openai=is_openai,
    )
    if failure is not None:
        return failure
    if not is_object(document):
        return None
    parsed = parse_event(document, name=name, profile=profile)
    has_image = any(image.has_image for image in parsed.images)
    if is_partial(parsed.type):
        return StreamEvent(parsed, is_last=False) if has_image else None
    if parsed.type.rpartition(".")[2] == "completed" or is_list(document.get("data")):
        if not has_image:
            raise NoImageError("the last event of the stream has no image", document)
        return StreamEvent(parsed, is_last=True)
    return None

"""What the events of a picture stream mean: a picture on the way, the finished one, or an error.

Pure functions. https://platform.openai.com/docs/api-reference/images-streaming names the events
``image_generation.partial_image``, ``image_generation.completed`` and the same with ``image_edit``.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from imagesdk._protocol.api_errors import is_error_event, stream_failure
from imagesdk._protocol.json_values import is_list, is_object
from imagesdk._protocol.requests import Request
from imagesdk._protocol.responses import ParsedEvent, parse_event
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.scanner import ScanError
from imagesdk._protocol.sse import Message
from imagesdk.models import ModelProfile

DONE = b"[DONE]"
"""What some servers say after the last event."""

_PARTIAL, _COMPLETED = "partial_image", "completed"


@frozen
class StreamEvent:
    """A picture of a stream."""

    parsed: ParsedEvent
    is_last: bool


def is_partial(name: str) -> bool:
    """Whether the events of this name bring pictures that are not the last one."""
    return name.rpartition(".")[2] == _PARTIAL


def read_stream_event(
    message: Message,
    request: Request,
    *,
    profile: ModelProfile | None,
    now: datetime,
    seen_images: bool,
    request_id: str | None,
) -> StreamEvent | Failure | None:
    """Read an event; ``None`` for one of another kind.

    Args:
        message: the event.
        request: what was asked.
        profile: of the model, for how long its URLs live.
        now: the present, for what the server says about waiting.
        seen_images: whether a picture came before it, so that work was done.
        request_id: the server's id of the request.

    Raises:
        ScanError: it cannot be read, or is the last one and has no picture.
    """
    try:
        document = message.scanner.document()
    except ScanError:
        document = message.scanner.rest().decode("utf-8", "replace")
        if not is_error_event(message.event, document):
            raise
    failure = stream_failure(
        message.event,
        document,
        now=now,
        requested=request.weight,
        model=request.model,
        path=request.path,
        request_id=request_id,
        seen_images=seen_images,
    )
    if failure is not None:
        return failure
    if not is_object(document):
        return None
    parsed = parse_event(document, name=message.event, profile=profile)
    has_image = any(image.image_ref is not None or image.url is not None for image in parsed.images)
    if is_partial(parsed.type):
        return StreamEvent(parsed, is_last=False) if has_image else None
    # A relay may send the whole answer as the only event.
    if parsed.type.rpartition(".")[2] == _COMPLETED or is_list(document.get("data")):
        if not has_image:
            raise ScanError("the last event of the stream has no picture")
        return StreamEvent(parsed, is_last=True)
    return None

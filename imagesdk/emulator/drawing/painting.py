"""Slow work on one accepted request, for a thread: its images, and the JSON of its response or events."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TypeAlias

from attrs import define
from PIL import Image

from imagesdk.emulator.drawing import formats
from imagesdk.emulator.drawing.images import Painter, cut_out, mean_colour, pixelate
from imagesdk.emulator.drawing.scenery import palette_of
from imagesdk.emulator.drawing.vectors import svg_document
from imagesdk.emulator.moderation import moderate_output
from imagesdk.emulator.rules import CheckedRequest
from imagesdk.emulator.uploads import InputImages
from imagesdk.emulator.usage import svg_usage_of, usage_of

__all__ = ["MakeEvent", "Painting"]

MakeEvent: TypeAlias = Callable[[], Mapping[str, object]]
"""Returns the data of one event, in a thread. A :class:`~imagesdk.emulator.answers.Refusal` ends the stream with an error."""

_GRAIN = 8
"""Pixels along the edge of a grain of the last partial image. Each earlier image is twice as coarse."""
_AUTHOR = "gpt-5.5"


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _forget(data: bytes) -> None:
    """Remember nothing."""


@define(slots=False)
class Painting:
    """Accepted request."""

    checked: CheckedRequest
    inputs: InputImages
    seed: int
    request_id: str
    created: int
    remember: Callable[[bytes], None] = _forget
    """Called with each image that is sent."""

    def encoded(self, index: int) -> bytes:
        """Draw and encode one image of the response."""
        svg = self.checked.output_format == "svg"
        data = self._document() if svg else self._encoded(self._draw(index))
        self.remember(data)
        return data

    def answer(
        self,
        painted: Sequence[bytes],
        keep: Callable[[bytes], str],
        encode: Callable[[bytes], str] = _base64,
    ) -> dict[str, object]:
        """Return the response with the images ``painted``. ``keep`` stores an image and returns its URL."""
        moderate_output(self.checked, self.request_id)
        urls = self.checked.text("response_format") == "url"
        revised = {"revised_prompt": self._revised} if self.checked.model.revises else {}
        data = [revised | ({"url": keep(data)} if urls else {"b64_json": encode(data)}) for data in painted]
        answer: dict[str, object] = {"created": self.created, "data": data}
        if not self.checked.model.tokens:
            return answer
        answer |= {**self._terms, **self._identifier, "usage": self.usage()}
        if self.checked.output_format == "svg":
            author = self.checked.author.get("model", _AUTHOR)
            answer["svg_usage"] = svg_usage_of(self.checked, author, painted[0])
        return answer

    def events(self, max_partials: int | None = None) -> list[MakeEvent]:
        """Return a function for each event of the stream, with at most ``max_partials`` partial images."""
        count = self.checked.number("partial_images", 0)
        if max_partials is not None:
            count = min(count, max_partials)
        partials = [partial(self._partial, index, count) for index in range(count)]
        return [*partials, partial(self._completed, count)]

    def _partial(self, index: int, count: int) -> dict[str, object]:
        rough = pixelate(self._first, _GRAIN * 2 ** (count - 1 - index))
        return {**self._event("partial_image", rough), "partial_image_index": index}

    def _completed(self, partials: int) -> dict[str, object]:
        moderate_output(self.checked, self.request_id)
        usage = self.usage(partials)
        del usage["output_tokens_details"]  # an event has none
        return {**self._event("completed", self._first), "usage": usage, **self._identifier}

    def _event(self, kind: str, data: Image.Image) -> dict[str, object]:
        verb = "generation" if self.checked.endpoint == "generations" else "edit"
        encoded = self._encoded(data)
        self.remember(encoded)
        return {
            "type": f"image_{verb}.{kind}",
            "b64_json": _base64(encoded),
            "created_at": self.created,
            **self._terms,
        }

    @cached_property
    def _first(self) -> Image.Image:
        return self._draw(0)

    @property
    def _terms(self) -> dict[str, object]:
        return {
            "background": "transparent" if self.checked.transparent else "opaque",
            "output_format": self.checked.output_format,
            "quality": self.checked.quality,
            "size": "{}x{}".format(*self.checked.size),
        }

    @property
    def _identifier(self) -> dict[str, object]:
        identifier = self.checked.safety_identifier
        return {"safety_identifier": identifier} if identifier else {}

    @property
    def _revised(self) -> str:
        mood = "hyper-real and dramatic" if self.checked.text("style") == "vivid" else "natural"
        return f"A {mood} image of the following: {self.checked.prompt}"

    def usage(self, partials: int = 0) -> dict[str, object]:
        """Return the tokens of the response."""
        return usage_of(self.checked, [image.size for image in self.inputs.images], partials)

    def _draw(self, index: int) -> Image.Image:
        painter = Painter(self.seed, self.checked.model.name, self.checked.size)
        if self.checked.endpoint == "generations":
            return painter.paint(self.checked.prompt, index, transparent=self.checked.transparent)
        if self.checked.endpoint == "variations":
            return painter.vary(self.inputs.images[0], index)
        faithful = self.checked.text("input_fidelity") == "high"
        edited = painter.edit(self.inputs, self.checked.prompt, index, faithful=faithful)
        return cut_out(edited) if self.checked.transparent else edited

    def _encoded(self, data: Image.Image) -> bytes:
        if self.checked.output_format == "gif":
            frames = self.checked.number("frame_count", 9)
            return formats.animate(data, frames, self.checked.number("frame_duration_ms", 200))
        return formats.encode(
            data, self.checked.output_format, self.checked.number("output_compression", 100)
        )

    def _document(self) -> bytes:
        checked = self.checked
        key = f"{self.seed}/{checked.model.name}/{checked.size}/{checked.prompt}/svg"
        accents = [mean_colour(image) for image in self.inputs.images]
        palette = palette_of(f"{self.seed}/{checked.prompt}")
        return svg_document(key, palette, checked.size, checked.prompt, accents)

"""The work on one request: its pictures, and what the answer or the events say about them.

Everything here is slow and belongs in a thread.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cached_property, partial

from attrs import define
from PIL import Image

from imagesdk.emulator.formats import encode
from imagesdk.emulator.moderation import judge_output
from imagesdk.emulator.pictures import Brush
from imagesdk.emulator.rules import Ask
from imagesdk.emulator.streaming import MakeEvent
from imagesdk.emulator.uploads import Pictures
from imagesdk.emulator.usage import usage_of

__all__ = ["Painting"]

_GRAIN = 8
"""Pixels in one grain of the last partial image, along an edge; each earlier one is twice as coarse."""


@define(slots=False)
class Painting:
    """One request that was accepted."""

    ask: Ask
    pictures: Pictures
    seed: int
    request_id: str
    created: int

    def encoded(self, index: int) -> bytes:
        """Paint and encode one picture of the answer."""
        return self._encoded(self._picture(index))

    def answer(self, painted: list[bytes], keep: Callable[[bytes], str]) -> dict[str, object]:
        """Return the answer with these pictures; ``keep`` stores one and returns its URL."""
        judge_output(self.ask, self.request_id)
        if self.ask.text("response_format") == "url":
            return {"created": self.created, "data": [{"url": keep(data)} for data in painted]}
        data = [{"b64_json": _base64(picture)} for picture in painted]
        if not self.ask.model.tokens:
            return {"created": self.created, "data": data}
        usage = usage_of(self.ask, [image.size for image in self.pictures.images])
        return {"created": self.created, **self._settings, "data": data, "usage": usage}

    def events(self, max_partials: int | None = None) -> list[MakeEvent]:
        """Return what makes each event of the stream, in order; ``max_partials`` sends fewer partial images."""
        count = self.ask.number("partial_images", 0)
        if max_partials is not None:
            count = min(count, max_partials)
        return [
            *(partial(self._partial, index, count) for index in range(count)),
            partial(self._completed, count),
        ]

    def _partial(self, index: int, count: int) -> dict[str, object]:
        whole = self._first
        grain = _GRAIN * 2 ** (count - 1 - index)
        width, height = whole.size
        small = whole.resize((max(1, width // grain), max(1, height // grain)), Image.Resampling.BOX)
        rough = small.resize(whole.size, Image.Resampling.BILINEAR)
        return {
            "type": f"{self._event}.partial_image",
            "b64_json": _base64(self._encoded(rough)),
            "created_at": self.created,
            **self._settings,
            "partial_image_index": index,
        }

    def _completed(self, partials: int) -> dict[str, object]:
        judge_output(self.ask, self.request_id)
        usage = usage_of(self.ask, [image.size for image in self.pictures.images], partials)
        # The usage of an event has no details of its output.
        del usage["output_tokens_details"]
        return {
            "type": f"{self._event}.completed",
            "b64_json": _base64(self._encoded(self._first)),
            "created_at": self.created,
            **self._settings,
            "usage": usage,
        }

    @property
    def _event(self) -> str:
        return "image_generation" if self.ask.endpoint == "generations" else "image_edit"

    @cached_property
    def _first(self) -> Image.Image:
        return self._picture(0)

    @property
    def _settings(self) -> dict[str, object]:
        quality = self.ask.text("quality", "auto")
        settings: dict[str, object] = {
            "background": "transparent" if self.ask.text("background") == "transparent" else "opaque",
            "output_format": self.ask.text("output_format", "png"),
            "quality": "medium" if quality == "auto" else quality,
            "size": "{}x{}".format(*self.ask.size),
        }
        identifier = self.ask.text("safety_identifier") or self.ask.text("user")
        return {**settings, "safety_identifier": identifier} if identifier else settings

    def _picture(self, index: int) -> Image.Image:
        brush = Brush(self.seed, self.ask.model.name, self.ask.size)
        if self.ask.endpoint == "generations":
            transparent = self.ask.text("background") == "transparent"
            return brush.paint(self.ask.prompt, index, transparent=transparent)
        if self.ask.endpoint == "edits":
            return brush.edit(self.pictures.images[0], self.pictures.mask, self.ask.prompt, index)
        return brush.vary(self.pictures.images[0], index)

    def _encoded(self, picture: Image.Image) -> bytes:
        return encode(
            picture, self.ask.text("output_format", "png"), self.ask.number("output_compression", 100)
        )


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")

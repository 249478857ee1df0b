"""The work on one request: its pictures, and what the answer or the events say about them.

Everything here is slow and belongs in a thread.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cached_property, partial

from attrs import define
from PIL import Image

from imagesdk.emulator.drawing.formats import animate, encode
from imagesdk.emulator.drawing.images import Brush, Overlays, coarse, mean_colour, sticker
from imagesdk.emulator.drawing.scenery import Dice, palette_of
from imagesdk.emulator.drawing.vectors import document
from imagesdk.emulator.moderation import judge_output
from imagesdk.emulator.rules import Ask
from imagesdk.emulator.streaming import MakeEvent
from imagesdk.emulator.uploads import Pictures
from imagesdk.emulator.usage import svg_usage_of, usage_of

__all__ = ["Painting"]

_GRAIN = 8
"""Pixels in one grain of the last partial image, along an edge; each earlier one is twice as coarse."""
_AUTHOR = "gpt-5.5"
"""Who writes an SVG when the request does not say."""


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
        return self._document() if self.ask.output_format == "svg" else self._encoded(self._picture(index))

    def answer(self, painted: Sequence[bytes], keep: Callable[[bytes], str]) -> dict[str, object]:
        """Return the answer with these pictures; ``keep`` stores one and returns its URL."""
        judge_output(self.ask, self.request_id)
        urls = self.ask.text("response_format") == "url"
        revised = {"revised_prompt": self._revised} if self.ask.model.revises else {}
        data = [
            {**revised, "url": keep(picture)} if urls else {**revised, "b64_json": _base64(picture)}
            for picture in painted
        ]
        answer: dict[str, object] = {"created": self.created, "data": data}
        if not self.ask.model.tokens:
            return answer
        answer |= {**self._settings, "usage": self._usage()}
        if self.ask.output_format == "svg":
            answer["svg_usage"] = svg_usage_of(self.ask, self.ask.author.get("model", _AUTHOR), painted[0])
        return answer

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
        rough = coarse(self._first, _GRAIN * 2 ** (count - 1 - index))
        return {**self._event("partial_image", rough), "partial_image_index": index}

    def _completed(self, partials: int) -> dict[str, object]:
        judge_output(self.ask, self.request_id)
        usage = self._usage(partials)
        # The usage of an event has no details of its output.
        del usage["output_tokens_details"]
        return {**self._event("completed", self._first), "usage": usage, **self._identifier}

    def _event(self, kind: str, picture: Image.Image) -> dict[str, object]:
        verb = "generation" if self.ask.endpoint == "generations" else "edit"
        return {
            "type": f"image_{verb}.{kind}",
            "b64_json": _base64(self._encoded(picture)),
            "created_at": self.created,
            **self._terms,
        }

    @cached_property
    def _first(self) -> Image.Image:
        return self._picture(0)

    @property
    def _terms(self) -> dict[str, object]:
        return {
            "background": "transparent" if self.ask.transparent else "opaque",
            "output_format": self.ask.output_format,
            "quality": self.ask.quality,
            "size": "{}x{}".format(*self.ask.size),
        }

    @property
    def _identifier(self) -> dict[str, object]:
        identifier = self.ask.safety_identifier
        return {"safety_identifier": identifier} if identifier else {}

    @property
    def _settings(self) -> dict[str, object]:
        return {**self._terms, **self._identifier}

    @property
    def _revised(self) -> str:
        mood = "hyper-real and dramatic" if self.ask.text("style") == "vivid" else "natural"
        return f"A {mood} picture of the following: {self.ask.prompt}"

    def _usage(self, partials: int = 0) -> dict[str, object]:
        return usage_of(self.ask, [image.size for image in self.pictures.images], partials)

    def _picture(self, index: int) -> Image.Image:
        brush = Brush(self.seed, self.ask.model.name, self.ask.size)
        if self.ask.endpoint == "generations":
            return brush.paint(self.ask.prompt, index, transparent=self.ask.transparent)
        if self.ask.endpoint == "variations":
            return brush.vary(self.pictures.images[0], index)
        overlays = Overlays(self.pictures.mask, self.pictures.markup)
        faithful = self.ask.text("input_fidelity") == "high"
        edited = brush.edit(self.pictures.images, self.ask.prompt, index, overlays, faithful=faithful)
        return sticker(edited) if self.ask.transparent else edited

    def _encoded(self, picture: Image.Image) -> bytes:
        if self.ask.output_format == "gif":
            frames = self.ask.number("frame_count", 9)
            return animate(picture, frames, self.ask.number("frame_duration_ms", 200))
        return encode(picture, self.ask.output_format, self.ask.number("output_compression", 100))

    def _document(self) -> bytes:
        ask = self.ask
        palette = palette_of(Dice(f"{self.seed}|{ask.prompt}"))
        accents = [mean_colour(image) for image in self.pictures.images]
        return document(
            f"{self.seed}|{ask.model.name}|{ask.size}|{ask.prompt}|svg",
            palette,
            ask.size,
            ask.prompt,
            accents,
        )


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")

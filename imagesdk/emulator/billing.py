"""Bill of an emulator: images and dollars, of single requests and of batches.

The prices are those of the catalog, and the tokens those of the responses. A batch costs the share that the catalog
names. What has no published price is counted as images without one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

from imagesdk.emulator.rules import CheckedRequest

__all__ = ["Bill", "Lane", "dollars_of"]

Lane: TypeAlias = Literal["live", "batch"]
"""Whether an image was made by a request of its own or in a batch."""
_MILLION = Decimal(1_000_000)


class Bill:
    """Images, dollars and images without a known price by lane, and batched jobs. It is thread-safe."""

    def __init__(self) -> None:
        self.images: Counter[Lane] = Counter()
        self.unpriced: Counter[Lane] = Counter()
        """Images without a published price."""
        self.dollars: dict[Lane, Decimal] = {"live": Decimal(0), "batch": Decimal(0)}
        self.jobs: Counter[str] = Counter()
        """How often each ``custom_id`` was made and billed, over all batches."""
        self._lock = threading.Lock()

    def add(
        self,
        lane: Lane,
        checked: CheckedRequest,
        usage: Mapping[str, object] | None,
        custom_id: str | None = None,
    ) -> None:
        """Bill the images of a request. ``usage`` is that of its response."""
        price = dollars_of(checked, usage, batch=lane == "batch")
        with self._lock:
            self.images[lane] += checked.n
            if price is None:
                self.unpriced[lane] += checked.n
            else:
                self.dollars[lane] += price
            if custom_id is not None:
                self.jobs[custom_id] += 1

    def dump(self) -> dict[str, dict[str, str]]:
        """Return the bill as texts."""
        with self._lock:
            counts: dict[str, Mapping[Any, object]] = {
                "images": self.images,
                "unpriced": self.unpriced,
                "dollars": self.dollars,
                "jobs": self.jobs,
            }
            return {name: {key: str(value) for key, value in one.items()} for name, one in counts.items()}

    def restore(self, given: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the bill by one that :meth:`dump` returned."""
        with self._lock:
            for name, counter in (("images", self.images), ("unpriced", self.unpriced), ("jobs", self.jobs)):
                counter.clear()
                counter.update({cast("Lane", key): int(value) for key, value in given[name].items()})
            self.dollars |= {cast("Lane", key): Decimal(value) for key, value in given["dollars"].items()}

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for counter in (self.images, self.unpriced, self.jobs):
                counter.clear()
            self.dollars |= {"live": Decimal(0), "batch": Decimal(0)}


def dollars_of(checked: CheckedRequest, usage: Mapping[str, object] | None, *, batch: bool) -> Decimal | None:
    """Return the price of a request in US dollars; ``None`` if none is published."""
    profile = checked.model.profile
    share, price = profile.batch_share if batch else Decimal(1), profile.price
    if share is None or checked.output_format == "svg":
        return None
    if price.per_image:
        size = "{}x{}".format(*checked.size)
        each = price.per_image.get((checked.text("quality", "standard"), size))
        return None if each is None else each * checked.n * share
    if usage is None or price.text_input is None or price.image_input is None or price.image_output is None:
        return None
    parts = cast("Mapping[str, int]", usage["input_tokens_details"])
    spent = price.text_input * parts["text_tokens"] + price.image_input * parts["image_tokens"]
    return (spent + price.image_output * cast("int", usage["output_tokens"])) * share / _MILLION

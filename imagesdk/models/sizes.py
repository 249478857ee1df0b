"""Image sizes in pixels: the rules of a model, and the nearest legal size.

All arithmetic is exact, in integers and fractions, for sizes of any length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import isqrt

from attrs import frozen

_WRITTEN = re.compile(r"([1-9][0-9]{0,99})x([1-9][0-9]{0,99})")


def parse_size(size: object) -> tuple[int, int] | None:
    """Return width and height of ``"WIDTHxHEIGHT"``; ``None`` for anything else, such as ``"auto"``."""
    found = _WRITTEN.fullmatch(size) if isinstance(size, str) else None
    return (int(found[1]), int(found[2])) if found else None


@frozen
class SizeRule:
    """Rules for the sizes that a model takes besides those it lists."""

    multiple: int
    """Both edges are multiples of this many pixels."""
    max_edge: int
    """No edge is longer."""
    max_ratio: float
    """The long edge is at most this many times the short one."""
    min_pixels: int
    max_pixels: int

    def problem(self, width: int, height: int) -> str | None:
        """Return the first rule that a size breaks; ``None`` if the size is legal."""
        if problem := self.frame_problem(width, height):
            return problem
        if max(width, height) > Fraction(self.max_ratio) * min(width, height):
            return f"the long edge may be at most {self.max_ratio:g} times the short one"
        if not self.min_pixels <= width * height <= self.max_pixels:
            return f"it must have between {self.min_pixels} and {self.max_pixels} pixels"
        return None

    def frame_problem(self, width: int, height: int) -> str | None:
        """Return the rule that a frame of an animation breaks. The other rules apply to all frames together."""
        if width % self.multiple or height % self.multiple:
            return f"both edges must be multiples of {self.multiple}"
        if max(width, height) > self.max_edge:
            return f"no edge may be longer than {self.max_edge}"
        return None

    def nearest(self, width: int, height: int) -> tuple[int, int] | None:
        """Return the nearest legal size; ``None`` if no size is legal.

        1. The size is clamped to the legal range of areas, keeping its ratio, and to the legal ratios, keeping its
           area.
        2. Of all legal sizes, the one with the smallest relative difference of its edges is chosen. Ties are broken
           by the nearer ratio, then the nearer area.
        """
        if self.problem(width, height) is None:
            return width, height
        across, down = self._aim(width, height)
        best: tuple[tuple[Fraction, ...], int, int] | None = None
        start = isqrt(int(across)) // self.multiple * self.multiple
        for widths in (
            range(start, 0, -self.multiple),
            range(start + self.multiple, self.max_edge + 1, self.multiple),
        ):
            for w in widths:
                if best is not None and _ratio(Fraction(w * w), across) > best[0][0]:
                    break  # all further widths are further away, too
                for h in self._heights(w, across, down):
                    key = _distance(w, h, across, down)
                    if best is None or (key, -w, -h) < (best[0], -best[1], -best[2]):
                        best = key, w, h
        return best and best[1:]

    def _aim(self, width: int, height: int) -> tuple[Fraction, Fraction]:
        """Return the squares of the clamped width and height, which need not be whole numbers."""
        longest = Fraction(self.max_ratio)
        ratio = min(max(Fraction(width, height), 1 / longest), longest)
        pixels = Fraction(min(max(width * height, self.min_pixels), self.max_pixels))
        pixels = min(pixels, self.max_edge**2 / max(ratio, 1 / ratio))
        return pixels * ratio, pixels / ratio

    def _heights(self, w: int, across: Fraction, down: Fraction) -> Iterator[int]:
        """Yield the legal heights that may be best for a width: next to the aim, and next to its ratio."""
        unit, longest = self.multiple, Fraction(self.max_ratio)
        low = max(-(-w // longest), -(-self.min_pixels // w), 1)
        high = min(int(w * longest), self.max_pixels // w, self.max_edge)
        low, high = -(-low // unit) * unit, high // unit * unit
        if low > high:
            return
        for square in (down, w * w * down / across):
            below = isqrt(int(square)) // unit * unit
            for h in (below, below + unit):
                yield min(max(h, low), high)


def nearest_of(sizes: Iterable[tuple[int, int]], width: int, height: int) -> tuple[int, int] | None:
    """Return the size with the nearest ratio. Ties are broken by the nearer area."""
    across, down = Fraction(width * width), Fraction(height * height)
    return min(sizes, key=lambda size: _distance(size[0], size[1], across, down)[1:], default=None)


def _distance(w: int, h: int, across: Fraction, down: Fraction) -> tuple[Fraction, Fraction, Fraction]:
    """Return the distances in edges, ratio and area from the size whose edges have these squares."""
    width, height = Fraction(w * w), Fraction(h * h)
    edges = max(_ratio(width, across), _ratio(height, down))
    return edges, _ratio(width / height, across / down), _ratio(width * height, across * down)


def _ratio(one: Fraction, other: Fraction) -> Fraction:
    return max(one / other, other / one)


SizeRule.__module__ = "imagesdk.models"

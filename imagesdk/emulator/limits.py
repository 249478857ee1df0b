"""Rate limit on images: a sliding log and its response headers.

The log records when images were granted. A request is rejected if it does not fit beside the images that were
granted in the preceding window. The caller passes in the clock.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from imagesdk.emulator.answers import Refusal

__all__ = ["CoolingWindow", "ImageWindow", "UploadWindow", "duration"]

_UNITS = {"s": 1, "min": 60, "h": 3600}


class ImageWindow:
    """Limit of images in a sliding window.

    ``limit`` reads ``"50/min"``, ``"10/s"``, ``"500/h"`` or, with a number of units, ``"50/10s"``.
    """

    _counted = "images per minute"

    def __init__(self, limit: str, clock: Callable[[], float]) -> None:
        match = re.fullmatch(r"(\d+)/([1-9]\d*)?(s|min|h)", limit, re.ASCII)
        if match is None:
            raise ValueError(f"a limit reads like '50/min', '10/s', '500/h' or '50/10s', not {limit!r}")
        self.limit = int(match[1])
        self.seconds = int(match[2] or 1) * _UNITS[match[3]]
        self._text = f"{match[2] or 1}{match[3]}"
        self._clock = clock
        self._granted: deque[tuple[float, int]] = deque()

    def take(self, images: int, model: str = "") -> None:
        """Count ``images`` images against the limit, or raise the 429 of the API. All models have one limit."""
        used = self._used()
        if used + images <= self.limit:
            self._granted.append((self._clock(), images))
            return
        wait = self._wait(used + images - self.limit)
        raise Refusal(
            f"Rate limit exceeded for {self._counted} in organization org-emulator. "
            f"Limit: {self.limit}/{self._text}. Current: {used + images}/{self._text}. "
            "Please visit https://platform.openai.com/docs/guides/rate-limits to learn how to increase your "
            "rate limit.",
            status=429,
            type="requests",
            code="rate_limit_exceeded",
            # A request above the limit itself never fits, so it has no retry time.
            headers={} if wait is None else {"retry-after": str(max(1, math.ceil(wait)))},
        )

    def headers(self) -> dict[str, str]:
        """Return the rate limit headers of a response that is sent now."""
        used = self._used()
        reset = self._granted[-1][0] + self.seconds - self._clock() if self._granted else 0.0
        return {
            "x-ratelimit-limit-images": str(self.limit),
            "x-ratelimit-remaining-images": str(self.limit - used),
            "x-ratelimit-reset-images": duration(reset),
        }

    @property
    def granted(self) -> Sequence[tuple[float, int]]:
        """When images were granted, and how many."""
        return list(self._granted)

    @granted.setter
    def granted(self, granted: Iterable[tuple[float, int]]) -> None:
        self._granted = deque(granted)

    def usage(self) -> tuple[int, float | None]:
        """Return how many images are counted now, and the seconds until the first of them is not any more."""
        used = self._used()
        return used, self._wait(1)

    def clear(self) -> None:
        """Forget the images that were granted."""
        self._granted.clear()

    def _used(self) -> int:
        now = self._clock()
        while self._granted and self._granted[0][0] + self.seconds <= now:
            self._granted.popleft()
        return sum(images for _, images in self._granted)

    def _wait(self, missing: int) -> float | None:
        for when, images in self._granted:
            missing -= images
            if missing <= 0:
                return when + self.seconds - self._clock()
        return None


class UploadWindow(ImageWindow):
    """Limit of uploads to the Files API."""

    _counted = "file uploads per minute"


class CoolingWindow(ImageWindow):
    """Limit behind LiteLLM's router, which takes a deployment out of service for a while after its 429.

    Until then every request is rejected, without a header that says when to come back. The text names the whole
    cooldown, not the rest of it. https://github.com/BerriAI/litellm/issues/5177
    """

    def __init__(self, limit: str, clock: Callable[[], float], cooldown: float) -> None:
        super().__init__(limit, clock)
        self._cooldown = cooldown
        self._cool_until = -math.inf

    def take(self, images: int, model: str = "") -> None:
        """Count ``images`` images against the limit, or raise the 429 of the deployment or of the router."""
        now = self._clock()
        if now < self._cool_until:
            raise Refusal(
                f"No deployments available for selected model, Try again in {self._cooldown:g} seconds. "
                f"Passed model={model}. pre-call-checks=False, cooldown_list=['emulator']",
                status=429,
                type="None",
                param="None",
                code="429",
            )
        try:
            super().take(images, model)
        except Refusal:
            self._cool_until = now + self._cooldown
            raise

    def clear(self) -> None:
        """Forget the images that were granted, and the cooldown."""
        super().clear()
        self._cool_until = -math.inf


def duration(seconds: float) -> str:
    """Format seconds as the API does: ``120ms``, ``58.891s``, ``6m0s``, ``1h0m0s``."""
    milliseconds = math.ceil(max(0.0, seconds) * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    whole, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(whole, 60)
    text = f"{minutes}m{rest / 1000:g}s" if whole else f"{rest / 1000:g}s"
    return f"{hours}h{text}" if hours else text

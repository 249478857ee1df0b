"""Verdict on a client: what its requests show, as findings that say why they cost. Data alone, without a clock."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import asdict, field, frozen

from imagesdk.emulator.log import ConnectionRecord, RequestRecord

__all__ = ["Evidence", "Finding", "Verdict"]


@frozen
class Evidence:
    """What a verdict is about."""

    requests: Sequence[RequestRecord] = ()
    connections: Sequence[ConnectionRecord] = ()
    limit: int | None = None
    """Images in a window of the rate limit."""
    window_seconds: float = 60.0


@frozen
class Finding:
    """Mistake of a client."""

    rule: str
    """Name of the rule, such as ``billed-twice``."""
    seen: str
    """What the requests show."""
    expected: str
    """What a correct client does."""
    cost: str
    """Why it matters."""
    requests: tuple[int, ...] = ()
    """Numbers of the requests in the log."""

    def __str__(self) -> str:
        numbers = ", ".join(f"#{number}" for number in self.requests[:8])
        more = f" and {len(self.requests) - 8} more" if len(self.requests) > 8 else ""
        where = f" (requests {numbers}{more})" if numbers else ""
        return f"{self.rule}: {self.seen}{where}\n  expected: {self.expected}\n  cost: {self.cost}"


@frozen
class Verdict:
    """Findings about a client. It is false if there are any."""

    findings: tuple[Finding, ...]
    requests: int = 0
    """Number of requests that were judged."""
    billed_images: int = field(default=0)
    """Number of images that these requests were billed for."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        """Return the verdict as text: one line if nothing was found, else three lines a finding."""
        about = f"{_count(self.requests, 'request')}, {_count(self.billed_images, 'image')} billed"
        if self.ok:
            return f"verdict: nothing found ({about})"
        return "\n".join(
            [f"verdict: {_count(len(self.findings), 'finding')} ({about})", *map(str, self.findings)]
        )

    def assert_ok(self) -> None:
        """Raise if anything was found.

        Raises:
            AssertionError: If there are findings. The message lists them.
        """
        if self.findings:
            raise AssertionError(str(self))

    def to_json(self) -> dict[str, object]:
        """Return the verdict as a JSON object."""
        return {"ok": self.ok, **asdict(self)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

"""Rate limits for the server of the benchmarks: those of the simulator in real time, with a minute of four seconds.

A contest is a kind of limit and the jobs that meet it. An :class:`~tests.benchmarks.answers.ResponseReader` names one by its
number, so that it can travel in a path.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from tests.simulator.accounts import KINDS, MakeAccount, account_of, mixed
from tests.simulator.headers import ServerStyle
from tests.simulator.optimum import last_admission

IMAGES: Final = 50
MINUTE: Final = 4.0
"""Seconds in which so many images are let in."""

_STYLE = ServerStyle(wait="fraction", family="images")


@frozen
class Contest:
    """Jobs, and the limit that they meet. A fixed window is half over when the first of them comes."""

    kind: str
    jobs: str
    weights: tuple[int, ...]
    """How many images each job asks for."""

    @property
    def account(self) -> MakeAccount:
        """What makes the account as it is before the first request."""
        return account_of(self.kind, IMAGES, per=MINUTE)

    @property
    def optimum(self) -> float:
        """Seconds until the last request could be let in."""
        return last_admission(self.account(), self.weights)


CONTESTS: Final = tuple(
    Contest(kind, jobs, weights)
    for jobs, weights in (("ones", (1,) * 200), ("mixed", tuple(mixed(58, seed=5))), ("few", (1,) * 100))
    for kind in KINDS
)
"""Numbered from 1."""


class Gate:
    """The limit of a contest from its first request on, and what it saw."""

    def __init__(self, number: int) -> None:
        contest = CONTESTS[number - 1]
        self._account = contest.account()
        self._optimum = contest.optimum
        self._began: float | None = None
        self._last = 0.0
        self._refused = self._billed = 0

    def admit(self, request: bytes) -> int | bytes:
        """Take in the body of a request; return how many images it gets, or the answer that refuses it."""
        weight = int(json.loads(request).get("n", 1))
        moment = time.monotonic()
        self._began = moment if self._began is None else self._began
        now = moment - self._began
        refusal = self._account.admit(weight, now)
        if refusal is None:
            self._last = now
            self._billed += weight
            return weight
        self._refused += 1
        headers, body = _STYLE.refuse(refusal)
        headers |= _STYLE.headers(self._account, now)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["HTTP/1.1 429 Too Many Requests", f"content-length: {len(body)}", *lines]
        return "\r\n".join([*head, "", ""]).encode() + body

    @property
    def counts(self) -> Mapping[str, float]:
        """What it saw, by names for the table."""
        return {
            "last admission, % of optimum": round(100 * self._last / self._optimum, 1),
            "429s": self._refused,
            "billed": self._billed,
        }

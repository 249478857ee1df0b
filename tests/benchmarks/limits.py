"""Rate limits for the server of the benchmarks: those of the simulator in real time, with a minute of four seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from tests.simulator.accounts import KINDS, account_of, mixed
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
        make_account = account_of(contest.kind, IMAGES, per=MINUTE)
        self._account = make_account()
        self._optimum = last_admission(make_account(), contest.weights)
        self._began: float | None = None
        self._last = 0.0
        self._refused = self._billed = 0

    def admit(self, request: bytes) -> int | bytes:
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
        headers |= _STYLE.headers(self._account, now) | {"content-length": str(len(body))}
        head = ["HTTP/1.1 429 Too Many Requests", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*head, "", ""]).encode() + body

    @property
    def counts(self) -> Mapping[str, float]:
        return {
            "last admission, % of optimum": round(100 * self._last / self._optimum, 1),
            "429s": self._refused,
            "billed": self._billed,
        }

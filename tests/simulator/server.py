"""A server that works in virtual time and keeps books of what it did."""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from attrs import define, field, frozen

from tests.simulator.faults import FREE, Fault, Faults
from tests.simulator.headers import ServerStyle
from tests.simulator.limits import Account, Limit
from tests.support.small_images import answer, png

_SLOW = 8
"""How many times as long a slow answer takes."""


@frozen
class Reply:
    """What the server will do with a request that has arrived."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float = 0.0
    """Until it does."""
    fault: Fault | None = None


@frozen
class Admission:
    """A request that was let in."""

    time: float
    job: str
    weight: int


@define
class Books:
    """What came in and what became of it. A job is known by its prompt."""

    arrivals: int = 0
    refusals: int = 0
    """Answers of 429."""
    admissions: list[Admission] = field(factory=list[Admission])
    billed: dict[str, list[tuple[int, Fault | None]]] = field(factory=lambda: defaultdict(list))
    """By job: how many images were made for each of its requests, and how the answer to it went wrong."""

    @property
    def images(self) -> int:
        """Images made, and billed."""
        return sum(images for work in self.billed.values() for images, _ in work)

    @property
    def duplicates(self) -> int:
        """Images made for jobs that had been billed before."""
        return sum(images for work in self.billed.values() for images, _ in work[1:])

    def worst(self, per: float) -> int:
        """Return the most images that were let in within any window of so many seconds."""
        window, worst = deque[Admission](), 0
        for admission in self.admissions:
            window.append(admission)
            while window[0].time + per <= admission.time:
                window.popleft()
            worst = max(worst, sum(each.weight for each in window))
        return worst


class SimulatedServer:
    """Lets requests in as its limit says, works on them, and fails as chance wills.

    Args:
        account: makes the rate limit, in its state at time 0; ``None`` for no limit.
        style: how it speaks of the limit.
        faults: what goes wrong with requests that were let in.
        work: the shortest and the longest time that an answer takes, in seconds.
        seed: for the times of answers.
        down: how it fails every request: with a status, or by refusing connections.
    """

    def __init__(
        self,
        account: Callable[[], Account] | None = None,
        *,
        style: ServerStyle = ServerStyle(),  # noqa: B008 - a frozen value
        faults: Faults | None = None,
        work: tuple[float, float] = (5.0, 15.0),
        seed: int = 0,
        down: int | None = None,
        refuses_connections: bool = False,
    ) -> None:
        self.make_account = account
        self.refuses_connections = refuses_connections
        self.books = Books()
        self._account = account() if account is not None else None
        self._style = style
        self._faults = faults
        self._work = work
        self._random = random.Random(seed)
        self._down = down

    @property
    def limit(self) -> Limit | None:
        """What the account is limited by; ``None`` for nothing."""
        return None if self._account is None else self._account.limit

    def arrive(self, body: bytes, now: float) -> Reply:
        """Take in a whole request and decide what becomes of it."""
        self.books.arrivals += 1
        if self._down is not None:
            return Reply(self._down, {}, _ERROR)
        asked: dict[str, Any] = json.loads(body)
        job, weight = str(asked["prompt"]), int(asked.get("n", 1))
        headers: dict[str, str] = {}
        if self._account is not None:
            refusal = self._account.admit(weight, now)
            headers = self._style.headers(self._account, now)
            if refusal is not None:
                self.books.refusals += 1
                more, body_429 = self._style.refuse(refusal)
                return Reply(429, headers | more, body_429)
        self.books.admissions.append(Admission(now, job, weight))
        fault = self._faults.draw() if self._faults is not None else None
        if fault not in FREE:
            self.books.billed[job].append((weight, fault))
        return self._reply(fault, weight, headers)

    def _reply(self, fault: Fault | None, weight: int, headers: dict[str, str]) -> Reply:
        seconds = self._random.uniform(*self._work)
        match fault:
            case "500" | "503":
                return Reply(int(fault), headers, _ERROR, 0.0, fault)
            case "500 after":
                return Reply(500, headers, _ERROR, seconds, fault)
            case "garbage":
                return Reply(200, headers, b"<html>all is well</html>", seconds, fault)
            case "reset before":
                return Reply(0, {}, b"", 0.0, fault)
            case _:
                slowness = _SLOW if fault == "slow" else 1
                return Reply(200, headers, _answer(weight), seconds * slowness, fault)


_ERROR = (
    b'{"error": {"message": "The server had an error.", "type": "server_error", "param": null, "code": null}}'
)


@lru_cache
def _answer(images: int) -> bytes:
    return answer(*[png()] * images)

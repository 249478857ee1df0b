"""Many calls at once through the real engine, in virtual time, and the report of how it went."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from imagesdk import APIError, Generate, RateLimit, RetryPolicy, Timeouts
from imagesdk._engine.call import Call
from imagesdk._engine.config import EngineConfig, EngineShared
from imagesdk._engine.engine import Engine
from imagesdk._protocol import requests
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.responses import ParsedResponse, parse_response
from imagesdk._protocol.secret import Secret
from imagesdk._ratelimit.shared import LimiterRegistry
from imagesdk.events import AttemptStarted, Event
from imagesdk.policies import Delivery
from tests.simulator.limits import Chance
from tests.simulator.optimum import last_admission
from tests.simulator.server import Books, SimulatedServer
from tests.simulator.transport import SimulatedTransport

FIFTY = RateLimit(50, per=60.0)
"""A limit that the user has named, unlike the default of the same size."""


@frozen
class Terms:
    """What the users of the simulated clients set."""

    limit: RateLimit | None = FIFTY
    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - a frozen value
    timeouts: Timeouts = Timeouts(attempt=120.0)  # noqa: RUF009
    delivery: Delivery | None = None
    """That of a run; ``None`` for single calls."""


@frozen
class Ended:
    """How one call ended."""

    job: str
    seconds: float
    """From its beginning."""
    error: APIError | None = None


@define(repr=False)
class Report:
    """What became of a fan-out."""

    books: Books
    optimum: float | None
    """When the last request could have been let in; ``None`` without a limit."""
    attempts: int = 0
    calls: list[Ended] = field(factory=list[Ended])

    @property
    def success(self) -> float:
        """The share of calls that returned their images."""
        return sum(call.error is None for call in self.calls) / len(self.calls)

    @property
    def errors(self) -> list[APIError]:
        return [call.error for call in self.calls if call.error is not None]

    @property
    def failures(self) -> Counter[str]:
        return Counter(type(error).__name__ for error in self.errors)

    @property
    def refusals(self) -> int:
        return self.books.refusals

    @property
    def last_admission(self) -> float:
        return self.books.admissions[-1].time

    @property
    def lateness(self) -> float:
        """The last admission as a multiple of the optimum."""
        assert self.optimum, "there is no optimum to be late against"
        return self.last_admission / self.optimum

    def overshoot(self, timeout: float) -> float:
        """Return by how many seconds the worst call exceeded its time-out."""
        return max(call.seconds for call in self.calls) - timeout

    def check(self, *, refusals: int, lateness: float) -> None:
        """Check that every call returned its images, with no more refusals and no later than this."""
        assert self.success == 1, self
        assert self.refusals <= refusals, self
        assert self.lateness <= lateness, self

    def __repr__(self) -> str:
        optimum = f" of {self.optimum:.1f}" if self.optimum else ""
        last = f"{self.last_admission:.1f} s{optimum}" if self.books.admissions else "none"
        return (
            f"{self.success:.1%} of {len(self.calls)}, last admission {last}, {self.refusals} x 429, "
            f"{self.attempts} attempts, {self.books.images} billed, {self.books.duplicates} twice, "
            f"{dict(self.failures)}"
        )


def fan_out(
    server: SimulatedServer,
    weights: Sequence[int],
    *,
    terms: Terms = Terms(),
    processes: int = 1,
    seed: int = 0,
    network: float = 0.05,
) -> Report:
    """Make a call for each of ``weights`` at time 0, in each of so many processes that know nothing of one another."""
    every = [weight for weight in weights for _ in range(processes)]
    make, unlimited = server.make_account, isinstance(server.limit, Chance | None)
    report = Report(server.books, None if make is None or unlimited else last_admission(make(), every))
    clock = MockClock(autojump_threshold=0.0)
    with _determined(seed):
        trio.run(_run, report, server, weights, terms, processes, seed, network, clock=clock)
    return report


async def _run(
    report: Report,
    server: SimulatedServer,
    weights: Sequence[int],
    terms: Terms,
    processes: int,
    seed: int,
    network: float,
) -> None:
    async with anyio.create_task_group() as group:
        seeds = (seed * processes + at for at in range(processes))
        engines = [
            _engine(report, terms, SimulatedTransport(server, seed=each, network=network)) for each in seeds
        ]
        for job, weight in enumerate(weights):
            for process, engine in enumerate(engines):
                group.start_soon(_call, report, engine, f"job {job} of {process}", weight, terms)
                await anyio.lowlevel.checkpoint()  # trio starts the tasks of one moment in no order


async def _call(report: Report, engine: Engine, job: str, n: int, terms: Terms) -> None:
    began, total = trio.current_time(), terms.timeouts.total
    request = requests.build_request(Generate(job, n=n), InputImages(), extra_body=None)
    call: Call[ParsedResponse] = Call(
        request,
        parse=lambda document: parse_response(document, None),
        timeouts=terms.timeouts,
        deadline=None if total is None else began + total,
        idempotency_key=job,
        delivery=terms.delivery,
    )
    error: APIError | None = None
    try:
        await engine.send(call)
    except APIError as caught:
        error = caught
    report.calls.append(Ended(job, trio.current_time() - began, error))


def _engine(report: Report, terms: Terms, transport: SimulatedTransport) -> Engine:
    def count(event: Event) -> None:
        report.attempts += isinstance(event, AttemptStarted)

    shared = EngineShared(
        Host.parse("https://images.test/v1"),
        Secret(""),
        transport,
        "simulation",
        registry=LimiterRegistry(clock=trio.current_time),
        clock=trio.current_time,
    )
    return Engine(shared, EngineConfig(terms.retry, limits=terms.limit, observers=(count,)))


@contextmanager
def _determined(seed: int) -> Generator[None, None, None]:
    """Have a seed decide the engine's jitter, and the order in which trio runs the tasks of one moment.

    The names of trio's are those that Hypothesis uses for it.
    """
    inner: Any = import_module("trio._core._run")
    generators = (random, inner._r)
    states = [generator.getstate() for generator in generators]
    ordered, inner._ALLOW_DETERMINISTIC_SCHEDULING = inner._ALLOW_DETERMINISTIC_SCHEDULING, True
    for generator in generators:
        generator.seed(seed)
    try:
        yield
    finally:
        inner._ALLOW_DETERMINISTIC_SCHEDULING = ordered
        for generator, state in zip(generators, states, strict=True):
            generator.setstate(state)

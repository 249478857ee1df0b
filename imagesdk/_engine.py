"""The loop over attempts: every request of the package goes through :meth:`Engine.send`.

One attempt, in this order: permit and grant of the budget, word to the ledger, connection, bytes out, ``sent``, bytes
in, word to the ledger. What was taken is given back in ``finally``, under a shield with a time limit. What happens
after a failure is decided by :mod:`imagesdk._protocol.retry`, not here.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import anyio
from attrs import define, field, frozen

from imagesdk._attempt import Answer, SentBody, receive
from imagesdk._protocol.failures import failure_of_status, is_error_document, lost
from imagesdk._protocol.hosts import Host, auth_headers
from imagesdk._protocol.limits import said_limits
from imagesdk._protocol.line import Ticket
from imagesdk._protocol.requests import Request
from imagesdk._protocol.retry import Again, Failure, GiveUp, RetryBudget, WaitForLimit, classify, decide
from imagesdk._protocol.scanner import ScanError, Scanner
from imagesdk._secret import Secret
from imagesdk._sink import Sink, discard
from imagesdk._transport import RELEASE_LIMIT, Outgoing, Transport, WireError
from imagesdk.budgets import Budget
from imagesdk.budgets.memory import Registry, shared
from imagesdk.budgets.unlimited import Unlimited
from imagesdk.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    LimitWaitError,
    OutcomeUnknownError,
    OutcomeUnknownTimeoutError,
)
from imagesdk.events import (
    AnswerReceived,
    AttemptStarted,
    Event,
    LimitWaited,
    LimitWaiting,
    Observer,
    RetryScheduled,
)
from imagesdk.policies import DEFAULT_RATE_LIMIT, Caps, RateLimit, RetryPolicy, Timeouts

_logger = logging.getLogger("imagesdk")
T = TypeVar("T")

ANY_MODEL = "*"
"""The key, in a mapping of rate limits by model, of all models that it does not name."""
_METHOD = "POST"
_NOTABLE_WAIT = 0.001
"""Seconds: shorter waits for the limit are not told to observers."""


class Ledger(Protocol):
    """Is told of every attempt, before its first byte and after its end. May refuse it by raising."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """An attempt has its grant and is about to be sent."""
        ...

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """An attempt has ended: well (``None``), or not."""
        ...


class NoLedger:
    """Keeps nothing: for single calls."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """Agree."""

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """Forget."""


def _no_tokens(_: object) -> None:
    return None


@frozen
class Call(Generic[T]):
    """One logical call: a request, how to read its answer, and the caller's terms."""

    request: Request
    parse: Callable[[Any], T]
    """Reads the parsed body of a good answer; raises ``ScanError`` for one that is no answer to the request."""
    timeouts: Timeouts
    idempotency_key: str
    deadline: float | None = None
    """The end of the total time, if the call began before it came here; else it is counted from here."""
    headers: tuple[tuple[str, str], ...] = ()
    query: Mapping[str, str] | None = None
    folder: Path | None = None
    """Where the pictures are to end up, for temporary files; ``None`` for memory."""
    fsync: bool = False
    """Whether those files are to be on the disk itself before the call returns."""
    tokens: Callable[[T], int | None] = field(default=_no_tokens)
    """Reads from a good answer how many tokens it counted."""
    ledger: Ledger = field(factory=NoLedger)

    @property
    def id(self) -> str:
        """A short name of the call, for observers and file names."""
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest()[:8]


@frozen
class Result(Generic[T]):
    """A good answer."""

    parsed: T
    headers: Mapping[str, str]
    sink: Sink
    """Holds the pictures; whoever takes the result moves them on or discards them."""
    attempts: int
    maybe_billed_before: bool


@define
class _Course:
    """How a call has gone so far."""

    deadline: float | None
    started: int = 0
    """Attempts begun."""
    counted: int = 0
    """Attempts that count against the policy: those that a rate limit refused do not."""
    ambiguous: int = 0
    maybe_billed: bool = False
    paid_twice: bool = False
    """Whether an attempt before the present one may have been billed besides it."""

    def remaining(self, now: float) -> float | None:
        return None if self.deadline is None else self.deadline - now


class Engine:
    """What all calls of one client share."""

    def __init__(
        self,
        *,
        host: Host,
        key: Secret,
        organization: str | None,
        project: str | None,
        transport: Transport,
        retry: RetryPolicy,
        rate_limit: RateLimit | Mapping[str, RateLimit | None] | None,
        observers: tuple[Observer, ...],
        user_agent: str,
        caps: Caps = Caps(),  # noqa: B008 - a frozen value
        registry: Registry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.transport = transport
        self._key = key
        self._account = (organization, project)
        self._retry = retry
        self._retries = RetryBudget(retry.budget, retry.budget_refill) if retry.budget is not None else None
        self._limits = rate_limit if isinstance(rate_limit, Mapping) else {ANY_MODEL: rate_limit}
        self._caps = caps
        self._registry = shared if registry is None else registry
        self._own_registry = Registry(clock=clock)
        self._unlimited = Unlimited(clock=clock)
        self._observers = observers
        self._user_agent = user_agent
        self._clock = clock

    async def send(self, call: Call[T]) -> Result[T]:
        """Make ``call`` until it succeeds or the policy gives up.

        Raises:
            APIError: it failed.
            OSError: a local file cannot be read or written.
        """
        total = call.timeouts.total
        deadline = None if total is None else self._clock() + total
        course = _Course(deadline=deadline if call.deadline is None else call.deadline)
        limit = self._limit(call.request.model)
        budget = self._budget(call.request.model, limit)
        ticket = _enqueue(call, budget, course)
        try:
            while True:
                await self._wait(call, budget, ticket, course)
                outcome = await self._attempt(call, budget, ticket, course)
                if isinstance(outcome, Result):
                    if self._retries is not None:
                        self._retries.succeeded()
                    return outcome
                if self._retries is not None:
                    self._retries.failed(outcome)
                decision = decide(
                    outcome,
                    policy=self._retry,
                    attempt=course.counted,
                    ambiguous=course.ambiguous,
                    limited=limit is not None,
                    remaining=course.remaining(self._clock()),
                    chance=random.random(),  # noqa: S311 - jitter
                    budget=self._retries,
                )
                if isinstance(decision, GiveUp):
                    if decision.out_of_budget:
                        outcome.error.add_note(
                            "It was not tried again, because too many calls of this client are failing."
                        )
                    raise _final(outcome.error, call, course)
                self._note(decision, outcome, call, course)
                if isinstance(decision, WaitForLimit):
                    budget.throttled(ticket, decision.said)
                else:
                    budget.release(ticket)
                    await anyio.sleep(decision.delay)
                    ticket = _enqueue(call, budget, course)
        finally:
            budget.release(ticket)

    def _limit(self, model: str | None) -> RateLimit | None:
        return self._limits.get(model or "", self._limits.get(ANY_MODEL, DEFAULT_RATE_LIMIT))

    def _budget(self, model: str | None, limit: RateLimit | None) -> Budget:
        if limit is None:
            return self._unlimited
        account = (self.host.origin, self._key.fingerprint(), *(name or "" for name in self._account))
        registry = self._own_registry if limit.scope == "client" else self._registry
        return registry.get((*account, model or ""), limit)

    async def _wait(self, call: Call[T], budget: Budget, ticket: Ticket, course: _Course) -> None:
        since = self._clock()

        def on_wait(place: int, seconds: float, reason: str) -> None:
            self._observe(LimitWaiting(call.id, call.request.weight, place, seconds, reason))
            _logger.info(
                "waiting about %.0f s for %s, behind %d others (rate_limit= changes the limit)",
                seconds,
                reason,
                place,
            )

        try:
            await budget.wait(ticket, deadline=course.deadline, on_wait=on_wait)
        except LimitWaitError as error:
            raise _final(error, call, course) from None
        waited = self._clock() - since
        if waited > _NOTABLE_WAIT:
            self._observe(LimitWaited(call.id, call.request.weight, waited))

    async def _attempt(
        self, call: Call[T], budget: Budget, ticket: Ticket, course: _Course
    ) -> Result[T] | Failure:
        course.started += 1
        course.counted += 1
        number = course.started
        await call.ledger.before_send(number, call.idempotency_key)
        self._observe(AttemptStarted(call.id, _METHOD, call.request.path, number))
        body = SentBody(call.request.segments(), call.request.length, on_sent=lambda: budget.sent(ticket))
        sink = Sink(call.folder, fsync=call.fsync)
        outcome: Result[T] | Failure | None = None
        try:
            outcome = await self._exchange(call, body, sink, course, on_headers=lambda: budget.sent(ticket))
            return outcome
        finally:
            if body.begun:
                budget.sent(ticket)
            if isinstance(outcome, Result):
                said = said_limits(outcome.headers, "", datetime.now(UTC))
                budget.proven(ticket, said, call.tokens(outcome.parsed))
            else:
                await discard(sink)
            with anyio.move_on_after(RELEASE_LIMIT, shield=True):
                settled = _broken("it was given up", body, timed_out=False) if outcome is None else outcome
                await call.ledger.settled(number, settled if isinstance(settled, Failure) else None)

    async def _exchange(
        self, call: Call[T], body: SentBody, sink: Sink, course: _Course, *, on_headers: Callable[[], None]
    ) -> Result[T] | Failure:
        began = self._clock()
        limits = [
            seconds for seconds in (call.timeouts.attempt, course.remaining(began)) if seconds is not None
        ]
        answer = Answer(Scanner(max_picture=self._caps.picture, max_answer=self._caps.answer))
        broken: Failure | None = None
        try:
            with anyio.fail_after(min(limits) if limits else None):
                await receive(self.transport, self._outgoing(call, body), answer, sink, on_headers=on_headers)
        except TimeoutError:
            broken = _broken("no whole answer came in time", body, timed_out=True)
        except WireError as error:
            if body.error is not None:
                raise body.error from None
            broken = _broken(str(error), body, timed_out=error.timed_out)
            broken.error.__cause__ = error.__cause__
            if answer.succeeded:
                broken = lost(
                    ScanError(f"the answer was cut short ({error})"), request_id=_request_id(answer)
                )
        except OSError as error:
            if answer.succeeded:
                error.add_note("The answer had come: its pictures were made, and are billed.")
            raise
        if answer.status is None or (broken is not None and answer.succeeded):
            return broken or _broken("it ended without an answer", body, timed_out=False)
        self._observe(
            AnswerReceived(call.id, course.started, answer.status, _request_id(answer), self._clock() - began)
        )
        answer.headers = {name: self._key.removed_from(value) for name, value in answer.headers.items()}
        return _read(call, answer, sink, course, self._key)

    def _note(self, decision: Again | WaitForLimit, failure: Failure, call: Call[T], course: _Course) -> None:
        """Keep count of a failure that will be followed by another attempt, and tell of it."""
        billable = failure.kind in {"unknown", "lost"}
        course.maybe_billed = course.maybe_billed or billable
        course.paid_twice = course.paid_twice or (billable and not self._retry.server_idempotent)
        course.ambiguous += billable
        waits = isinstance(decision, WaitForLimit)
        course.counted -= waits
        delay = 0.0 if isinstance(decision, WaitForLimit) else decision.delay
        name = type(failure.error).__name__
        self._observe(RetryScheduled(call.id, course.started, delay, name, course.maybe_billed))
        _logger.log(
            logging.WARNING if billable else logging.INFO,
            "attempt %d of %s failed (%s)%s; trying again %s",
            course.started,
            call.request.path,
            name,
            " and may have been billed" if billable else "",
            "when the rate limit has room" if waits else f"in {delay:.1f} s",
        )

    def _outgoing(self, call: Call[T], body: SentBody) -> Outgoing:
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": self._user_agent,
            self._retry.idempotency_header.lower(): call.idempotency_key,
            "content-type": call.request.content_type,
            "content-length": str(call.request.length),
            **dict(call.headers),
            **dict(auth_headers(self._key, *self._account)),
        }
        return Outgoing(
            _METHOD,
            self.host.url(call.request.path, call.query),
            tuple(headers.items()),
            body=body,
            connect_timeout=call.timeouts.connect,
        )

    def _observe(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                _logger.exception("an observer failed at %s", type(event).__name__)


def _enqueue(call: Call[T], budget: Budget, course: _Course) -> Ticket:
    try:
        return budget.enqueue(call.request.weight)
    except LimitWaitError as error:
        raise _final(error, call, course) from None


def _read(call: Call[T], answer: Answer, sink: Sink, course: _Course, key: Secret) -> Result[T] | Failure:
    assert answer.status is not None  # noqa: S101 - there was an answer
    if answer.succeeded:
        try:
            if answer.problem is not None:
                raise answer.problem
            document = answer.scanner.document()
            if not is_error_document(document):
                parsed = call.parse(document)
                return Result(parsed, answer.headers, sink, course.started, course.paid_twice)
        except ScanError as problem:
            return lost(problem, request_id=_request_id(answer))
    return failure_of_status(
        answer.status,
        answer.headers,
        key.removed_from(answer.scanner.rest().decode("latin-1")).encode("latin-1"),
        now=datetime.now(UTC),
        requested=call.request.weight,
        model=call.request.model,
        path=call.request.path,
    )


def _request_id(answer: Answer) -> str | None:
    return answer.headers.get("x-request-id")


def _final(error: APIError, call: Call[T], course: _Course) -> APIError:
    error.attempts = course.started
    error.idempotency_key = call.idempotency_key
    error.maybe_billed = error.maybe_billed or course.maybe_billed
    return error


def _broken(reason: str, body: SentBody, *, timed_out: bool) -> Failure:
    """Return the failure of an exchange that ended without an answer."""
    error: APIConnectionError
    if body.whole:
        said = f"The request was sent and no answer came ({reason}). It may have been worked on and billed."
        error = (OutcomeUnknownTimeoutError if timed_out else OutcomeUnknownError)(said, maybe_billed=True)
    elif timed_out:
        error = APITimeoutError(f"The request could not be sent in time ({reason}).")
    else:
        error = APIConnectionError(f"The server could not be reached ({reason}).")
    return Failure(error, classify(error))

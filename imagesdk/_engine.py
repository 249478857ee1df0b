"""The loop over attempts: every request of the package goes through :meth:`Engine.send`.

One attempt, in this order: permit and grant of the budget, word to the ledger, connection, bytes out, ``sent``, bytes
in, word to the ledger. What was taken is given back in ``finally``, under a shield with a time limit. What happens
after a failure is decided by :mod:`imagesdk._protocol.retry`, not here.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import anyio
from attrs import define, evolve

from imagesdk._attempt import Answer, SentBody, broken, failed, read_answer, receive
from imagesdk._call import Call, Result, T
from imagesdk._protocol.hosts import Host, auth_headers
from imagesdk._protocol.limits import said_limits
from imagesdk._protocol.line import Ticket
from imagesdk._protocol.requests import Request
from imagesdk._protocol.responses import Parsed
from imagesdk._protocol.retry import (
    Again,
    Decision,
    Failure,
    GiveUp,
    RetryBudget,
    WaitForLimit,
    classify,
    decide,
)
from imagesdk._protocol.scanner import Scanner
from imagesdk._secret import Secret
from imagesdk._sink import Sink, discard
from imagesdk._streaming import OpenStream, Streamed
from imagesdk._transport import RELEASE_LIMIT, Outgoing, Transport, WireError
from imagesdk.budgets import Budget
from imagesdk.budgets.memory import Registry, shared
from imagesdk.budgets.unlimited import Unlimited
from imagesdk.errors import APIError, LimitWaitError, StreamError
from imagesdk.events import (
    AnswerReceived,
    AttemptStarted,
    Event,
    LimitWaited,
    LimitWaiting,
    Observer,
    RetryScheduled,
)
from imagesdk.policies import DEFAULT_RATE_LIMIT, Caps, RateLimit, RetryPolicy

_logger = logging.getLogger("imagesdk")
R = TypeVar("R")

ANY_MODEL = "*"
"""The key, in a mapping of rate limits by model, of all models that it does not name."""
_NOTABLE_WAIT = 0.001
"""Seconds: shorter waits for the limit are not told to observers."""


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


class EventSource:
    """A stream that has begun: its first event is there. Made by :meth:`Engine.stream`."""

    def __init__(
        self,
        opened: OpenStream,
        call: Call[Parsed],
        course: _Course,
        began: float,
        prove: Callable[[int | None], None],
    ) -> None:
        self.opened = opened
        self.began = began
        self.prove = prove
        """Tells the limit that the server took the request, and how many tokens it counted."""
        self.failure: Failure | None = None
        """Why it ended, if not with its picture."""
        self._call = call
        self._course = course

    async def next(self) -> Streamed | None:
        """Return the next event; ``None`` after the last one.

        Raises:
            APIError: there is none.
            OSError: the disk refuses.
        """
        found = await self.opened.next()
        if isinstance(found, Failure):
            self.failure = found
            raise _final(found.error, self._call, self._course)
        return found


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
        async with self._made(call, self._attempt) as (result, _):
            return result

    @asynccontextmanager
    async def stream(self, call: Call[Parsed]) -> AsyncGenerator[EventSource, None]:
        """Make ``call``, whose answer is a stream, until its first event comes or the policy gives up.

        Nothing is made again from then on. Leaving the block ends the exchange.

        Raises:
            APIError: it failed.
            OSError: a local file cannot be read or written.
        """
        async with self._made(call, self._attempt_stream) as (source, course):
            try:
                yield source
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end_stream(call, source, course)

    @property
    def server_idempotent(self) -> bool:
        """Whether a request may be repeated under its key without being billed again."""
        return self._retry.server_idempotent

    def limit_for(self, model: str | None) -> RateLimit | None:
        """Return the limit that holds for a model now; ``None`` for none."""
        limit = self._limit_of(model)
        return None if limit is None else self._budget(model, limit).limit

    def remember(self, model: str | None, images: int, age: float) -> None:
        """Count images that another process asked for so many seconds ago against the limit."""
        self._budget(model, self._limit_of(model)).remember(images, self._clock() - age)

    @asynccontextmanager
    async def _made(
        self, call: Call[T], attempt: Callable[[Call[T], Budget, Ticket, _Course], Awaitable[R | Failure]]
    ) -> AsyncGenerator[tuple[R, _Course], None]:
        """Make attempts until one succeeds; its place in the limit is kept until the block is left."""
        total = call.timeouts.total
        deadline = None if total is None else self._clock() + total
        course = _Course(deadline=deadline if call.deadline is None else call.deadline)
        limit = self._limit(call.request)
        budget = self._budget(call.request.model, limit)
        ticket = _enqueue(call, budget, course)
        try:
            while True:
                await self._wait(call, budget, ticket, course)
                outcome = await attempt(call, budget, ticket, course)
                if not isinstance(outcome, Failure):
                    if self._retries is not None:
                        self._retries.succeeded()
                    break
                decision = self._decide(outcome, call, course, limited=limit is not None)
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
            yield outcome, course
        finally:
            budget.release(ticket)

    def _decide(self, failure: Failure, call: Call[T], course: _Course, *, limited: bool) -> Decision:
        if self._retries is not None:
            self._retries.failed(failure)
        policy = self._retry if call.delivery is None else evolve(self._retry, delivery=call.delivery)
        return decide(
            failure,
            policy=policy,
            attempt=course.counted,
            ambiguous=course.ambiguous,
            limited=limited,
            remaining=course.remaining(self._clock()),
            chance=random.random(),  # noqa: S311 - jitter
            budget=self._retries,
            billed=call.request.billed,
        )

    def _limit(self, request: Request) -> RateLimit | None:
        return self._limit_of(request.model) if request.weight else None

    def _limit_of(self, model: str | None) -> RateLimit | None:
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
        body = await self._begin(call, budget, ticket, course)
        number = course.started
        sink = Sink(call.folder, fsync=call.fsync)
        outcome: Result[T] | Failure | None = None
        try:
            outcome = await self._exchange(call, body, sink, course, on_headers=lambda: budget.sent(ticket))
            return outcome
        finally:
            if body.begun:
                budget.sent(ticket)
            if isinstance(outcome, Result):
                self._prove(budget, ticket, outcome.headers, call.tokens(outcome.parsed))
            else:
                await discard(sink)
            await _settle(call, number, body, outcome)

    async def _attempt_stream(
        self, call: Call[Parsed], budget: Budget, ticket: Ticket, course: _Course
    ) -> EventSource | Failure:
        began = self._clock()
        body = await self._begin(call, budget, ticket, course)
        number = course.started
        limits = [
            seconds for seconds in (call.timeouts.attempt, course.remaining(began)) if seconds is not None
        ]
        opened = OpenStream(
            call,
            body,
            self.transport.exchange(self._outgoing(call, body, accept="text/event-stream, application/json")),
            caps=self._caps,
            key=self._key,
            clock=self._clock,
            until=began + min(limits) if limits else None,
            attempts=course.started,
            maybe_billed_before=course.paid_twice,
        )
        outcome: Failure | None = None
        whole = False
        try:
            outcome = await opened.begin(on_headers=lambda: budget.sent(ticket))
            whole = outcome is None
        finally:
            if body.begun:
                budget.sent(ticket)
            if not whole:
                await opened.aclose()
                await _settle(call, number, body, outcome)
        if outcome is None:
            said: Callable[[int | None], None] = partial(self._prove, budget, ticket, opened.headers)
            return EventSource(opened, call, course, began, said)
        self._observe_answer(call, course, opened.answer, began)
        return outcome

    async def _end_stream(self, call: Call[Parsed], source: EventSource, course: _Course) -> None:
        opened = source.opened
        await opened.aclose()
        last = opened.whole.parsed if opened.whole else opened.completed.parsed if opened.completed else None
        source.prove(None if last is None else call.tokens(last))
        failure = source.failure
        if last is None and failure is None:
            error = StreamError("The stream was left before its end.", maybe_billed=True)
            failure = Failure(error, classify(error))
        if failure is not None and self._retries is not None and source.failure is not None:
            self._retries.failed(failure)
        with anyio.move_on_after(RELEASE_LIMIT, shield=True):
            await call.ledger.settled(course.started, failure)
        self._observe_answer(call, course, opened.answer, source.began)

    async def _begin(self, call: Call[T], budget: Budget, ticket: Ticket, course: _Course) -> SentBody:
        course.started += 1
        course.counted += 1
        await call.ledger.before_send(course.started, call.idempotency_key)
        self._observe(AttemptStarted(call.id, call.request.method, call.request.path, course.started))
        return SentBody(call.request.segments(), call.request.length, on_sent=lambda: budget.sent(ticket))

    def _prove(self, budget: Budget, ticket: Ticket, headers: Mapping[str, str], tokens: int | None) -> None:
        budget.proven(ticket, said_limits(headers, "", datetime.now(UTC)), tokens)

    async def _exchange(
        self, call: Call[T], body: SentBody, sink: Sink, course: _Course, *, on_headers: Callable[[], None]
    ) -> Result[T] | Failure:
        began = self._clock()
        limits = [
            seconds for seconds in (call.timeouts.attempt, course.remaining(began)) if seconds is not None
        ]
        answer = Answer(Scanner(max_picture=self._caps.picture, max_answer=self._caps.answer))
        failure: Failure | None = None
        try:
            with anyio.fail_after(min(limits) if limits else None):
                await receive(
                    self.transport,
                    self._outgoing(call, body),
                    answer,
                    sink,
                    on_headers=on_headers,
                    raw=call.raw,
                )
        except (TimeoutError, WireError) as error:
            failure = failed(error, body, answer, billed=call.request.billed)
        except OSError as error:
            if answer.succeeded:
                error.add_note("The answer had come: its pictures were made, and are billed.")
            raise
        if answer.status is None or (failure is not None and answer.succeeded):
            return failure or broken(
                "it ended without an answer", body, timed_out=False, billed=call.request.billed
            )
        self._observe_answer(call, course, answer, began)
        answer.headers = {name: self._key.removed_from(value) for name, value in answer.headers.items()}
        return read_answer(
            call, answer, sink, self._key, attempts=course.started, maybe_billed_before=course.paid_twice
        )

    def _observe_answer(self, call: Call[T], course: _Course, answer: Answer, began: float) -> None:
        if answer.status is not None:
            self._observe(
                AnswerReceived(
                    call.id, course.started, answer.status, answer.request_id, self._clock() - began
                )
            )

    def _note(self, decision: Again | WaitForLimit, failure: Failure, call: Call[T], course: _Course) -> None:
        """Keep count of a failure that will be followed by another attempt, and tell of it."""
        billable = failure.kind in {"unknown", "lost"} and call.request.billed
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

    def _outgoing(self, call: Call[T], body: SentBody, *, accept: str = "application/json") -> Outgoing:
        request = call.request
        headers = {
            "accept": "*/*" if call.raw else accept,
            "accept-encoding": "identity",
            "user-agent": self._user_agent,
            self._retry.idempotency_header.lower(): call.idempotency_key,
            **({"content-type": request.content_type} if request.content_type else {}),
            **({"content-length": str(request.length)} if request.method != "GET" else {}),
            **dict(call.headers),
            **dict(auth_headers(self._key, *self._account)),
        }
        return Outgoing(
            request.method,
            self.host.url(request.path, call.query),
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


async def _settle(call: Call[T], number: int, body: SentBody, outcome: object) -> None:
    with anyio.move_on_after(RELEASE_LIMIT, shield=True):
        settled = outcome
        if outcome is None:
            settled = broken("it was given up", body, timed_out=False, billed=call.request.billed)
        await call.ledger.settled(number, settled if isinstance(settled, Failure) else None)


def _final(error: APIError, call: Call[T], course: _Course) -> APIError:
    error.attempts = course.started
    error.idempotency_key = call.idempotency_key
    error.maybe_billed = (error.maybe_billed or course.maybe_billed) and call.request.billed
    return error

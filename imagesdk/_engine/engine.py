"""The loop over attempts: every request of the package goes through :meth:`Engine.send`.

One attempt, in this order: permit of the limiter, word to the ledger, connection, bytes out, ``sent``, bytes
in, word to the ledger. What was taken is given back in ``finally``, under a shield with a time limit. What happens
after a failure is decided by :mod:`imagesdk._protocol.retry`, not here.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeAlias, TypeVar

import anyio

from imagesdk._engine.call import Call, Result, T
from imagesdk._engine.logs import log_failure, log_retry, log_success, log_wait
from imagesdk._engine.request_body import TrackedBody
from imagesdk._engine.response import (
    ResponseReader,
    connection_failure,
    exchange_failure,
    parse_response,
    receive,
)
from imagesdk._engine.sink import ImageSink, discard
from imagesdk._engine.state import CallState, annotate_error, limit_error
from imagesdk._engine.stream import EventSource, StreamAttempt
from imagesdk._engine.tokens import BearerTokenSource, current_key
from imagesdk._protocol.hosts import CLIENT_REQUEST_ID, Host, auth_headers
from imagesdk._protocol.requests import Request
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._protocol.retry import (
    Decision,
    Failure,
    GiveUp,
    Requeue,
    RetryAfter,
    RetryThrottle,
    classify,
    decide,
    policy_of_run,
)
from imagesdk._protocol.scanner import Scanner
from imagesdk._protocol.secret import Secret
from imagesdk._protocol.server_limits import parse_server_limits
from imagesdk._ratelimit.limiter import Limiter
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.shared import PROCESS_LIMITERS, LimiterRegistry
from imagesdk._ratelimit.unlimited import ConcurrencyLimiter
from imagesdk._transport.exchange import RELEASE_LIMIT, Transport, TransportError, WireRequest
from imagesdk.errors import APIError, AuthenticationError, ConfigurationError, LimitWaitError, StreamError
from imagesdk.events import (
    AttemptStarted,
    Event,
    LimitWaited,
    LimitWaiting,
    Observer,
    ResponseReceived,
    RetryScheduled,
)
from imagesdk.policies import DEFAULT_RATE_LIMIT, Caps, RateLimit, RetryPolicy

_logger = logging.getLogger("imagesdk")
R = TypeVar("R")
Limits: TypeAlias = RateLimit | Mapping[str, RateLimit | None] | None

_STREAM = "text/event-stream, application/json"
"""What is asked for where a stream is: some servers answer with JSON all the same."""
ANY_MODEL = "*"
"""The key, in a mapping of rate limits by model, of all models that it does not name."""
_NOTABLE_WAIT = 0.001
"""Seconds: shorter waits for the limit are not told to observers."""


class Engine:
    """What all calls of one client share."""

    def __init__(
        self,
        *,
        host: Host,
        key: Secret | BearerTokenSource,
        organization: str | None,
        project: str | None,
        transport: Transport,
        retry: RetryPolicy,
        rate_limit: Limits,
        observers: tuple[Observer, ...],
        user_agent: str,
        caps: Caps = Caps(),  # noqa: B008 - a frozen value
        headers: tuple[tuple[str, str], ...] = (),
        registry: LimiterRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.transport = transport
        self._key = key
        self._account = (organization, project)
        self._retry = retry
        self._retries = _shared_retries(retry)
        self._limits = _by_model(rate_limit)
        self._caps = caps
        self._registry = PROCESS_LIMITERS if registry is None else registry
        self._own_registry = LimiterRegistry(clock=clock)
        self._unlimited = ConcurrencyLimiter(clock=clock)
        self._observers = observers
        self._headers = headers
        self._user_agent = user_agent
        self._clock = clock

    def with_options(
        self,
        *,
        retry: RetryPolicy | None = None,
        limits: Limits | Literal["same"] = "same",
        caps: Caps | None = None,
        observers: Iterable[Observer] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Engine:
        """Return an engine on the same connections, key and windows that differs in what is given."""
        changes: dict[str, object] = {"_headers": tuple({**dict(self._headers), **dict(headers)}.items())}
        if retry is not None and retry != self._retry:
            changes |= {"_retry": retry, "_retries": _shared_retries(retry)}
        if limits != "same":
            changes["_limits"] = _by_model(limits)
        if caps is not None:
            changes["_caps"] = caps
        if observers is not None:
            changes["_observers"] = tuple(observers)
        other = copy(self)
        vars(other).update(changes)
        return other

    async def send(self, call: Call[T]) -> Result[T]:
        """Make ``call`` until it succeeds or the policy gives up.

        Raises:
            APIError: it failed.
            OSError: a local file cannot be read or written.
        """
        async with self._made(call, self._attempt) as (result, course):
            id_ = result.headers.get("x-request-id")
            log_success(call, course, self._clock(), status=result.status, request_id=id_)
            return result

    @asynccontextmanager
    async def stream(self, call: Call[ParsedResponse]) -> AsyncGenerator[EventSource, None]:
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
        return None if limit is None else self._limiter(model, limit).limit

    def remember(self, model: str | None, images: int, age: float) -> None:
        """Count images that another process asked for so many seconds ago against the limit."""
        self._limiter(model, self._limit_of(model)).remember(images, self._clock() - age)

    @asynccontextmanager
    async def _made(
        self, call: Call[T], attempt: Callable[[Call[T], Limiter, Permit, CallState], Awaitable[R | Failure]]
    ) -> AsyncGenerator[tuple[R, CallState], None]:
        """Make attempts until one succeeds; its place in the limit is kept until the block is left."""
        header = self._retry.idempotency_header.lower()
        if header in dict(call.headers):
            raise ConfigurationError(
                f"The header {header!r} carries the key of the call: give idempotency_key= for it."
            )
        total, now = call.timeouts.total, self._clock()
        deadline = None if total is None else now + total
        course = CallState(deadline if call.deadline is None else call.deadline, started_at=now)
        limit = self._limit(call.request)
        limiter = self._limiter(call.request.model, limit)
        permit: Permit | None = None
        made = False
        try:
            permit = _enqueue(call, limiter, course)
            while True:
                await self._wait(call, limiter, permit, course)
                outcome = await attempt(call, limiter, permit, course)
                if not isinstance(outcome, Failure):
                    if self._retries is not None:
                        self._retries.record_success()
                    break
                decision = self._decide(outcome, call, course, limited=limit is not None)
                if isinstance(decision, GiveUp):
                    if decision.throttled:
                        outcome.error.add_note(
                            "It was not tried again, because too many calls of this client are failing."
                        )
                    raise annotate_error(outcome.error, call, course)
                self._record_retry(decision, outcome, call, course)
                if isinstance(decision, Requeue):
                    limiter.rejected(permit, decision.server_limits)
                else:
                    limiter.release(permit)
                    await anyio.sleep(decision.delay)
                    permit = _enqueue(call, limiter, course, rejoin=permit)
            made = True
            yield outcome, course
        except Exception as error:
            if not made:
                log_failure(call, course, self._clock(), error)
            raise
        finally:
            if permit is not None:
                limiter.release(permit)

    def _decide(self, failure: Failure, call: Call[T], course: CallState, *, limited: bool) -> Decision:
        if self._retries is not None:
            self._retries.record_failure(failure)
        if isinstance(self._key, BearerTokenSource) and isinstance(failure.error, AuthenticationError):
            self._key.forget()
        policy = self._retry if call.delivery is None else policy_of_run(self._retry, call.delivery)
        return decide(
            failure,
            policy=policy,
            attempt=course.counted,
            maybe_billed_retries=course.maybe_billed_retries,
            limited=limited,
            remaining=course.remaining(self._clock()),
            chance=random.random(),  # noqa: S311 - jitter
            throttle=self._retries,
            billed=call.request.billed,
        )

    def _limit(self, request: Request) -> RateLimit | None:
        return self._limit_of(request.model) if request.weight else None

    def _limit_of(self, model: str | None) -> RateLimit | None:
        return self._limits.get(model or "", self._limits.get(ANY_MODEL, DEFAULT_RATE_LIMIT))

    def _limiter(self, model: str | None, limit: RateLimit | None) -> Limiter:
        if limit is None:
            return self._unlimited
        account = (self.host.origin, self._key.fingerprint(), *(name or "" for name in self._account))
        registry = self._own_registry if limit.scope == "client" else self._registry
        return registry.get((*account, model or ""), limit)

    async def _wait(self, call: Call[T], limiter: Limiter, permit: Permit, course: CallState) -> None:
        since = self._clock()

        def on_wait(place: int, seconds: float, reason: str) -> None:
            self._observe(LimitWaiting(call.id, call.request.weight, place, seconds, reason))
            log_wait(seconds, reason, place)

        try:
            await limiter.wait(permit, deadline=course.deadline, on_wait=on_wait)
        except LimitWaitError as error:
            refusal = limit_error(error, call, course)
            raise refusal from refusal.__cause__
        waited = self._clock() - since
        if waited > _NOTABLE_WAIT:
            self._observe(LimitWaited(call.id, call.request.weight, waited))

    async def _attempt(
        self, call: Call[T], limiter: Limiter, permit: Permit, course: CallState
    ) -> Result[T] | Failure:
        key = await self._current_key(call, course)
        body = await self._start_attempt(call, limiter, permit, course)
        number = course.started
        sink = ImageSink(call.folder, fsync=call.fsync)
        outcome: Result[T] | Failure | None = None
        try:
            outcome = await self._exchange(
                call, body, sink, course, key, on_headers=lambda: limiter.sent(permit)
            )
            return outcome
        finally:
            if body.started:
                limiter.sent(permit)
            if isinstance(outcome, Result):
                self._report_limits(limiter, permit, outcome.headers, call.tokens(outcome.parsed))
            try:
                if not isinstance(outcome, Result):
                    await discard(sink)
            finally:
                await _settle(call, number, body, outcome)

    async def _attempt_stream(
        self, call: Call[ParsedResponse], limiter: Limiter, permit: Permit, course: CallState
    ) -> EventSource | Failure:
        key = await self._current_key(call, course)
        began = self._clock()
        body = await self._start_attempt(call, limiter, permit, course)
        number = course.started
        seconds = course.attempt_timeout(call, began)
        opened = StreamAttempt(
            call,
            body,
            self.transport.exchange(self._outgoing(call, body, key, accept=_STREAM)),
            caps=self._caps,
            key=key,
            clock=self._clock,
            until=None if seconds is None else began + seconds,
            attempts=course.started,
            maybe_billed_before=course.maybe_billed_before,
        )
        outcome: Failure | None = None
        whole = False
        try:
            outcome = await opened.begin(on_headers=lambda: limiter.sent(permit))
            whole = outcome is None
        finally:
            if body.started:
                limiter.sent(permit)
            if not whole:
                try:
                    await opened.aclose()
                finally:
                    await _settle(call, number, body, outcome)
        if outcome is None:
            said: Callable[[int | None], None] = partial(self._report_limits, limiter, permit, opened.headers)
            return EventSource(opened, call, course, began, said)
        self._observe_response(call, course, opened.response, began)
        return outcome

    async def _end_stream(self, call: Call[ParsedResponse], source: EventSource, course: CallState) -> None:
        opened, failure = source.opened, source.failure
        if failure is not None and self._retries is not None:
            self._retries.record_failure(failure)
        last = (
            opened.plain_response.parsed
            if opened.plain_response
            else opened.completed.parsed
            if opened.completed
            else None
        )
        if last is None and failure is None:
            error = StreamError("The stream was left before its end.", maybe_billed=True)
            failure = Failure(error, classify(error))
        source.prove(None if last is None else call.tokens(last))
        self._observe_response(call, course, opened.response, source.began)
        status, id_ = opened.response.status, opened.response.request_id
        if failure is None:
            log_success(call, course, self._clock(), status=status, request_id=id_)
        else:
            log_failure(call, course, self._clock(), failure.error, status=status, request_id=id_)
        try:
            await opened.aclose()
        finally:
            with anyio.move_on_after(RELEASE_LIMIT, shield=True):
                await call.ledger.settled(course.started, failure)

    async def _start_attempt(
        self, call: Call[T], limiter: Limiter, permit: Permit, course: CallState
    ) -> TrackedBody:
        course.started += 1
        course.counted += 1
        if call.on_granted is not None:
            call.on_granted()
        await call.ledger.before_send(course.started, call.idempotency_key)
        self._observe(AttemptStarted(call.id, call.request.method, call.request.path, course.started))
        return TrackedBody(
            call.request.segments(), call.request.length, on_complete=lambda: limiter.sent(permit)
        )

    def _report_limits(
        self, limiter: Limiter, permit: Permit, headers: Mapping[str, str], tokens: int | None
    ) -> None:
        limiter.accepted(permit, parse_server_limits(headers, "", datetime.now(UTC)), tokens)

    async def _exchange(
        self,
        call: Call[T],
        body: TrackedBody,
        sink: ImageSink,
        course: CallState,
        key: Secret,
        *,
        on_headers: Callable[[], None],
    ) -> Result[T] | Failure:
        began = self._clock()
        scanner = Scanner(max_image=self._caps.image, max_response=self._caps.response)
        answer = ResponseReader(scanner, good_below=call.good_below, key=key)
        failure: Failure | None = None
        try:
            with anyio.fail_after(course.attempt_timeout(call, began)):
                await receive(
                    self.transport,
                    self._outgoing(call, body, key),
                    answer,
                    sink,
                    on_headers=on_headers,
                    raw=call.raw,
                )
        except (TimeoutError, TransportError) as error:
            failure = exchange_failure(
                error, body, answer, billed=call.request.billed, origin=self.host.origin
            )
        except OSError as error:
            if answer.succeeded:
                error.add_note("The answer had come: its pictures were made, and are billed.")
            raise
        if answer.status is None or (failure is not None and answer.succeeded):
            return failure or connection_failure(
                "it ended without an answer", body, timed_out=False, billed=call.request.billed
            )
        self._observe_response(call, course, answer, began)
        return parse_response(
            call, answer, sink, key, attempts=course.started, maybe_billed_before=course.maybe_billed_before
        )

    def _observe_response(
        self, call: Call[T], course: CallState, answer: ResponseReader, began: float
    ) -> None:
        if answer.status is not None:
            self._observe(
                ResponseReceived(
                    call.id, course.started, answer.status, answer.request_id, self._clock() - began
                )
            )

    def _record_retry(
        self, decision: RetryAfter | Requeue, failure: Failure, call: Call[T], course: CallState
    ) -> None:
        """Keep count of a failure that will be followed by another attempt, and tell of it."""
        billable = failure.kind in {"unknown", "unreadable"} and call.request.billed
        course.maybe_billed = course.maybe_billed or billable
        course.maybe_billed_before = course.maybe_billed_before or (
            billable and not self._retry.server_idempotent
        )
        course.maybe_billed_retries += billable
        course.last_error = failure.error
        waits = isinstance(decision, Requeue)
        course.counted -= waits
        delay = 0.0 if isinstance(decision, Requeue) else decision.delay
        name = type(failure.error).__name__
        self._observe(RetryScheduled(call.id, course.started, delay, name, course.maybe_billed))
        then = "when the rate limit has room" if waits else f"in {delay:.1f} s"
        log_retry(call, course, failure.error, billable=billable, then=then)

    async def _current_key(self, call: Call[T], course: CallState) -> Secret:
        try:
            return await current_key(self._key, course.remaining(self._clock()))
        except APIError as error:
            raise annotate_error(error, call, course) from error.__cause__

    def _outgoing(
        self, call: Call[T], body: TrackedBody, key: Secret, *, accept: str = "application/json"
    ) -> WireRequest:
        request = call.request
        headers = {
            "accept": "*/*" if call.raw else accept,
            "accept-encoding": "identity",
            "user-agent": self._user_agent,
            CLIENT_REQUEST_ID: call.idempotency_key,
            **dict(self._headers),
            self._retry.idempotency_header.lower(): call.idempotency_key,
            **({"content-type": request.content_type} if request.content_type else {}),
            **({"content-length": str(request.length)} if request.method != "GET" or request.length else {}),
            **dict(call.headers),
            **dict(auth_headers(key, *self._account, header=self.host.key_header)),
        }
        return WireRequest(
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


def _by_model(limits: Limits) -> Mapping[str, RateLimit | None]:
    return limits if isinstance(limits, Mapping) else {ANY_MODEL: limits}


def _shared_retries(retry: RetryPolicy) -> RetryThrottle | None:
    return None if retry.budget is None else RetryThrottle(retry.budget, retry.budget_refill)


def _enqueue(call: Call[T], limiter: Limiter, course: CallState, *, rejoin: Permit | None = None) -> Permit:
    try:
        return limiter.enqueue(call.request.weight, rejoin=rejoin)
    except LimitWaitError as error:
        refusal = limit_error(error, call, course)
        raise refusal from refusal.__cause__


async def _settle(call: Call[T], number: int, body: TrackedBody, outcome: object) -> None:
    with anyio.move_on_after(RELEASE_LIMIT, shield=True):
        settled = outcome
        if outcome is None:
            settled = connection_failure("it was given up", body, timed_out=False, billed=call.request.billed)
        await call.ledger.settled(number, settled if isinstance(settled, Failure) else None)

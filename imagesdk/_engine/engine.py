"""The loop over attempts: every request of the package goes through :meth:`Engine.send` or :meth:`Engine.stream`.

What one attempt does is in :mod:`imagesdk._engine.attempt`. Whether another follows is decided by
:mod:`imagesdk._protocol.retry`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio
from attrs import evolve

from imagesdk._engine.attempt import Attempt
from imagesdk._engine.call import Call, Result, T
from imagesdk._engine.config import ANY_MODEL, EngineConfig, EngineShared, Limits
from imagesdk._engine.logs import log_end, log_retry, log_wait
from imagesdk._engine.permit import CallPermit
from imagesdk._engine.state import CallState
from imagesdk._engine.stream import StreamAttempt
from imagesdk._engine.tokens import BearerTokenSource
from imagesdk._protocol import retry
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._ratelimit.limiter import Limiter
from imagesdk._ratelimit.shared import PROCESS_LIMITERS
from imagesdk.errors import AuthenticationError, ConfigurationError, CoordinationError, LimitWaitError
from imagesdk.events import LimitWaited, LimitWaiting, RetryScheduled
from imagesdk.policies import RateLimit
from imagesdk.remedies import Remedy

if TYPE_CHECKING:
    from imagesdk._engine.body_stream import BodyAttempt

__all__ = ["ANY_MODEL", "Engine", "EngineConfig", "EngineShared", "Limits"]

_A = TypeVar("_A", bound=Attempt[Any])
_MakeAttempt: TypeAlias = Callable[[EngineShared, EngineConfig, CallState[T]], _A]
_NOTABLE_WAIT = 0.001
"""Seconds: shorter waits for the rate limit are not reported to observers."""
_THROTTLED = "It was not tried again, because too many calls of this client are failing."


class Engine:
    """The engine of one client, or of a view of it."""

    def __init__(
        self, shared: EngineShared, config: EngineConfig, *, throttle: retry.RetryThrottle | None = None
    ) -> None:
        self.host = shared.host
        self.transport = shared.transport
        self.server_idempotent = config.retry.server_idempotent
        """Whether a request may be repeated under its key without being billed again."""
        self.caps = config.caps
        """Maximum sizes of responses."""
        self._shared = shared
        self._config = config
        budget, refill = config.retry.budget, config.retry.budget_refill
        self._throttle = throttle or (None if budget is None else retry.RetryThrottle(budget, refill))

    def with_config(self, config: EngineConfig) -> Engine:
        """Return an engine with another configuration on the same connections, key and rate-limit windows."""
        same = config.retry == self._config.retry
        return Engine(self._shared, config, throttle=self._throttle if same else None)

    def limit_for(self, model: str | None) -> RateLimit | None:
        """Return the rate limit in force for a model; ``None`` for no limit."""
        return self._limiter(model, self._config.limit_of(model)).limit

    def remember(self, model: str | None, sendings: Iterable[tuple[int, float]]) -> None:
        """Count requests of another process against the rate limit: their images, and their ages in seconds."""
        now = self._shared.clock()
        limiter = self._limiter(model, self._config.limit_of(model))
        limiter.remember((images, now - age) for images, age in sendings)

    async def send(self, call: Call[T]) -> Result[T]:
        """Make a call, retrying as the policy allows.

        Raises:
            APIError: If the last attempt fails.
            OSError: If a local file cannot be read or written.
        """
        with self._begin(call) as state:
            attempt = await self._run_attempts(state, Attempt[T])
        assert attempt.result is not None  # noqa: S101 - the attempt succeeded
        return attempt.result

    @asynccontextmanager
    async def stream(self, call: Call[ParsedResponse]) -> AsyncGenerator[StreamAttempt, None]:
        """Make a call whose response is a stream, retrying until the first event. Leaving the block ends the exchange.

        Raises:
            APIError: If the last attempt fails.
            OSError: If a local file cannot be read or written.
        """
        with self._begin(call) as state:
            attempt = await self._run_attempts(state, StreamAttempt)
            try:
                yield attempt
            finally:
                if attempt.failure is not None and self._throttle is not None:
                    self._throttle.record_failure(attempt.failure)
                with anyio.CancelScope(shield=True):
                    await attempt.aclose()

    @asynccontextmanager
    async def read(self, call: Call[None]) -> AsyncGenerator[BodyAttempt, None]:
        """Ask for a file, retrying until the head of its response. Leaving the block ends the exchange.

        Raises:
            APIError: If the last attempt fails.
        """
        from imagesdk._engine.body_stream import BodyAttempt

        with self._begin(call) as state:
            attempt = await self._run_attempts(state, BodyAttempt)
            try:
                yield attempt
            finally:
                with anyio.CancelScope(shield=True):
                    await attempt.aclose()

    @contextmanager
    def _begin(self, call: Call[T]) -> Generator[CallState[T]]:
        """Hold the call's place in the rate limit until the block ends."""
        request = call.request
        limit = self._config.limit_of(request.model) if request.weight else None
        limiter, patience = self._limiter(request.model, limit), self._config.retry.max_limit_wait
        permit = CallPermit(limiter, request.weight, limited=limit is not None, patience=patience)
        try:
            yield CallState(call, permit, self._shared.clock())
        finally:
            permit.release()

    async def _run_attempts(self, state: CallState[T], make: _MakeAttempt[T, _A]) -> _A:
        """Make attempts until one succeeds, and return it; raise the last error when the policy gives up."""
        header = self._config.retry.idempotency_header.lower()
        if header in dict(state.call.headers):
            message = f"The header {header!r} carries the idempotency key of the call."
            raise ConfigurationError(message, remedies=(Remedy.PASS_IDEMPOTENCY_KEY,))
        try:
            while True:
                await self._acquire(state)
                attempt = make(self._shared, self._config, state)
                failure = await attempt.run()
                if failure is None:
                    if self._throttle is not None:
                        self._throttle.record_success()
                    return attempt
                del attempt  # frees its buffers while the call waits
                decision = self._decide(failure, state)
                if isinstance(decision, retry.GiveUp):
                    if decision.throttled:
                        failure.error.add_note(_THROTTLED)
                    raise state.annotate(failure.error)
                self._record_retry(decision, failure, state)
                if isinstance(decision, retry.Requeue):
                    state.permit.rejected(evolve(decision.server_limits, message=failure.error.summary))
                else:
                    state.permit.release()
                    await anyio.sleep(decision.delay)
        except Exception as error:
            log_end(state, self._shared.clock(), error)
            raise

    async def _acquire(self, state: CallState[Any]) -> None:
        """Wait for the rate limit."""
        call, since = state.call, self._shared.clock()

        def on_wait(place: int, seconds: float, reason: str) -> None:
            self._config.observe(LimitWaiting(call.id, call.request.weight, place, seconds, reason))
            log_wait(seconds, reason, place)

        try:
            await state.permit.acquire(deadline=call.deadline, on_wait=on_wait)
        except LimitWaitError as error:
            raise state.limit_error(error) from state.last_error
        except CoordinationError as error:
            if state.maybe_billed and state.last_error is not None:
                raise state.annotate(state.last_error) from error
            raise
        waited = self._shared.clock() - since
        if waited > _NOTABLE_WAIT:
            self._config.observe(LimitWaited(call.id, call.request.weight, waited))
        if call.on_granted is not None:
            call.on_granted()

    def _decide(self, failure: retry.Failure, state: CallState[Any]) -> retry.Decision:
        if self._throttle is not None:
            self._throttle.record_failure(failure)
        key = self._shared.key
        if isinstance(key, BearerTokenSource) and isinstance(failure.error, AuthenticationError):
            key.forget()
        call, policy = state.call, self._config.retry
        if call.may_retry is not None and not call.may_retry(failure):
            return retry.GiveUp()
        return retry.decide(
            failure,
            policy=policy if call.delivery is None else retry.policy_of_run(policy, call.delivery),
            attempt=state.counted,
            maybe_billed_retries=state.maybe_billed_retries,
            limited=state.permit.limited,
            remaining=state.remaining(self._shared.clock()),
            chance=random.random(),  # noqa: S311 - jitter
            throttle=self._throttle if call.delivery is None else None,  # a run has a circuit breaker
            billed=call.request.billed,
        )

    def _record_retry(
        self, decision: retry.RetryAfter | retry.Requeue, failure: retry.Failure, state: CallState[Any]
    ) -> None:
        """Count a failure that will be followed by another attempt, and report it to observers and log."""
        billable = failure.kind in {"unknown", "unreadable"} and state.call.request.billed
        state.maybe_billed = state.maybe_billed or billable
        state.maybe_billed_before = state.maybe_billed_before or (billable and not self.server_idempotent)
        state.maybe_billed_retries += billable
        state.last_error = failure.error
        if isinstance(decision, retry.Requeue):
            state.counted -= 1
            delay, then = 0.0, "when the rate limit has room"
        else:
            delay, then = decision.delay, f"in {decision.delay:.1f} s"
        name = type(failure.error).__name__
        self._config.observe(RetryScheduled(state.call.id, state.started, delay, name, state.maybe_billed))
        log_retry(state, failure.error, billable=billable, then=then)

    def _limiter(self, model: str | None, limit: RateLimit | None) -> Limiter:
        shared = self._shared
        if limit is None:
            return shared.unlimited
        store = self._config.shared
        if store is not None and limit.scope == "account":
            from imagesdk._coordination.limiter import PROCESS_LIMITERS as COORDINATED  # rarely needed

            return COORDINATED.get(store, (*shared.account, model or ""), limit)
        registry = shared.own_registry if limit.scope == "client" else shared.registry or PROCESS_LIMITERS
        return registry.get((*shared.account, model or ""), limit)

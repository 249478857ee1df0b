"""Storage of one job in a ledger that processes share: the interface of a journal, over a claim.

===================  =================================================================================
step                 claim
===================  =================================================================================
``claim``            held, with a lease that is renewed; or reported, after its owner has ended
``sending``          ``sending``, if this call is still the owner
``received``         ``received``, with the names of the files
``done``, ``ended``  final, without an owner
``release``          as far as the call came: free, or ``unknown`` if its request may have been sent
===================  =================================================================================

The claim has no image, no prompt and no API key: the parameters that describe the content are left out, and so is the
prompt that a server has revised.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from imagesdk._coordination import claims
from imagesdk._coordination.claim_ledger import ClaimLedger, Rule
from imagesdk._coordination.claims import Answer, Claim
from imagesdk._coordination.store import StoreUnavailable
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.errors import (
    APITimeoutError,
    CoordinationError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from imagesdk.fan_out.fingerprint import name_of, parameters
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.rows import DAMAGE, check_answer
from imagesdk.fan_out.serialization import error_of, error_record, response_record
from imagesdk.fan_out.store import Files, JobRecord, JobStore, State, new_idempotency_key
from imagesdk.remedies import Remedy
from imagesdk.types import ImagesResponse

T = TypeVar("T")

_PRIVATE: Final = frozenset({"prompt", "user", "safety_identifier", "svg"})
"""Parameters of a job that the claim leaves out."""


class ClaimLostError(Exception):
    """Another call holds the claim now, so this one may not send the job."""


class ClaimStore(JobStore):
    """Storage of the job of one call."""

    persistent = True
    folder = Path(os.devnull)
    """No file is below this path, so claims have absolute paths."""

    def __init__(
        self,
        ledger: ClaimLedger,
        *,
        key: str | None,
        again: bool,
        remake: bool,
        deadline: float | None,
        idempotency_key: str | None,
        extra: Mapping[str, Any],
    ) -> None:
        self.held = False
        """Whether this call is the owner of the claim, or may be."""
        self._ledger = ledger
        self._key = key or ""
        self._again = again
        self._remake = remake
        self._deadline = deadline
        self._idempotency_key = idempotency_key
        self._extra = extra
        self._owner = uuid.uuid4().hex
        self._mine: Claim | None = None
        self._away = False
        """Whether the store was away at the last change."""

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Hold the claim, or return its record once no other call holds it.

        Raises:
            InvalidRequestError: If the key belongs to another job.
            APITimeoutError: If another call still holds the claim when the time is over.
            CoordinationError: If the store cannot be used.
        """
        content = _with_extra(content, self._extra)
        self._key = self._key or content
        mine = self._mine = Claim(
            content=content,
            id=item.label or name_of(content, 0),
            idempotency_key=self._idempotency_key or new_idempotency_key(),
            kind=type(item.job).__name__,
            model=model,
            images=images,
            params={name: value for name, value in parameters(item.job).items() if name not in _PRIVATE},
            owner=self._owner,
            holder=f"{platform.node()}:{os.getpid()}",
            changed_at=time.time(),
        )
        waited = False
        while True:
            self.held = True  # a change that is cancelled, or whose answer is lost, may have been made
            answer = await self._ask(mine, waited=waited)
            self.held = answer.verdict == "hold"
            if answer.verdict == "conflict":
                summary = (
                    f"The key {self._key!r} belongs to another job in {self._ledger.where}. Nothing was sent."
                )
                raise InvalidRequestError(
                    summary, param="key", value=self._key, remedies=(Remedy.CHANGE_KEY,)
                )
            if answer.verdict != "wait":
                break
            waited = True
            if not await self._ledger.wait_until_free(self._key, deadline=self._deadline):
                raise _still_held(answer.claim)
        if self.held:
            self._mine = answer.claim
            self._ledger.hold(self._key, answer.claim)
        return record_of(self._key, answer.claim, self._ledger.where)

    async def _ask(self, new: Claim, *, waited: bool) -> Answer:
        def rule(known: Claim | None, now: float, since: float) -> tuple[Claim | None, Answer]:
            answer = claims.ask(known, new, now, since, again=self._again, remake=self._remake, waited=waited)
            return (None if answer.verdict in {"wait", "conflict"} else answer.claim), answer

        return await self._change(rule)

    async def sending(self, record: JobRecord, reserved: str | None) -> None:
        """Record that an attempt begins.

        Raises:
            ClaimLostError: If another call holds the claim now.
            CoordinationError: If the store cannot be used.
        """
        mine, at = self._owned(), time.time()

        def rule(known: Claim | None, now: float, since: float) -> tuple[Claim | None, Claim | None]:
            new = claims.start(known, mine, now, at)
            return new, new

        new = await self._change(rule)
        if new is None:
            self.held = False
            raise ClaimLostError
        self._mine = new

    async def not_sent(self, record: JobRecord) -> None:
        """Record that the latest attempt did no work."""
        with suppress(
            CoordinationError
        ):  # then the claim says that the job is being sent, until the call ends
            await self._write(claims.not_sent)

    async def received(self, record: JobRecord, response: ImagesResponse, files: Files) -> None:
        """Record a response whose files do not all have their final names yet.

        Raises:
            CoordinationError: If the store is away, or another call holds the claim now.
        """
        await self._report(partial(claims.receive, at=time.time(), answer=_answer(response, files)))

    async def done(self, record: JobRecord, response: ImagesResponse, files: Files) -> None:
        """Record a response whose files all have their final names.

        Raises:
            CoordinationError: If the store is away, or another call holds the claim now.
        """
        cost = None if response.cost is None else str(response.cost)
        change = partial(claims.end, at=time.time(), state="done", answer=_answer(response, files), cost=cost)
        await self._report(change)
        self.held = False

    async def ended(self, record: JobRecord, state: State, error: Exception) -> None:
        """Record that the job ended without its images.

        Raises:
            CoordinationError: If the store is away, or another call holds the claim now.
        """
        if self._owned().state == "received":
            return  # its images are not here: a process that has them can finish the job
        await self._report(partial(claims.end, at=time.time(), state=state, error=error_record(error)))
        self.held = False

    async def release(self) -> None:
        """Give the claim up, if this call may hold it. The thread of the ledger does so even if this is cancelled."""
        if self._mine is not None:
            self._ledger.let_go(self._key, self._owner)
        if not self.held:
            return
        self.held = False
        summary = "The call ended after its request was sent, without the response."
        error = OutcomeUnknownError(summary, maybe_billed=True, idempotency_key=self._owned().idempotency_key)
        change = partial(claims.release, at=time.time(), error=error_record(error))
        limit = 0.0 if self._away else RELEASE_LIMIT  # the thread of the store tries again
        with anyio.move_on_after(limit, shield=True), suppress(CoordinationError):
            await self._write(change)

    def _owned(self) -> Claim:
        assert self._mine is not None  # noqa: S101 - set before the first change
        return self._mine

    async def _report(self, change: Callable[[Claim | None, Claim], Claim | None]) -> None:
        if await self._write(change) is None:
            summary = f"Another call has taken the claim {self._key!r} in {self._ledger.where} over."
            raise CoordinationError(summary)

    async def _write(self, change: Callable[[Claim | None, Claim], Claim | None]) -> Claim | None:
        mine = self._owned()

        def rule(known: Claim | None, now: float, since: float) -> tuple[Claim | None, Claim | None]:
            new = change(known, mine)
            return new, new

        new = await self._change(rule, late=True)
        self._mine = new or mine
        return new

    async def _change(self, rule: Rule[T], *, late: bool = False) -> T:
        try:
            result = await self._ledger.change(self._key, rule, deadline=self._deadline, late=late)
        except CoordinationError as error:
            self._away = isinstance(error.__cause__, StoreUnavailable)
            self.held = self.held and (late or self._away)  # otherwise the change was not made
            raise
        self._away = False
        return result


def record_of(key: str, claim: Claim, where: str) -> JobRecord:
    """Return a claim as the record of a job.

    Raises:
        CoordinationError: If the claim is damaged.
    """
    error = claim.error
    if claim.state == "unknown" and error is None:
        summary = f"The process that was sending this job ({claim.holder}) ended before the response arrived."
        error = error_record(OutcomeUnknownError(summary, maybe_billed=True))
    try:
        if claim.answer is not None:
            check_answer(claim.answer, ClaimStore.folder)
        if error is not None:
            str(error_of(error))
        if claim.cost is not None:
            Decimal(claim.cost)
    except DAMAGE as problem:
        raise CoordinationError(f"The claim {key!r} in {where} is damaged: {problem!r}.") from problem
    return JobRecord(
        key,
        claim.id,
        claim.idempotency_key,
        state=claim.state,
        response=claim.answer,
        error=error,
        cost=claim.cost,
        params=claim.params,
        kind=claim.kind,
        images=claim.images,
        model=claim.model,
        sent_at=claim.sent_at,
    )


def _with_extra(content: str, extra: Mapping[str, Any]) -> str:
    """Return the digest of a job with further fields of its request."""
    if not any(extra.values()):
        return content
    text = json.dumps([content, extra], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _answer(response: ImagesResponse, files: Files) -> dict[str, Any]:
    answer = response_record(response, files, ClaimStore.folder)
    answer.pop("safety_identifier", None)
    for image in answer["images"]:
        image.pop("revised_prompt", None)
    return answer


def _still_held(claim: Claim) -> APITimeoutError:
    """Return the error of a call whose time is over while another one works on the job."""
    summary = f"Another process ({claim.holder}) is still working on this job. This call has sent nothing."
    sent = claim.state in {"sending", "received", "unknown"}
    return APITimeoutError(summary, maybe_billed=sent, idempotency_key=claim.idempotency_key)

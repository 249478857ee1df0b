"""Claims: which call may send a job, as a state machine. Pure: without a clock, and without I/O.

A claim is the record of one key in the ledger. The call that holds it has an *owner*, a token of its own, and renews its
lease. States have the words of the journal of a run:

============  ==========================================================================================
state         meaning
============  ==========================================================================================
``planned``   no attempt can have reached the server
``sending``   an attempt has begun, and may reach the server
``received``  the response has arrived; its files may not have their final names yet
``done``      the files have their final names
``refused``   the server or a rule refused the job; it would refuse the job again
``failed``    the job was not done and not billed
``unknown``   the job was sent and may have been billed, but no image has arrived
============  ==========================================================================================

:func:`ask` answers a call that wants the outcome of a job:

=====================================  ======================  ===========================================
state                                  a live owner            no owner, or its lease has ended
=====================================  ======================  ===========================================
no claim, ``planned``, ``received``    wait                    hold
``failed``                             wait                    hold
``sending``                            wait                    now ``unknown``
``unknown``                            wait                    report; hold only with ``again``
``done``                               report                  report; hold only with ``remake``
``refused``                            report                  report
=====================================  ======================  ===========================================

A call that has waited for an attempt reports how that attempt ended, so a thousand waiting calls do not send a failing job
a thousand times. A change by a call that is no longer the owner returns ``None``, except that a claim which the store has
lost is written again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import attrs
from attrs import evolve, field, frozen

State: TypeAlias = Literal["planned", "sending", "received", "done", "refused", "failed", "unknown"]
Verdict: TypeAlias = Literal["hold", "wait", "report", "conflict"]

PREFIX: Final = "claim:"
"""Beginning of the keys of claims in the store."""
LEASE: Final = 30.0
"""Seconds for which a claim is held without a renewal."""
HEARTBEAT: Final = LEASE / 4
"""Seconds between two renewals."""
VERSION: Final = 1
"""Version of the form of a claim."""
_STATES: Final = frozenset(get_args(State))


class DamagedClaimError(Exception):
    """A claim in the store that cannot be read. The text says why."""


@frozen(kw_only=True)
class Claim:
    """Record of one key. It has no image, no prompt and no API key."""

    content: str
    """Digest of the job."""
    id: str
    """Name of the job, for users and file names."""
    idempotency_key: str
    """Key of every attempt, created with the claim."""
    kind: str = "Generate"
    model: str | None = None
    images: int = 1
    params: Mapping[str, Any] = field(factory=dict[str, Any])
    """Parameters of the job that say nothing about its content."""
    state: State = "planned"
    before: State = "planned"
    """State before the latest attempt."""
    owner: str = ""
    """Token of the call that holds the claim; empty if none does."""
    holder: str = ""
    """Machine and process of the last owner."""
    renewed: float = 0.0
    """Time of the last renewal, on the store's clock."""
    answer: Mapping[str, Any] | None = None
    """JSON of the response."""
    error: Mapping[str, Any] | None = None
    """JSON of the error."""
    cost: str | None = None
    """US dollars."""
    sent_at: float | None = None
    """Start of the latest attempt, in seconds since 1970."""
    changed_at: float = 0.0
    """Latest change of the state, in seconds since 1970."""

    def is_held(self, now: float, since: float = -math.inf) -> bool:
        """Return whether the owner is alive. A clock that jumps back, as at a reboot, ends the lease.

        ``since`` is the time from which owners could renew their leases, if the store was away before.
        """
        return bool(self.owner) and abs(now - max(self.renewed, since)) < LEASE

    def seen(self, now: float, since: float = -math.inf) -> State:
        """Return the state for a reader: a job whose owner died while sending it is ``unknown``."""
        return "unknown" if self.state == "sending" and not self.is_held(now, since) else self.state


@frozen
class Answer:
    """Answer to a call that wants the outcome of a job."""

    verdict: Verdict
    """``"conflict"``: the key belongs to another job."""
    claim: Claim
    """The claim as it is to be in the store."""


def ask(
    known: Claim | None,
    new: Claim,
    now: float,
    since: float = -math.inf,
    *,
    again: bool = False,
    remake: bool = False,
    waited: bool = False,
) -> Answer:
    """Decide what a call does, by the table of the module.

    Args:
        known: The claim in the store.
        new: The claim that the call would create, with its token as the owner.
        now: The store's clock.
        since: The time from which owners could renew their leases, on the store's clock.
        again: Whether the call may send a job again that may have been billed.
        remake: Whether the call may send a job again that is done, if its files are gone.
        waited: Whether the call has waited for an attempt of another one.
    """
    if known is None:
        return Answer("hold", evolve(new, renewed=now))
    if known.content != new.content:
        return Answer("conflict", known)
    if known.owner == new.owner:
        return Answer("hold", known)
    reported = known.state == "refused" or (known.state == "done" and not remake)
    if not reported and known.is_held(now, since):
        return Answer("wait", known)
    found = evolve(known, state=known.seen(now, since))
    ended = waited and not known.owner and found.state in {"failed", "unknown", "done"}
    if reported or ended or (found.state == "unknown" and not again):
        return Answer("report", found)
    return Answer("hold", evolve(found, owner=new.owner, holder=new.holder, renewed=now))


def start(known: Claim | None, mine: Claim, now: float, at: float) -> Claim | None:
    """Record that an attempt begins. ``mine`` is the claim as its owner last wrote it; ``at`` is in seconds since 1970."""
    claim = known or mine
    if claim.owner != mine.owner:
        return None
    before = "unknown" if claim.state == "sending" else claim.state
    return evolve(claim, state="sending", before=before, renewed=now, sent_at=at, changed_at=at)


def not_sent(known: Claim | None, mine: Claim) -> Claim | None:
    """Record that the latest attempt did no work."""
    claim = known or mine
    if claim.owner != mine.owner or claim.state != "sending":
        return None
    return evolve(claim, state=claim.before, sent_at=None)


def receive(known: Claim | None, mine: Claim, at: float, answer: Mapping[str, Any]) -> Claim | None:
    """Record a response whose files may not have their final names yet. The call keeps the claim."""
    claim = known or mine
    if claim.owner != mine.owner:
        return None
    return evolve(claim, state="received", answer=answer, error=None, changed_at=at)


def end(
    known: Claim | None,
    mine: Claim,
    at: float,
    state: State,
    *,
    answer: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    cost: str | None = None,
) -> Claim | None:
    """Record how the job ended, and give the claim up."""
    claim = known or mine
    if claim.owner != mine.owner:
        return None
    ended = evolve(claim, state=state, owner="", changed_at=at)
    return evolve(ended, answer=answer, error=error, cost=cost or claim.cost)


def renew(known: Claim | None, mine: Claim, now: float) -> Claim | None:
    """Extend the lease."""
    claim = known or mine
    return evolve(claim, renewed=now) if claim.owner == mine.owner else None


def release(known: Claim | None, mine: Claim, at: float, error: Mapping[str, Any]) -> Claim | None:
    """Give a claim up. A job that was being sent is ``unknown``, with ``error``."""
    claim = known or mine
    if claim.owner != mine.owner or (known is None and mine.state == "planned"):
        return None
    if claim.state != "sending":
        return evolve(claim, owner="")
    return evolve(claim, owner="", state="unknown", error=error, changed_at=at)


def may_forget(claim: Claim, now: float, at: float, age: float) -> bool:
    """Return whether a claim is older than ``age`` seconds and held by no call. ``at`` is in seconds since 1970."""
    return not claim.is_held(now) and at - claim.changed_at > age


def dumps(claim: Claim) -> str:
    """Return a claim as JSON."""
    facts = attrs.asdict(claim, recurse=False)
    known = {name: value for name, value in facts.items() if value is not None}
    return json.dumps({"version": VERSION, **known}, ensure_ascii=True, separators=(",", ":"), default=str)


def loads(text: str) -> Claim:
    """Return the claim of a JSON text.

    Raises:
        DamagedClaimError: If it is not a claim of this version.
    """
    try:
        facts: object = json.loads(text)
    except ValueError as error:
        raise DamagedClaimError(f"it is not JSON: {error}") from None
    if not isinstance(facts, dict):
        raise DamagedClaimError("it is no JSON object")
    known = cast("dict[str, Any]", facts)
    version = known.pop("version", None)
    if version != VERSION:
        raise DamagedClaimError(f"its version is {version!r}, and this program reads version {VERSION}")
    for name, kinds in KINDS.items():
        if name in known and not isinstance(known[name], kinds):
            raise DamagedClaimError(f"its {name} is {known[name]!r:.80}")
    if not known.keys() >= _REQUIRED:
        raise DamagedClaimError(f"it has no {min(_REQUIRED - known.keys())}")
    if known.get("state", "planned") not in _STATES or known.get("before", "planned") not in _STATES:
        raise DamagedClaimError(f"its state is {known.get('state')!r:.80}")
    return Claim(**{name: value for name, value in known.items() if name in KINDS})


_REQUIRED: Final = frozenset({"content", "id", "idempotency_key"})
KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(
        ("content", "id", "idempotency_key", "kind", "model", "state", "before", "owner", "holder", "cost"),
        str,
    ),
    **dict.fromkeys(("renewed", "sent_at", "changed_at"), (int, float)),
    **dict.fromkeys(("params", "answer", "error"), dict),
    "images": int,
}

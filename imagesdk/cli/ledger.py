"""``imagesdk ledger URL``: list or export the jobs of a ledger that processes share, or forget old ones."""

from __future__ import annotations

import csv
import heapq
import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import FAILED, OK, UsageError
from imagesdk.cli.log import facts_of
from imagesdk.cli.session import has_flag, note, print_json

if TYPE_CHECKING:
    from imagesdk._coordination.claim_list import ClaimList, ListedClaim
    from imagesdk.policies import SharedStore

_COLUMNS = (
    "key",
    "id",
    "state",
    "kind",
    "model",
    "images",
    "cost_usd",
    "paths",
    "urls",
    "request_id",
    "idempotency_key",
    "sent_at",
    "changed_at",
    "holder",
    "error",
    "message",
)
_BILLED = frozenset({"sending", "received", "done", "unknown"})
_SHOWN_PATHS = 2


def run(options: Namespace) -> int:
    """Print one line per job. ``--json`` and ``--csv`` print all facts."""
    from imagesdk._coordination.claim_list import open_claims

    shared = _shared(options)
    with open_claims(shared) as claims:
        if options.forget is not None:
            return _forget(claims, shared, options)
        return _list(claims, shared, options)


def _shared(options: Namespace) -> SharedStore:
    from imagesdk.errors import ConfigurationError
    from imagesdk.policies import SharedStore

    url = options.url or os.environ.get("IMAGESDK_SHARED", "").strip()
    if not url:
        raise UsageError("give the URL of the ledger, such as sqlite:///ledger.db, or set IMAGESDK_SHARED")
    if options.csv and has_flag(options, "json"):
        raise UsageError("--csv and --json exclude each other")
    if options.yes and options.forget is None:
        raise UsageError("--yes belongs to --forget")
    try:
        return SharedStore(url)
    except ConfigurationError as error:
        raise UsageError(f"the ledger{error.summary.removeprefix('shared')}") from None


def _list(claims: ClaimList, shared: SharedStore, options: Namespace) -> int:
    from imagesdk.cli.batch_display import format_cost
    from imagesdk.errors import printable

    states, cost, unpriced, damaged = Counter[str](), Decimal(0), 0, 0
    table = csv.writer(sys.stdout, lineterminator="\n")
    if options.csv:
        table.writerow(_COLUMNS)
    for listed in _chosen(claims, options):
        try:
            facts = _facts(listed, shared, options)
        except ValueError as problem:
            damaged += 1
            print(printable(f"imagesdk: {problem}"), file=sys.stderr)
            continue
        states[facts["state"]] += 1
        cost += Decimal(facts["cost_usd"] or 0)
        unpriced += facts["cost_usd"] is None and facts["state"] in _BILLED
        if has_flag(options, "json"):
            print_json(facts)
        elif options.csv:
            table.writerow(_row(facts))
        else:
            print(printable(_line(facts)))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no jobs"
    note(options, f"{counts}; {format_cost(cost, unpriced)}")
    return FAILED if damaged else OK


def _forget(claims: ClaimList, shared: SharedStore, options: Namespace) -> int:
    from imagesdk.errors import printable

    states = () if options.status is None else (options.status,)
    old = list(claims.older_than(options.forget, states))
    if old and not options.yes:
        if not sys.stdin.isatty():
            raise UsageError(f"--forget would forget {len(old)} jobs; add --yes to do it")
        question = (
            f"Forget {len(old)} jobs in {shared.name}? The next calls with their keys send them again. [y/N] "
        )
        print(printable(question), end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            note(options, "nothing was forgotten")
            return OK
    count = sum(claims.forget(listed) for listed in old)
    if has_flag(options, "json"):
        print_json({"forgotten": count})
    note(options, f"{count} jobs forgotten")
    return OK


def _chosen(claims: ClaimList, options: Namespace) -> Iterable[ListedClaim]:
    """Return the claims in the state that the options name, or the latest of them."""

    def in_state() -> Iterator[ListedClaim]:
        for listed in claims:
            if options.status is None or (listed.claim and listed.claim.seen(listed.now) == options.status):
                yield listed

    if options.limit is None:
        return in_state()
    return heapq.nlargest(options.limit, in_state(), lambda listed: _changed_at(listed) or 0.0)


def _changed_at(listed: ListedClaim) -> float | None:
    return None if listed.claim is None else listed.claim.changed_at


def _facts(listed: ListedClaim, shared: SharedStore, options: Namespace) -> dict[str, Any]:
    """Return all facts of a claim.

    Raises:
        ValueError: If the claim cannot be read.
    """
    from attrs import evolve

    from imagesdk.errors import CoordinationError
    from imagesdk.fan_out.claim_store import ClaimStore, record_of

    claim = listed.claim
    if claim is None:
        raise ValueError(f"the claim {listed.key!r} cannot be read: {listed.problem}")
    try:
        record = record_of(listed.key, evolve(claim, state=claim.seen(listed.now)), shared.name)
    except CoordinationError as error:
        raise ValueError(error.summary) from None
    facts = facts_of(record, ClaimStore.folder, options)
    del facts["acknowledged"]
    urls = [image["url"] for image in (record.response or {}).get("images", []) if "url" in image]
    return {
        "key": listed.key,
        **facts,
        "urls": urls,
        "model": claim.model,
        "holder": claim.holder,
        "held": claim.is_held(listed.now),
        "changed_at": datetime.fromtimestamp(claim.changed_at, UTC).isoformat(),
    }


def _row(facts: dict[str, Any]) -> list[str]:
    error: dict[str, str] = facts["error"] or {}
    shown: dict[str, Any] = {**facts, "error": error.get("error"), "message": error.get("message")}
    for name in ("paths", "urls"):
        shown[name] = ";".join(facts[name])
    return ["" if shown[name] is None else str(shown[name]) for name in _COLUMNS]


def _line(facts: dict[str, Any]) -> str:
    places: list[str] = [*facts["paths"], *facts["urls"]]
    error: dict[str, str] = facts["error"] or {}
    more = f" and {len(places) - _SHOWN_PATHS} more" if len(places) > _SHOWN_PATHS else ""
    details = ", ".join(places[:_SHOWN_PATHS]) + more or error.get("message", "")
    if facts["held"]:
        details = f"held by {facts['holder']}"
    cost = "" if facts["cost_usd"] is None else f"${facts['cost_usd']}"
    when = facts["changed_at"][:19].replace("T", " ")
    return (
        f"{facts['state']:<9}{facts['id']:<16}{facts['model'] or '':<16}{cost:<9}{when}  {details}".rstrip()
    )

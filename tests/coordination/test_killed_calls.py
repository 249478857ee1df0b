"""Calls of ``images.once`` whose process is killed, at any point. Kills at random times are a soak (tests/soak)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesdk import Client, Generate, Outcome, OutcomeUnknownError
from imagesdk._coordination import claims
from tests.support.billing_server import BillingServer, billing_server
from tests.support.killed_calls import POINTS, exit_code

PROMPT = "a cat"
FREE = ("before the claim", "after the claim", "before the commit of sending")
SENT = ("when the request was sent", "when the response has arrived")
UNKNOWN = ("after the commit of sending", *SENT)


@pytest.fixture
def server() -> Iterator[BillingServer]:
    with billing_server() as server:
        yield server


@pytest.mark.parametrize("point", POINTS)
def test_a_job_whose_process_was_killed_is_sent_at_most_once_unless_told_otherwise(
    server: BillingServer, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, out = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    assert exit_code(server.base_url, shared, str(out), [PROMPT], point) == -9
    before = server.billed[PROMPT]
    assert before <= 1
    monkeypatch.setattr(claims, "LEASE", 0.0)  # that of the killed process has ended

    def ask(**options: bool) -> Outcome:
        with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
            return client.images.once(Generate(PROMPT), out=out, **options)

    outcome = ask()
    if point in UNKNOWN:
        assert (outcome.status, outcome.resumed) == ("unknown", True)
        assert isinstance(outcome.error, OutcomeUnknownError)
        assert server.billed[PROMPT] == before
        outcome = ask(retry_unknown=True)
        assert server.billed[PROMPT] == before + 1
        assert len(set(server.keys[PROMPT])) == 1
    else:
        assert server.billed[PROMPT] == 1
    assert (outcome.status, outcome.resumed) == ("done", point not in {*FREE, *UNKNOWN})
    [path] = [image.path for image in outcome.unwrap()]
    assert path is not None
    assert path.exists()
    assert ask().resumed
    assert server.billed[PROMPT] == before + (point in {*FREE, *UNKNOWN})

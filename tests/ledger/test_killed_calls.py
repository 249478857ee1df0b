"""Calls of ``images.once`` whose process is killed, at any point. Kills at random times are a soak (tests/soak)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from imagesdk import Client, Generate, Outcome, OutcomeUnknownError
from imagesdk._coordination import claims
from imagesdk._coordination.claim_ledger import ClaimLedger
from tests.ledger.conftest import before_waiting
from tests.support.billing_server import BillingServer
from tests.support.killed_calls import LEASE, POINTS, programs

PROMPT = "a cat"
FREE = ("before the claim", "after the claim", "before the commit of sending")
SENT = ("when the request was sent", "when the response has arrived")
UNKNOWN = ("after the commit of sending", *SENT)


@pytest.mark.parametrize("point", POINTS)
def test_a_job_whose_process_was_killed_is_sent_at_most_once_unless_told_otherwise(
    server: BillingServer, shared: str, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    programs.begin(server.base_url, shared, str(out), [PROMPT], point)
    assert programs.exit_code() == -9
    before = server.billed[PROMPT]
    assert before <= 1
    monkeypatch.setattr(claims, "LEASE", 0.0)  # that of the killed process has ended

    def ask(*, retry_unknown: bool = False) -> Outcome:
        with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
            return client.images.once(Generate(PROMPT), out=out, retry_unknown=retry_unknown)

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


def test_images_that_a_killed_process_had_received_are_put_in_place_where_its_files_are(
    server: BillingServer, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    programs.begin(server.base_url, shared, str(out), [PROMPT], "after the commit of received")
    assert programs.exit_code() == -9
    monkeypatch.setattr(claims, "LEASE", 0.0)
    with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
        out.rename(elsewhere)
        assert client.images.once(Generate(PROMPT), out=out).status == "unknown"
        elsewhere.rename(out)
        outcome = client.images.once(Generate(PROMPT), out=out)
    assert (outcome.status, outcome.resumed) == ("done", True)
    assert outcome.unwrap()[0].bytes
    assert server.billed == {PROMPT: 1}


def test_a_call_that_waits_for_a_process_that_is_killed_reports_an_unknown_job(
    server: BillingServer, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LEASE", LEASE)
    process = programs.begin(server.base_url, shared, str(tmp_path / "out"), ["hold this"])
    assert server.arrived.wait(30)
    monkeypatch.setattr(
        ClaimLedger, "wait_until_free", before_waiting(lambda: os.kill(process, signal.SIGKILL))
    )
    with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
        outcome = client.images.once(Generate("hold this"), out=tmp_path / "out")
    assert programs.exit_code() == -9
    assert (outcome.status, outcome.resumed) == ("unknown", True)
    assert "ended before the response arrived" in str(outcome.error)
    assert server.billed == {"hold this": 1}


def test_a_call_that_waits_for_another_process_gets_its_outcome(
    server: BillingServer, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LEASE", LEASE)
    programs.begin(server.base_url, shared, str(tmp_path / "out"), ["hold this"])
    assert server.arrived.wait(30)
    monkeypatch.setattr(ClaimLedger, "wait_until_free", before_waiting(server.released.set))
    with Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client:
        outcome = client.images.once(Generate("hold this"), out=tmp_path / "out")
    assert programs.exit_code() == 0
    assert (outcome.status, outcome.resumed) == ("done", True)
    assert outcome.unwrap()[0].bytes
    assert server.billed == {"hold this": 1}

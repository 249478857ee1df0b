"""``imagesdk ledger``: what it lists, exports and forgets."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from attrs import evolve

from imagesdk import Client, Generate, cli
from imagesdk._coordination.claims import PREFIX, Claim, dumps
from imagesdk._coordination.sqlite_store import SqliteStore
from tests.support.billing_server import billing_server
from tests.support.commands import environment_of, run_command

Run = Callable[..., CompletedProcess[bytes]]
NAME = "sqlite:///ledger.db"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a folder with a ledger: a job that is done, one that was refused, and one that is unknown."""
    shared = f"sqlite:///{tmp_path}/ledger.db"
    with (
        billing_server() as server,
        Client(base_url=server.base_url, api_key="", rate_limit=None, shared=shared) as client,
    ):
        for prompt in ("a secret cat", "refuse this", "drop this"):
            client.images.once(Generate(prompt), key=prompt.split()[0], out=tmp_path / "out")

    def run(*arguments: str) -> CompletedProcess[bytes]:
        return run_command(("ledger", *arguments), folder=tmp_path, environment=environment_of(""))

    return run


def put(tmp_path: Path, key: str, **facts: Any) -> None:
    claim = evolve(Claim(content="c", id=key, idempotency_key="k"), **facts)
    store = SqliteStore(tmp_path / "ledger.db")
    store.swap(PREFIX + key, "", "v", dumps(claim), notify=(), keep=float("inf"))
    store.close()


def test_it_lists_a_line_for_each_job_and_their_number_by_state(run: Run, tmp_path: Path) -> None:
    result = run(NAME)
    lines = sorted(result.stdout.decode().splitlines())
    assert result.returncode == 0
    assert [line.split()[:2] for line in lines] == [["done", "a"], ["refused", "refuse"], ["unknown", "drop"]]
    assert lines[0].endswith(str(tmp_path / "out" / "a-0.png"))
    assert "Your request was rejected" in lines[1]
    assert result.stderr.decode().startswith("1 done, 1 refused, 1 unknown; ")


def test_it_exports_all_facts_as_json_and_as_csv_without_prompts(run: Run, tmp_path: Path) -> None:
    result = run(NAME, "--json")
    facts = {row["key"]: row for row in map(json.loads, result.stdout.decode().splitlines())}
    assert facts["a"]["paths"] == [str(tmp_path / "out" / "a-0.png")]
    assert facts["a"]["idempotency_key"].startswith("imagesdk-")
    assert facts["drop"]["error"]["error"] == "OutcomeUnknownError"
    assert not any(row["held"] for row in facts.values())
    table = run(NAME, "--csv").stdout.decode()
    rows = {row["key"]: row for row in csv.DictReader(StringIO(table))}
    assert {key: row["state"] for key, row in rows.items()} == {
        "a": "done",
        "refuse": "refused",
        "drop": "unknown",
    }
    assert rows["a"]["paths"] == facts["a"]["paths"][0]
    assert "secret" not in result.stdout.decode() + table


def test_it_shows_one_state_or_the_latest_jobs(run: Run, tmp_path: Path) -> None:
    put(tmp_path, "old", state="done", changed_at=1.0)
    assert run(NAME, "--status", "unknown").stdout.decode().split()[1] == "drop"
    latest = run(NAME, "--limit", "2", "--json").stdout.decode().splitlines()
    assert [json.loads(line)["key"] for line in latest] == ["drop", "refuse"]


def test_it_forgets_old_jobs_when_told_so_but_none_that_a_call_holds(run: Run, tmp_path: Path) -> None:
    put(tmp_path, "old", state="done", changed_at=1.0)
    put(tmp_path, "held", state="sending", owner="a", renewed=time.monotonic(), changed_at=1.0)
    refused = run(NAME, "--forget", "30d")
    assert refused.returncode == 2
    assert b"would forget 1 jobs; add --yes" in refused.stderr
    forgotten = run(NAME, "--forget", "30d", "--yes", "--json")
    assert json.loads(forgotten.stdout) == {"forgotten": 1}
    left = {json.loads(line)["key"] for line in run(NAME, "--json").stdout.decode().splitlines()}
    assert left == {"a", "drop", "held", "refuse"}


class Terminal(StringIO):
    """A terminal on which somebody has typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "left"), [("y\n", {"a", "drop", "refuse"}), ("\n", {"a", "drop", "old", "refuse"})]
)
def test_it_asks_on_a_terminal_before_it_forgets(
    run: Run,
    tmp_path: Path,
    typed: str,
    left: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(tmp_path, "old", state="done", changed_at=1.0)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert cli.run(["ledger", f"sqlite:///{tmp_path}/ledger.db", "--forget", "1w"]) == 0
    assert "Forget 1 jobs in sqlite:///" in capsys.readouterr().err
    assert {json.loads(line)["key"] for line in run(NAME, "--json").stdout.decode().splitlines()} == left


def test_a_damaged_claim_is_reported_beside_the_others(run: Run, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    store.swap(PREFIX + "broken", "", "v", "{}", notify=(), keep=float("inf"))
    store.close()
    result = run(NAME)
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 3
    assert b"the claim 'broken' cannot be read: its version is None" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ((), "give the URL of the ledger", 2),
        (("http://x",), "the ledger must be a URL that begins with sqlite:///", 2),
        (("sqlite:///none.db",), "none.db: No such file", 1),
        ((NAME, "--forget", "soon"), "an age is written like 30d, 12h or 2w, not 'soon'", 2),
        ((NAME, "--limit", "x"), "a whole number of at least 1, not 'x'", 2),
        ((NAME, "--yes"), "--yes belongs to --forget", 2),
        ((NAME, "--json", "--csv"), "--csv and --json exclude each other", 2),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str, code: int
) -> None:
    result = run_command(("ledger", *arguments), folder=tmp_path, environment=environment_of(""))
    assert result.returncode == code
    assert words in result.stderr.decode()
    assert not (tmp_path / "none.db").exists()

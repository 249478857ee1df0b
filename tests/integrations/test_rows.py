"""Rows of engines: jobs from columns, columns from outcomes, and no image sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest

from imagesdk import Edit, Generate, Outcome, RateLimitError
from imagesdk.integrations.ray import SendOnce
from imagesdk.integrations.rows import client_of, job_of, row_of, run_once
from tests.support.billing_server import billing_server


@pytest.fixture
def options(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Options of a worker, whose client is closed after the test."""
    with billing_server() as server:
        client: dict[str, Any] = {"base_url": server.base_url, "api_key": "", "rate_limit": None}
        client["shared"] = f"sqlite:///{tmp_path}/ledger.db"
        yield {**client, "out": str(tmp_path)}
        client_of(**client).close()
        client_of.cache_clear()


@pytest.mark.parametrize(
    ("row", "job"),
    [
        ("a cat", Generate("a cat")),
        (Generate("a cat"), Generate("a cat")),
        (
            {"prompt": "a cat", "n": numpy.int64(2), "size": numpy.str_("1024x1024"), "title": "of a book"},
            Generate("a cat", n=2, size="1024x1024"),
        ),
        ({"prompt": "a cat", "n": float("nan"), "quality": None}, Generate("a cat")),
        ({"prompt": "a hat", "image": "cat.png", "style": None}, Edit("cat.png", "a hat")),
    ],
)
def test_the_columns_of_a_row_are_the_parameters_of_a_job(row: Any, job: Any) -> None:
    assert job_of(row) == job


def test_a_failed_job_is_a_row_that_says_why() -> None:
    error = RateLimitError("Too many images.", request_id="req_1")
    row = row_of(Outcome(Generate("a cat"), "id", 0, "failed", error=error, cost=Decimal("0.04")))
    assert row == {
        "status": "failed",
        "path": None,
        "paths": [],
        "cost": 0.04,
        "request_id": "req_1",
        "error": f"RateLimitError: {error}",
        "resumed": False,
    }


def test_a_batch_keeps_its_columns_and_gets_those_of_its_outcomes(options: dict[str, Any]) -> None:
    send = SendOnce(key="isbn", **options)
    batch = {
        "isbn": numpy.array([1, 2, 3]),
        "prompt": numpy.array(["a cat", "pair of dogs", "refuse"], object),
    }
    sent = send(batch)
    assert list(sent["isbn"]) == [1, 2, 3]
    assert sent["status"] == ["done", "done", "refused"]
    assert [len(paths) for paths in sent["paths"]] == [1, 2, 0]
    assert [Path(path).name for path in sent["path"][:2]] == ["1-0.png", "2-0.png"]
    assert sent["error"][:2] == [None, None]
    assert "rejected" in sent["error"][2]
    again = send(batch)
    assert again["path"] == sent["path"]
    assert again["resumed"] == [True, True, True]
    assert send({"isbn": numpy.array([]), "prompt": numpy.array([])}).keys() == batch.keys()


def test_workers_of_one_process_share_a_client(options: dict[str, Any]) -> None:
    first, again = run_once("a cat", **options), run_once({"prompt": "a cat"}, **options)
    assert (first["status"], first["resumed"], again["resumed"]) == ("done", False, True)
    assert first["path"] == again["path"]
    client = {name: value for name, value in options.items() if name != "out"}
    assert client_of(**client) is client_of(**client)

"""Output files of the emulator's batches: how much memory one takes while it is made and sent."""

from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path

import httpx

from imagesdk.emulator import Emulator
from tests.support.batch_files import GENERATIONS, jsonl, line

__all__ = ["run"]

_MOST = 60_000_000
"""Bytes by which the process may grow: server and client are in it."""


def run(seed: int, first: int, count: int) -> Counter[str]:
    """Fetch the results of one batch of ``count`` requests, about 165 KB each."""
    lines = jsonl(line(f"r{number}", size="1024x1024") for number in range(first, first + count))
    with (
        Emulator(limit=None, seed=seed) as emulator,
        httpx.Client(base_url=emulator.base_url, timeout=600) as api,
    ):
        before = _resident()
        file = api.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines)}).json()
        terms = {"endpoint": GENERATIONS, "completion_window": "24h"}
        batch = api.post("/batches", json={"input_file_id": file["id"], **terms}).json()
        done = api.get(f"/batches/{batch['id']}").json()
        assert done["request_counts"] == {"total": count, "completed": count, "failed": 0}
        received = ends = 0
        with api.stream("GET", f"/files/{done['output_file_id']}/content") as answer:
            for piece in answer.iter_raw():
                received += len(piece)
                ends += piece.count(b"\n")
        grown = max(_resident(), _peak()) - before
    assert (received, ends) == (int(answer.headers["content-length"]), count)
    assert grown < _MOST, f"the process grew by {grown / 1e6:.0f} MB"
    return Counter({"lines": count, "MB received": received // 1_000_000, "MB grown": grown // 1_000_000})


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""Journals that are damaged in random rows or bytes, and then used."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import httpx

from imagesdk import AsyncClient, JournalError, Outcome
from imagesdk.fan_out.journal import acknowledge, check_journal, read_records
from tests.support.small_images import answer, png

_JOBS: Final = [f"image {number}" for number in range(12)]
_COLUMNS: Final = [
    "key",
    "content",
    "occurrence",
    "label",
    "kind",
    "params",
    "images",
    "model",
    "state",
    "idempotency_key",
    "sent_at",
    "process",
    "before",
    "reserved",
    "risked",
    "cost",
    "answer",
    "error",
    "acknowledged",
]
_VALUES: Final[list[object]] = [
    *(
        None,
        "",
        "x",
        "{",
        "[]",
        "{}",
        "null",
        '"',
        "NaN",
        "-1",
        "done",
        "received",
        "sending",
        "\0",
        "9" * 400,
    ),
    *(0, -1, 10**18, 1.5, float("inf"), b"", b"\xff\xfe", "[" * 5000, '{"images": [{}]}', '{"images": {}}'),
]


def damages(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        anyio.run(_run, base, Counter[str]())
        for number in range(first, first + count):
            chance = Random(f"{seed}/{number}")
            out = Path(folder) / str(number)
            shutil.copytree(base, out)
            damage = chance.choice((_damage_rows, _damage_text, _damage_bytes))
            try:
                damage(out / "journal.db", chance)
            except sqlite3.IntegrityError:
                counts["damages that SQLite refused"] += 1
                continue
            billed = Counter[str]()
            counts[f"{damage.__name__[1:]}: {_used(out, billed)}".replace("_", " ")] += 1
            assert max(billed.values(), default=0) <= 1, billed
            counts["jobs made again"] += billed.total()
            shutil.rmtree(out)
    return counts


def _used(out: Path, billed: Counter[str]) -> str:
    """Use a damaged journal in every way, twice. Return how its run ended."""
    ends = set[str]()
    for _ in range(2):
        path = out / "journal.db"
        with suppress(JournalError):
            list(read_records(path))
        with suppress(JournalError):
            check_journal(path)
        with suppress(JournalError):
            acknowledge(path)
        end = "JournalError"
        with suppress(JournalError):
            anyio.run(_run, out, billed)
            end = "outcomes"
        ends.add(end)
    return " and ".join(sorted(ends))


async def _run(out: Path, billed: Counter[str]) -> list[Outcome]:
    def respond(request: httpx.Request) -> httpx.Response:
        billed[request.content.decode()] += 1
        return httpx.Response(200, content=answer(png()))

    client = AsyncClient(
        base_url="http://127.0.0.1:9/v1",
        api_key="",
        rate_limit=None,
        http_client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(respond)),
    )
    options: dict[str, Any] = {"out": out, "budget": "5 USD", "unknown_price": "allow"}
    async with client, client.images.fan_out(_JOBS, **options) as run:
        return await run.collect()


def _damage_rows(path: Path, chance: Random) -> None:
    _change(path, chance, chance.choice(_VALUES))


def _damage_text(path: Path, chance: Random) -> None:
    """Change some characters of one value, and keep the others."""
    column = chance.choice(("answer", "params"))
    with sqlite3.connect(path) as db:
        [key, text] = db.execute(f"SELECT key, {column} FROM jobs ORDER BY key LIMIT 1 OFFSET 3").fetchone()
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(text))
            text = text[:place] + chance.choice('x{}[]",:0\\é\0') * chance.randint(0, 2) + text[place + 1 :]
        db.execute(f"UPDATE jobs SET {column} = ? WHERE key = ?", (text, key))
    db.close()


def _change(path: Path, chance: Random, value: object) -> None:
    given = "CAST(? AS TEXT)" if isinstance(value, bytes) and chance.random() < 0.5 else "?"
    row = chance.randrange(len(_JOBS))
    with sqlite3.connect(path) as db:
        [key] = db.execute("SELECT key FROM jobs ORDER BY key LIMIT 1 OFFSET ?", (row,)).fetchone()
        db.execute(f"UPDATE jobs SET {chance.choice(_COLUMNS)} = {given} WHERE key = ?", (value, key))
    db.close()


def _damage_bytes(path: Path, chance: Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 4, 64))):
        data[chance.randrange(100, len(data))] = chance.randrange(256)
    path.write_bytes(data)

"""Runs whose images go to URLs: no file of others is replaced, and a run that was interrupted is resumed."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from imagesdk import AsyncClient, ConfigurationError, InvalidRequestError, Labelled
from imagesdk.fan_out.journal import read_records
from tests.support.billing_server import BillingServer
from tests.support.file_systems import Lab
from tests.support.runs import Runs, statuses, until

pytestmark = pytest.mark.anyio
OUT = "lab://b/{job}-{id}.{ext}"


@pytest.fixture
def runs(client: AsyncClient, server: BillingServer, tmp_path: Path) -> Runs:
    return Runs(client, server, tmp_path, {"out": OUT, "journal": tmp_path / "run.db"})


def images_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".part" in path.name]


async def test_a_run_at_a_url_is_resumed_and_asks_for_no_image_that_is_there(runs: Runs, lab: Lab) -> None:
    first = await runs.all(["a cat", "pair of dogs", "url of a cat"])
    assert statuses(first) == ["done", "done", "done"]
    places = {str(image.location) for outcome in first for image in outcome.unwrap()}
    assert {f"lab://{name}" for name in lab.content()} == places
    assert images_in(runs.out) == []
    again = await runs.all(["a cat", "pair of dogs", "url of a cat"])
    assert [outcome.resumed for outcome in again] == [True, True, True]
    assert {str(image.location) for outcome in again for image in outcome.unwrap()} == places
    assert len(runs.server.asked) == 3
    dry_run = await runs.client.images.dry_run(["a cat", "new"], out=OUT, journal=runs.out / "run.db")
    assert (dry_run.resumed, dry_run.sent) == (1, 1)


@pytest.mark.parametrize("change", ["removed", "changed"])
async def test_a_file_that_is_gone_or_changed_is_reported_and_not_paid_for_again(
    runs: Runs, lab: Lab, change: str
) -> None:
    [done] = await runs.all(["a cat"])
    name = str(done.unwrap()[0].location).removeprefix("lab://")
    if change == "removed":
        del lab.files[f"/{name}"]
    else:
        lab.put(name, b"x" * len(lab.content()[name]))
    assert statuses(await runs.all(["a cat"])) == ["missing"]
    assert runs.server.billed == {"a cat": 1}
    assert statuses(await runs.all(["a cat"], retry_unknown=True)) == ["done"]


async def test_a_run_replaces_no_file_that_it_did_not_write(runs: Runs, lab: Lab) -> None:
    lab.put("b/0-cat.png", b"of another program")
    [outcome] = await runs.all([Labelled("cat", "a cat")])
    assert outcome.unwrap()[0].location == "lab://b/0-cat-2.png"
    assert lab.content()["b/0-cat.png"] == b"of another program"


async def test_images_that_were_received_are_uploaded_by_the_next_run(runs: Runs, lab: Lab) -> None:
    lab.held = threading.Event()
    with anyio.CancelScope() as scope:
        async with runs.begin(["a cat"]):
            await anyio.to_thread.run_sync(lab.writing.wait, 10)
            scope.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(10):  # rounds of the event loop, which delivers the cancellation
                    await anyio.lowlevel.checkpoint()
            lab.held.set()
    assert lab.content() == {}
    assert [record.state for record in read_records(runs.out / "run.db")] == ["received"]
    assert len(images_in(runs.out)) == 1
    lab.put("b/.imagesdk-0badf00d-0123456789abcdef.part", b"of another run")
    [outcome] = await runs.all(["a cat"])
    assert (outcome.status, outcome.resumed) == ("done", True)
    assert runs.server.billed == {"a cat": 1}
    assert images_in(runs.out) == []
    assert lab.content() == {
        "b/.imagesdk-0badf00d-0123456789abcdef.part": b"of another run",
        str(outcome.unwrap()[0].location).removeprefix("lab://"): outcome.unwrap()[0].bytes,
    }


async def test_an_upload_that_fails_is_finished_by_the_next_run(runs: Runs, lab: Lab) -> None:
    async with runs.client, runs.client.images.fan_out(["hold a cat"], **runs.options) as run:
        await until(runs.server.arrived.is_set)
        lab.problem = OSError("the network is down")
        runs.server.released.set()
        [failed] = await run.collect()
    assert failed.status == "unknown"
    assert "the network is down" in str(failed.error)
    lab.problem = None
    [outcome] = await runs.all(["hold a cat"])
    assert (outcome.status, outcome.resumed) == ("done", True)
    assert runs.server.billed == {"hold a cat": 1}


async def test_a_password_is_not_in_the_journal(runs: Runs, lab: Lab) -> None:
    runs.options["out"] = "lab://me:hunter2@host/{id}.{ext}"
    [outcome] = await runs.all(["a cat"])
    assert str(outcome.unwrap()[0].location).startswith("lab://me@host/")
    assert b"hunter2" not in b"".join(path.read_bytes() for path in runs.out.iterdir())
    assert [outcome.resumed for outcome in await runs.all(["a cat"])] == [True]


async def test_a_run_at_a_url_names_its_journal(runs: Runs, lab: Lab) -> None:
    for journal, error in ((True, ConfigurationError), ("lab://b/run.db", InvalidRequestError)):
        runs.options["journal"] = journal
        with pytest.raises(error, match=r'journal="run.db", a local file'):
            await runs.all(["a cat"])
    assert runs.server.asked == []
    assert lab.files == {}
    runs.options["journal"] = None
    assert statuses(await runs.all(["a cat"])) == ["done"]

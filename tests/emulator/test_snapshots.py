"""Snapshots, data folders and seed files: what an emulator starts with, and what outlives its process."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from imagesdk.emulator import Emulator, EmulatorState, create_app
from imagesdk.emulator.seed_file import read_seed_file
from imagesdk.emulator.snapshots import DataFolder
from tests.emulator.api import SMALL, Clock
from tests.support.small_images import png


def test_a_snapshot_restores_urls_files_and_the_limit_in_another_emulator() -> None:
    clock = Clock()
    with (
        Emulator(limit="2/min", clock=clock) as first,
        httpx.Client(verify=False, base_url=first.base_url) as http,
    ):
        url = http.post("/images/generations", json=SMALL).json()["data"][0]["url"]
        sent = {"file": ("cat.png", png(4, 4), "image/png")}
        file = http.post("/files", data={"purpose": "vision"}, files=sent).json()["id"]
        image = http.get(url).content
        snapshot = http.get(f"{first.origin}/_emulator/snapshot").json()

    with (
        Emulator(limit="2/min", clock=clock) as second,
        httpx.Client(verify=False, base_url=second.base_url) as http,
    ):
        restored = http.post(f"{second.origin}/_emulator/snapshot", json=snapshot)
        assert restored.json() == snapshot
        path = httpx.URL(url).raw_path.decode()
        assert http.get(second.origin + path).content == image
        assert http.get(f"/files/{file}/content").content == png(4, 4)
        assert second.state.billed_images == 1
        statuses = [http.post("/images/generations", json=SMALL).status_code for _ in range(2)]
        assert statuses == [200, 429]


@pytest.mark.parametrize("damage", [{"version": 2}, {"files": None}, {"granted": [1]}, {"secret": "zz"}])
def test_a_damaged_snapshot_is_refused_and_changes_nothing(
    emulator: Emulator, damage: dict[str, object]
) -> None:
    with httpx.Client(verify=False, base_url=emulator.base_url) as http:
        http.post("/images/generations", json=SMALL)
        snapshot = http.get(f"{emulator.origin}/_emulator/snapshot").json()
        answer = http.post(f"{emulator.origin}/_emulator/snapshot", json={**snapshot, **damage})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "snapshot")
    assert emulator.state.billed_images == 1


def test_a_data_folder_outlives_the_process_and_the_verdict_is_printed_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(png(4, 4))
    (tmp_path / "seed.json").write_text('{"files": [{"id": "file-cat", "path": "cat.png"}]}')
    command = [sys.executable, "-m", "imagesdk", "serve", "--port", "0"]
    command += ["--data", str(tmp_path / "data"), "--seed-file", str(tmp_path / "seed.json")]

    def serve(path: str) -> tuple[httpx.Response, str]:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            base_url = server.stdout.readline().strip()
            body = {**SMALL, "prompt": "something forbidden"}
            with httpx.Client(verify=False, base_url=base_url, timeout=30) as http:
                assert http.get("/files/file-cat/content").content == png(4, 4)
                if path:
                    answer = http.get(base_url.removesuffix("/v1") + path)
                else:
                    for _ in range(2):
                        http.post("/images/generations", json=body)
                    answer = http.post("/images/generations", json=SMALL)
            server.send_signal(signal.SIGINT)
            return answer, server.communicate(timeout=30)[1]

    made, text = serve("")
    url = httpx.URL(made.json()["data"][0]["url"])
    kept, _ = serve(url.raw_path.decode())

    assert "verdict: 1 finding (4 requests, 1 image billed)\nrefusal-repeated: " in text
    assert (kept.status_code, kept.headers["content-type"]) == (200, "image/png")


def test_a_data_folder_is_written_when_something_has_changed_and_loses_what_was_deleted(
    tmp_path: Path,
) -> None:
    folder = DataFolder(tmp_path)
    state = EmulatorState()
    create_app(state=state)
    state.results.put(b"an image")
    folder.save(state)
    assert [path.read_bytes() for path in (tmp_path / "blobs").iterdir()] == [b"an image"]

    state.results.clear()
    folder.save(state)
    assert len(list((tmp_path / "blobs").iterdir())) == 1  # no request has changed anything
    state.changes += 1
    folder.save(state)
    assert list((tmp_path / "blobs").iterdir()) == []


@pytest.mark.parametrize("name", ["seed.toml", "seed.json"])
def test_a_seed_file_has_options_files_and_faults(tmp_path: Path, name: str) -> None:
    (tmp_path / "cat.png").write_bytes(png(4, 4))
    given = {
        "limit": "1/min",
        "as_of": "2026-12-01",
        "advance": 3600,
        "files": [{"id": "file-cat", "path": "cat.png"}],
        "faults": [{"fault": 429, "retry_after": 1}],
    }
    toml = (
        'limit = "1/min"\nas_of = "2026-12-01"\nadvance = 3600\n'
        '[[files]]\nid = "file-cat"\npath = "cat.png"\n[[faults]]\nfault = 429\nretry_after = 1\n'
    )
    (tmp_path / name).write_text(toml if name.endswith("toml") else json.dumps(given))

    seed = read_seed_file(tmp_path / name)

    state = EmulatorState(prepare=seed.plant)
    create_app(state=state, **seed.options)
    for _ in range(2):
        state.reset()
        assert state.files.get("file-cat").data == png(4, 4)
        assert state.faults.queued() == [("images", "status 429")]
        assert state.clock.added == 3600
    assert state.window is not None
    assert state.window.limit == 1


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"colour": 1}', '{"files": [{}]}', '{"faults": [{"fault": "nonsense"}]}']
)
def test_a_wrong_seed_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "seed.json").write_text(text)

    with pytest.raises(ValueError, match=r"seed\.json: "):
        read_seed_file(tmp_path / "seed.json")

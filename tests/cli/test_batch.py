"""``imagesdk batch`` and ``imagesdk log`` as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesdk import cli
from imagesdk.fan_out import breaker
from tests.support.billing_server import BillingServer, billing_server
from tests.support.commands import environment_of, run_command
from tests.support.small_images import png

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ODD_LINES = """{"prompt": "a"}
{"prompt": "a", "size": {}}
{"prompt": "a", "n": 100000000000000000000000000000}
{"prompt": "half \\ud800"}
{"prompt": "a", "model": []}
{"prompt": ["a"]}
{"prompt": "a", "image": "half \\ud800"}
{"prompt": "a", "quality": 1e999}
{"prompt": "a", "user": {"\\ud800": NaN}}
"""
CHEAP = ("--model", "dall-e-2", "--size", "256x256")


@pytest.fixture(scope="module")
def running() -> Iterator[BillingServer]:
    with billing_server() as server:
        yield server


@pytest.fixture
def server(running: BillingServer) -> BillingServer:
    for record in (running.asked, running.billed, running.arrived, running.released):
        record.clear()
    return running


@pytest.fixture
def environment(server: BillingServer) -> dict[str, str]:
    return environment_of(server.base_url)


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def call(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = run_command(arguments, folder=tmp_path, environment=environment, stdin=stdin.encode())
        out, err = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return call


def test_a_batch_makes_an_image_per_line_and_repeats_none(
    run: Run, server: BillingServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    first, second = (run("batch", "prompts.txt", "--out", "images", *CHEAP) for _ in range(2))
    for done in (first, second):
        assert done.returncode == 0, done.stderr
        paths = done.stdout.split()
        assert len(paths) == 2
        assert all((tmp_path / path).is_file() for path in paths)
    assert server.billed == {"a cat": 1, "a dog": 1}
    assert "2 done (2 from an earlier run); 0 images" in second.stderr


def test_a_gallery_is_written_beside_the_images(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\nrefuse me\n")
    done = run("batch", "prompts.txt", "--out", "images", "--gallery")
    assert "gallery: images/index.html" in done.stderr
    page = (tmp_path / "images" / "index.html").read_text()
    assert done.stdout.split()[0].removeprefix("images/") in page
    assert "refuse me" in page


def test_a_batch_has_generations_and_edits_with_ids_and_templates(
    run: Run, server: BillingServer, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(2, 2))
    lines = [{"sku": 1, "name": "cat"}, {"sku": 2, "name": "dog", "image": "a.png"}]
    text = "\n".join(map(json.dumps, lines))
    options = ("--format", "jsonl", "--prompt", "photo of {name}", "--id-column", "sku")
    done = run("batch", "-", "--out", "{id}.{ext}", *options, "--model", "gpt-image-2", stdin=text)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["1.png", "2.png"]
    assert sorted(server.asked) == ["", "photo of cat"]  # both are under way at once


def test_invalid_lines_are_reported_with_their_numbers_before_any_request(
    run: Run, server: BillingServer, tmp_path: Path
) -> None:
    ids = ("line 3: line 2 has the id '1', too", "line 4: there is no 'sku'")
    for name, lines, options, texts in (
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "b", "model": "dall-e-3", "n": 2}\n', (), ("line 2: ",)),
        ("a.csv", "prompt,sku\na,1\nb,1\nc,\n", ("--id-column", "sku"), ids),
        ("edits.csv", "image,prompt\nnone.png,a pool\n", (), ("line 2: ", "none.png")),
        ("odd.jsonl", ODD_LINES, (), tuple(f"line {number}: " for number in range(2, 10))),
    ):
        (tmp_path / name).write_text(lines)
        done = run("batch", name, "--out", "out", *options)
        assert done.returncode == 2
        assert all(text in done.stderr for text in texts), done.stderr
        assert "Traceback" not in done.stderr
    assert server.asked == []


def test_failed_jobs_have_an_exit_code_and_a_line_each(
    run: Run, server: BillingServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\nrefuse me\nbreak me\n")
    done = run("batch", "prompts.txt", "--out", "images", "--json")
    assert done.returncode == 3
    facts = {line["place"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert [facts[place]["status"] for place in range(3)] == ["done", "refused", "unknown"]
    assert facts[1]["error"]["type"] == "ModerationError"
    assert "line 2 (" in done.stderr
    assert "1 done, 1 refused, 1 unknown" in done.stderr
    again = run("batch", "prompts.txt", "--out", "images", "--retry-unknown")
    assert again.returncode == 3
    assert server.billed["break me"] == 2
    assert server.billed["a cat"] == 1


@pytest.mark.parametrize(
    ("prompts", "code"),
    [
        ("a cat\nrefuse me\nrefuse it\n", 5),
        ("deny me\n", 4),
        ("refuse me\ndeny me\n", 3),
        ("refuse me\nbreak me\n", 3),
        ("a cat\n", 0),
    ],
)
def test_jobs_that_share_a_reason_give_a_batch_the_exit_code_of_that_reason(
    run: Run, tmp_path: Path, prompts: str, code: int
) -> None:
    (tmp_path / "prompts.txt").write_text(prompts)
    done = run("batch", "prompts.txt", "--out", "images", "--concurrency", "1")
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize(
    ("prompt", "code", "text"),
    [("deny me", 4, "Incorrect API key"), ("owe 1", 6, "exceeded your current quota")],
)
def test_an_answer_that_every_job_would_get_ends_a_batch_with_the_exit_code_of_that_error(
    run: Run,
    server: BillingServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prompt: str,
    code: int,
    text: str,
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.01)
    (tmp_path / "prompts.txt").write_text(f"{prompt}\n" * 9)
    ended = run("batch", "prompts.txt", "--out", "images", "--concurrency", "1")
    assert (ended.returncode, len(server.asked)) == (code, 2)
    assert "To resume: imagesdk batch prompts.txt" in ended.stderr
    assert text in ended.stderr.splitlines()[-1]
    server.asked.clear()
    never = run("batch", "prompts.txt", "--out", "images", "--concurrency", "1", "--stop-on", "never")
    assert (never.returncode, len(server.asked)) == (code, 9)


def test_a_batch_ends_after_a_number_of_failures(run: Run, server: BillingServer, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"break {n}\n" for n in range(9)))
    done = run("batch", "prompts.txt", "--out", "images", "--concurrency", "1", "--max-failures", "2")
    assert (done.returncode, len(server.asked)) == (3, 2)
    assert "Give a higher --max-failures" in done.stderr
    assert "To resume: imagesdk batch" in done.stderr


def test_a_batch_gives_up_if_the_server_is_away_for_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.01)
    (tmp_path / "prompts.txt").write_text("".join(f"{n}\n" for n in range(9)))
    command = ("batch", "prompts.txt", "--out", "images", "--give-up-after", "0.02")
    done = run_command(command, folder=tmp_path, environment=environment_of("http://127.0.0.1:9/v1"))
    assert done.returncode == 1
    assert b"Give a longer --give-up-after" in done.stderr


def test_a_budget_with_the_quality_auto_is_explained_before_and_after(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n")
    options = ("--model", "gpt-image-2", "--budget", "0.5")
    done = run("--emulator", "batch", "prompts.txt", "--out", "images", *options)
    advice = "Give --quality low, medium or high to reserve less."
    assert "Quality auto may cost up to $0.72 a job" in done.stderr
    assert 'may cost up to $0.72 because quality is "auto", but only $0.50 of the $0.50 budget' in done.stderr
    assert done.stderr.count(advice) == 2


def test_a_file_that_is_gone_is_missing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n")
    [path] = run("batch", "prompts.txt", "--out", "images").stdout.split()
    (tmp_path / path).unlink()
    done = run("batch", "prompts.txt", "--out", "images")
    assert done.returncode == 3
    assert "0 done, 1 missing" in done.stderr
    assert "--retry-unknown" in done.stderr


def test_a_quiet_batch_prints_its_errors_and_nothing_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n" + "refuse me\n" * 7)
    done = run("batch", "prompts.txt", "--out", "images", "-q")
    lines = done.stderr.splitlines()
    assert len(lines) == 6
    assert all(
        re.match(r"imagesdk: (line \d \([\w-]+\) refused|and 2 more: refused): ", line) for line in lines
    )
    (tmp_path / "good.txt").write_text("a cat\n")
    assert run("batch", "good.txt", "--out", "images", "-q").stderr == ""


def test_a_maybe_billed_job_is_repeated_with_delivery_at_least_once(
    run: Run, server: BillingServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\nspoil 2 me\n")
    done = run("batch", "prompts.txt", "--out", "images", "--delivery", "at-least-once")
    assert done.returncode == 0, done.stderr
    assert server.billed == {"a cat": 1, "spoil 2 me": 3}


def test_a_dry_run_counts_and_prices_and_sends_nothing(
    run: Run, server: BillingServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a\n" * 120)
    done = run("batch", "prompts.txt", "--out", "out", "--dry-run", "--limit", "50/min", *CHEAP)
    assert done.returncode == 0, done.stderr
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["jobs"] == "120"
    assert facts["cost"] == "$1.9200"
    assert "2 min 0 s to send" in done.stdout
    assert server.asked == []
    assert not (tmp_path / "out").exists()


def test_a_batch_stops_at_its_budget(run: Run, server: BillingServer, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    done = run("batch", "prompts.txt", "--out", "out", "--budget", "0.04 USD", *CHEAP)
    assert done.returncode == 3
    assert "2 done, 1 failed" in done.stderr
    assert len(server.asked) == 2


def test_the_log_lists_jobs_states_and_cost(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\nbreak me\n")
    run("batch", "prompts.txt", "--out", "images", *CHEAP)
    shown = run("log", "images")
    assert shown.returncode == 0, shown.stderr
    assert "1 done, 1 unknown; at least $0.016" in shown.stderr
    assert any(line.startswith("done") and "a cat" in line for line in shown.stdout.splitlines())
    exported = run("log", "images/journal.db", "--json", "--state", "done")
    [facts] = map(json.loads, exported.stdout.splitlines())
    assert facts["parameters"]["prompt"] == "a cat"
    assert (tmp_path / facts["paths"][0]).is_file()
    missing = run("log", "nowhere.db")
    assert missing.returncode == 1
    assert "nowhere.db" in missing.stderr


def test_the_log_prints_no_control_characters(run: Run, tmp_path: Path) -> None:
    run("batch", "-", "--out", "images", "--format", "jsonl", stdin=json.dumps("a \x1b[2J\x07 cat"))
    shown = run("log", "images")
    assert "a �[2J� cat" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_an_unknown_cost_is_shown_as_unknown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n")
    done = run("batch", "prompts.txt", "--out", "images", "--model", "sd-cpp-local")
    assert "1 done; 1 image in 0 s, cost unknown" in done.stderr
    assert run("log", "images").stderr == "1 done; cost unknown\n"


def test_a_dry_run_needs_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\n")
    arguments = ["batch", str(file), "--out", str(tmp_path / "out")]
    assert cli.run([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("jobs ")
    assert cli.run(arguments) == 2
    assert "Set OPENAI_API_KEY." in capsys.readouterr().err


@pytest.mark.parametrize("streams", ["stdout", "both"])
def test_a_closed_pipe_ends_the_run_after_the_jobs_that_were_sent(
    run: Run, server: BillingServer, tmp_path: Path, environment: dict[str, str], streams: str
) -> None:
    (tmp_path / "prompts.txt").write_text("a\nhold 1\nhold 2\n" + "b\n" * 10)
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "imagesdk", "batch", "prompts.txt", "--out", "images", "--concurrency", "2"],
        cwd=tmp_path,
        env=environment,
        stdout=writing,
        stderr=writing if streams == "both" else subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    with process:
        assert server.arrived.wait(30)
        if process.stderr is not None:
            assert "waiting for the jobs that were sent" in process.stderr.readline()
        server.released.set()
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 141
    assert "waiting for the jobs that were sent" not in (rest or "")
    entries = run("log", "images", "--json").stdout.splitlines()
    states = Counter(json.loads(entry)["state"] for entry in entries)
    assert states["done"] == len(server.asked)
    assert set(states) <= {"done", "planned"}
    if streams == "stdout":
        assert len(server.asked) <= 3


class Interrupted:
    """A running batch to interrupt."""

    def __init__(
        self, tmp_path: Path, environment: dict[str, str], server: BillingServer, *options: str
    ) -> None:
        (tmp_path / "prompts.txt").write_text("hold 1\nhold 2\n" + "a\n" * 10)
        program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        program += "[signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)]; "
        program += "import sys; from imagesdk.__main__ import main; sys.exit(main())"
        arguments = ["batch", "prompts.txt", "--out", "my images", "--concurrency", "2", *options]
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        server.wait_until(lambda: {"hold 1", "hold 2"} <= set(server.asked))

    def interrupt(self, number: int = signal.SIGINT) -> str:
        """Send a signal, and return the lines that the program prints."""
        self._process.send_signal(number)
        assert self._process.stderr is not None
        return self._process.stderr.readline() + self._process.stderr.readline()

    def end(self) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=30)
        return self._process.returncode, out, err


def test_ctrl_c_waits_for_the_sent_jobs_and_prints_how_to_resume(
    run: Run, server: BillingServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = Interrupted(tmp_path, environment, server)
    assert "Ctrl-C again to abort" in program.interrupt()
    server.released.set()
    code, out, err = program.end()
    assert code == 130
    assert len(out.splitlines()) <= 2
    assert "To resume: imagesdk batch prompts.txt --out 'my images' --concurrency 2" in err.splitlines()[-1]
    done = run("batch", "prompts.txt", "--out", "my images", "--concurrency", "2")
    assert done.returncode == 0, done.stderr
    assert server.billed.total() == 12


def test_a_second_ctrl_c_aborts_immediately(
    run: Run, server: BillingServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = Interrupted(tmp_path, environment, server)
    program.interrupt()
    assert "To resume: " in program.interrupt()
    code, out, _ = program.end()
    assert (code, out) == (130, "")
    server.released.set()
    done = run("batch", "prompts.txt", "--out", "my images")
    assert done.returncode == 3
    assert "unknown" in done.stderr
    assert max(server.billed[f"hold {n}"] for n in (1, 2)) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_termination_waits_for_the_sent_jobs_and_prints_how_to_resume(
    run: Run, server: BillingServer, tmp_path: Path, environment: dict[str, str], number: int, code: int
) -> None:
    program = Interrupted(tmp_path, environment, server)
    assert "waiting for the jobs that were sent, for 20 s at most; send a second signal" in program.interrupt(
        number
    )
    server.released.set()
    ended, out, err = program.end()
    assert ended == code
    assert err.splitlines()[-1] == "To resume: imagesdk batch prompts.txt --out 'my images' --concurrency 2"
    assert len(out.splitlines()) == len(server.asked) <= 3
    assert run("batch", "prompts.txt", "--out", "my images").returncode == 0
    assert server.billed.total() == 12


def test_the_end_of_the_grace_cancels_the_jobs_and_keeps_them_in_the_journal(
    run: Run, server: BillingServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = Interrupted(tmp_path, environment, server, "--grace", "0.1")
    assert "for 0.1 s at most" in program.interrupt(signal.SIGTERM)
    code, out, err = program.end()
    assert (code, out) == (143, "")
    assert "To resume: imagesdk batch" in err.splitlines()[-1]
    server.released.set()
    again = run("batch", "prompts.txt", "--out", "my images")
    assert "10 done, 2 unknown" in again.stderr
    assert server.billed.total() == 12

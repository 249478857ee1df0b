"""Signals of a batch: what the first one, the second one and the end of the grace do."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from imagesdk.cli.batch import JobList
from imagesdk.cli.exits import try_print
from imagesdk.cli.interruption import Interrupted, handle_signals
from tests.support.commands import environment_of, run_command


@define
class RunOfJobs:
    stops: int = 0

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    """Have no signal ignored, as SIGHUP is below ``nohup`` and SIGINT in background jobs of a shell."""
    usual = {signal.SIGINT: signal.default_int_handler}
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, usual.get(number, signal.SIG_DFL)) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("first", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_the_first_signal_stops_the_run_and_the_second_cancels_its_jobs(first: str, second: str) -> None:
    run, number = RunOfJobs(), getattr(signal, first)
    before = [signal.getsignal(getattr(signal, name)) for name in ("SIGTERM", "SIGINT", "SIGHUP")]
    with handle_signals(900) as interruption:
        interruption.watch(run)
        signal.raise_signal(number)
        assert run.stops == 1
        with pytest.raises(Interrupted):
            signal.raise_signal(getattr(signal, second))
    assert (run.stops, interruption.exit_code) == (1, 128 + number)
    assert [signal.getsignal(getattr(signal, name)) for name in ("SIGTERM", "SIGINT", "SIGHUP")] == before


def test_a_termination_starts_a_timer_that_ctrl_c_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[Any, ...]] = []

    def setitimer(*timer: Any) -> None:
        timers.append(timer)

    monkeypatch.setattr(signal, "setitimer", setitimer)
    for name, started in (("SIGINT", []), ("SIGTERM", [(signal.ITIMER_REAL, 7), (signal.ITIMER_REAL, 0)])):
        timers.clear()
        with handle_signals(7) as interruption:
            interruption.watch(RunOfJobs())
            signal.raise_signal(getattr(signal, name))
        assert timers == started


@pytest.mark.parametrize(("quiet", "text"), [(False, "waiting for the jobs that were sent"), (True, "")])
def test_the_first_signal_says_what_it_waits_for_unless_the_command_is_quiet(
    capfd: pytest.CaptureFixture[str], quiet: bool, text: str
) -> None:
    with handle_signals(900, quiet=quiet) as interruption:
        interruption.watch(RunOfJobs())
        signal.raise_signal(signal.SIGINT)
    shown = capfd.readouterr().err
    assert text in shown
    assert bool(shown) is not quiet


def test_without_a_grace_a_termination_cancels_at_once() -> None:
    with handle_signals(0) as interruption:
        interruption.watch(RunOfJobs())
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


def test_a_signal_before_the_run_has_begun_ends_the_command() -> None:
    with handle_signals(900) as interruption, pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    assert interruption.exit_code == 143


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_signals(900) as interruption:
            interruption.watch(RunOfJobs())
            signal.raise_signal(signal.SIGHUP)
            assert interruption.signal is None
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_a_terminal_that_hung_up_is_a_reader_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def write() -> None:
        raise OSError(number, "gone")

    def discard(_: object) -> None:
        pass

    monkeypatch.setattr("imagesdk.cli.exits._discard_output", discard)
    assert not try_print(sys.stderr, write)


def test_a_signal_while_the_jobs_are_checked_has_the_same_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n")

    def check(_: JobList) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(JobList, "check", check)
    command = ("batch", "prompts.txt", "--out", "images")
    done = run_command(command, folder=tmp_path, environment=environment_of("http://127.0.0.1:9/v1"))
    assert (done.returncode, done.stderr) == (143, b"To resume: imagesdk batch prompts.txt --out images\n")

"""Notices of calls that wait for the rate limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, field

from imagesdk.cli.waiting import NOTICE_AFTER, WaitNotices
from imagesdk.events import AttemptStarted, LimitWaiting, ResponseReceived, RetryScheduled
from tests.support.billing_server import billing_server
from tests.support.commands import environment_of, run_command

WAITS = LimitWaiting("a", 1, 0, 42.4, "room in the rate limit of 50 images / 60 s")
REFUSED = RetryScheduled("a", 1, 0.0, "RateLimitError", maybe_billed=False)
SENT = AttemptStarted("a", "POST", "/images", 1)
WAITING = "waiting about 42 s for room in the rate limit of 50 images / 60 s"


def response(status: int) -> ResponseReceived:
    return ResponseReceived("a", 1, status, None, 0.1)


@define(eq=False)
class Timers:
    """Timers that end when a test says so."""

    now: float = 0.0
    open: list[tuple[float, Callable[[], None]]] = field(factory=list[tuple[float, Callable[[], None]]])

    def make(self, seconds: float, function: Callable[[], None]) -> ManualTimer:
        return ManualTimer(self, (self.now + seconds, function))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.open if timer[0] <= self.now]
        self.open = [timer for timer in self.open if timer not in due]
        for _, function in due:
            function()


@define(eq=False)
class ManualTimer:
    timers: Timers
    timer: tuple[float, Callable[[], None]]

    def start(self) -> None:
        self.timers.open.append(self.timer)

    def cancel(self) -> None:
        if self.timer in self.timers.open:
            self.timers.open.remove(self.timer)


@define(eq=False)
class Notices:
    timers: Timers = field(factory=Timers)
    texts: list[str] = field(factory=list[str])

    def observer(self) -> WaitNotices:
        return WaitNotices(self.texts.append, timer=self.timers.make, clock=lambda: self.timers.now)


def test_a_wait_is_reported_after_three_seconds() -> None:
    notices = Notices()
    notices.observer()(WAITS)
    notices.timers.advance(NOTICE_AFTER - 0.1)
    assert notices.texts == []
    notices.timers.advance(0.2)
    assert notices.texts == [WAITING]
    assert NOTICE_AFTER == 3.0


@pytest.mark.parametrize("end", [SENT, response(200), response(500)])
def test_a_wait_that_ends_before_is_not_reported(end: AttemptStarted | ResponseReceived) -> None:
    notices = Notices()
    observer = notices.observer()
    observer(WAITS)
    observer(end)
    notices.timers.advance(100)
    assert notices.texts == []


def test_a_server_that_refuses_again_and_again_is_reported() -> None:
    notices = Notices()
    observer = notices.observer()
    for _ in range(8):
        observer(SENT)
        observer(response(429))
        observer(REFUSED)
        notices.timers.advance(1)
    assert notices.texts == ["waiting for the rate limit: the server refused the request (429)"]


def test_the_waits_of_a_batch_are_reported_once_a_minute() -> None:
    notices = Notices()
    observer = notices.observer()
    for job in range(30):
        observer(LimitWaiting(str(job), 1, 0, 42.4, "room in the rate limit of 50 images / 60 s"))
        notices.timers.advance(5)
        observer(AttemptStarted(str(job), "POST", "/images", 1))
    assert notices.texts == [WAITING] * 3


def test_nothing_is_reported_after_the_command_has_ended() -> None:
    notices = Notices()
    observer = notices.observer()
    observer(WAITS)
    observer.close()
    notices.timers.advance(100)
    assert notices.texts == []


@pytest.mark.parametrize("quiet", [False, True])
def test_a_command_reports_its_wait_on_stderr_unless_it_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    class Expired:
        daemon = False

        def __init__(self, _: float, function: Callable[[], None]) -> None:
            self.start = function

        def cancel(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Expired)
    with billing_server() as server:
        command = ("generate", "busy 1", *(["-q"] if quiet else []))
        done = run_command(command, folder=tmp_path, environment=environment_of(server.base_url))
    assert done.returncode == 0, done.stderr
    notice = b"imagesdk: waiting for the rate limit: the server refused the request (429)\n"
    assert done.stderr == (b"" if quiet else notice)

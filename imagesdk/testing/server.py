"""View of a test on its emulator: what was asked, what goes wrong next, how time passes, and the verdict."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Mapping
from datetime import date
from typing import TYPE_CHECKING, Unpack, cast

from attrs import define, field

from imagesdk.emulator.fault_words import FaultWords, make_fault

if TYPE_CHECKING:
    from imagesdk.emulator import Emulator, EmulatorOptions
    from imagesdk.emulator.faults import FaultTarget
    from imagesdk.emulator.log import RequestRecord
    from imagesdk.emulator.verdict import Verdict

__all__ = ["Expectation", "ImageServer"]

_numbers = itertools.count(1)


@define
class Expectation:
    """Requests that a test expects."""

    path: str
    """End of the path, such as ``/images/generations``."""
    parameters: Mapping[str, object]
    """Values of parameters. A compiled pattern is searched for in the value."""
    times: int
    requests: list[RequestRecord] = field(factory=list["RequestRecord"], init=False)
    """Requests that arrived."""

    def matches(self, record: RequestRecord) -> bool:
        """Return whether a request is one of those that are expected."""
        return record.path.endswith(self.path) and all(
            _equals(wanted, record.prompt if name == "prompt" else record.parameters.get(name))
            for name, wanted in self.parameters.items()
        )

    def __str__(self) -> str:
        details = ", ".join(f"{name}={_shown(value)}" for name, value in self.parameters.items())
        return f"POST ...{self.path} {details}".rstrip()


class ImageServer:
    """Server of the Images API for one test."""

    def __init__(self, emulator: Emulator, options: Mapping[str, object]) -> None:
        chosen = dict(options)
        self._strict = bool(chosen.pop("strict", False))
        self._judged = bool(chosen.pop("verdict", False))
        self._ignored = tuple(cast("tuple[str, ...]", chosen.pop("ignore", ())))
        if isinstance(chosen.get("as_of"), str):
            chosen["as_of"] = date.fromisoformat(str(chosen["as_of"]))
        emulator.reset(**cast("EmulatorOptions", {"limit": None, **chosen}))
        self.emulator = emulator
        """The emulator, with its whole state."""
        self.key = f"sk-emulator-{next(_numbers)}"
        """API key of this test. Rate limits of clients belong to a key, so each test has a new one."""
        self.limit = str(chosen.get("limit") or "none")
        """Rate limit, such as ``5/min`` or ``none``."""
        self._expected: list[Expectation] = []

    @property
    def url(self) -> str:
        """Base URL for a client."""
        return self.emulator.base_url

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return self.emulator.origin

    @property
    def requests(self) -> list[RequestRecord]:
        """Requests of the test, oldest first: parameters, images as facts, response, and what was billed."""
        self.emulator.settle()
        return list(self.emulator.state.requests)

    @property
    def billed_images(self) -> int:
        """Number of images that were billed."""
        return self.emulator.state.billed_images

    def fail_next(
        self,
        what: int | str | None = None,
        *,
        times: int = 1,
        on: FaultTarget = "images",
        **words: Unpack[FaultWords],
    ) -> None:
        """Make the next request fail.

        ```python
        image_server.fail_next(429, retry_after=1)
        image_server.fail_next("reset_after_work")
        image_server.fail_next("cut", after_events=1)
        image_server.fail_next(drop=True, after_work=True, times=2)
        ```

        Args:
            what: HTTP status, the name of an error such as ``insufficient_quota``, or of a fault: ``reset``,
                ``reset_after_work``, ``truncated``, ``cut``, ``end_early``, ``stream_error``, ``slow``, ``hang``,
                ``garbage`` or ``plain``. ``None`` if the words say everything.
            times: Number of requests that fail.
            on: Kind of request: ``images``, ``downloads``, ``files``, and others of the emulator's faults.
            words: Details: ``retry_after``, ``drop``, ``after_work``, ``delay``, ``after_events`` and others.

        Raises:
            ValueError: If the fault would have no effect, or a name is not known.
        """
        self.emulator.state.faults.add(make_fault(what, **words), on, times)

    def advance(self, seconds: float) -> None:
        """Let time pass on the server: limits refill, URLs and files expire, batches work.

        Raises:
            ValueError: If ``seconds`` is negative or not finite.
        """
        self.emulator.advance(seconds)

    def expect(
        self, path: str = "/images/generations", *, times: int = 1, **parameters: object
    ) -> Expectation:
        """Expect requests, so that the test fails if they do not arrive.

        With ``strict=True`` in the marker, the test also fails if another request arrives.

        Args:
            path: End of the path.
            times: Number of requests.
            parameters: Values of parameters. A compiled pattern is searched for in the value.
        """
        expectation = Expectation(path, parameters, times)
        self._expected.append(expectation)
        return expectation

    def verdict(self, *, ignore: Container[str] = ()) -> Verdict:
        """Return what the requests so far show about the client. It is false if something was found.

        Args:
            ignore: Names of rules that do not count, such as ``billed-twice``.
        """
        self.emulator.settle()
        return self.emulator.state.verdict(ignore=ignore)

    def problems(self) -> str | None:
        """Return why the test fails although its function passed; ``None`` if it does not."""
        unexpected = self._match()
        found = [
            f"expected {one.times} and got {len(one.requests)} of: {one}"
            for one in self._expected
            if len(one.requests) != one.times
        ]
        if self._strict:
            unused = [f"{name} ({on})" for on, name in self.emulator.state.faults.queued()]
            found += [f"a fault was not used: {one}" for one in unused]
            found += [
                f"a request was not expected: {one.method} {one.path}"
                + ("" if one.prompt is None else f" prompt={_shown(one.prompt)}")
                for one in unexpected
            ]
        if self._judged:
            verdict = self.verdict(ignore=self._ignored)
            found += [] if verdict.ok else [str(verdict)]
        return "\n".join(["image_server:", *found]) if found else None

    def _match(self) -> list[RequestRecord]:
        """Give each request to an expectation, and return those that were not expected."""
        for expectation in self._expected:
            expectation.requests.clear()
        unexpected: list[RequestRecord] = []
        for record in self.requests:
            if not record.expected:
                unexpected.append(record)
            if record.method != "POST" or not self._expected:
                continue
            fitting = [one for one in self._expected if one.matches(record)]
            open_ones = [one for one in fitting if len(one.requests) < one.times]
            for one in (open_ones or fitting)[:1]:
                one.requests.append(record)
            if not fitting and record.expected:
                unexpected.append(record)
        return unexpected


def _equals(wanted: object, given: object) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(given, str) and cast("re.Pattern[str]", wanted).search(given) is not None
    # A form has text alone.
    return wanted == given or (given is not None and str(wanted) == given)


def _shown(value: object) -> str:
    return repr(cast("re.Pattern[str]", value).pattern if isinstance(value, re.Pattern) else value)

"""Recordings of real exchanges for tests: made once, and replayed without any call."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

from imagesdk.emulator.recorder import Recorder
from imagesdk.emulator.recordings import Recording
from imagesdk.emulator.server import BackgroundServer

__all__ = ["RecordMode", "recorded"]

RecordMode: TypeAlias = Literal["once", "never", "always"]
_OPENAI = "https://api.openai.com/v1"
_URLS = ("OPENAI_BASE_URL", "OPENAI_API_BASE")


class recorded:  # noqa: N801 - used like a function
    """Record the exchanges of a block with the API in a file, or replay them if the file exists.

    ```python
    with recorded("tests/recordings/otter.json"):
        client = openai.OpenAI()  # finds the recorder in OPENAI_BASE_URL
    ```

    The file has no keys and no signed URLs. An image is kept as its hash, format and size, and is drawn anew when it is
    replayed. A request that is not in the file is answered with an error and never sent, and the block ends with an
    :class:`AssertionError`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, upstream: str | None = None, mode: RecordMode | None = None
    ) -> None:
        """Prepare a recording.

        Args:
            path: The file.
            upstream: Base URL of the API to record. The default is ``OPENAI_BASE_URL``, or OpenAI's.
            mode: ``"once"`` records if the file does not exist, ``"always"`` replaces it, and ``"never"`` requires it. The
                default is ``IMAGESDK_RECORD``, or ``"once"``.

        Raises:
            ValueError: If ``mode`` is not one of the three.
        """
        chosen = mode or os.environ.get("IMAGESDK_RECORD", "once")
        if chosen not in {"once", "never", "always"}:
            raise ValueError(f"mode is once, never or always, not {chosen!r}")
        self.path = Path(path)
        self.url = ""
        """Base URL for clients, inside the block."""
        self.replays = chosen == "never" or (chosen == "once" and self.path.exists())
        """Whether the file is replayed, so that nothing is sent."""
        self._upstream = upstream
        self._environment: dict[str, str | None] = {}

    def __enter__(self) -> Self:
        upstream = self._upstream or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        recording = Recording(self.path)
        if self.replays:
            recording.load()
        self._recorder = Recorder(recording, None if self.replays else upstream)
        self._server = BackgroundServer(self._recorder)
        self._server.start()
        path = upstream.partition("://")[2].partition("/")[2].rstrip("/")
        self.url = f"http://127.0.0.1:{self._server.port}/{path}"
        settings = dict.fromkeys(_URLS, self.url)
        proxied = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"]))
        settings |= {"NO_PROXY": proxied, "no_proxy": proxied}
        if self.replays:
            settings |= {"OPENAI_API_KEY": "sk-recorded", "IMAGESDK_RATE_LIMIT": "none"}
        self._environment = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._server.stop()
        problems = self._recorder.problems
        if problems and error is None:
            raise AssertionError("\n".join(["recorded():", *problems]))
        for problem in problems:
            if error is not None:
                error.add_note(problem)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

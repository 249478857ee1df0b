"""An attempt whose response is a file that is read piece by piece, such as the output of a batch."""

from __future__ import annotations

import anyio

from imagesdk._engine.attempt import Attempt
from imagesdk._engine.call import Result
from imagesdk._engine.config import EngineConfig, EngineShared
from imagesdk._engine.response import DecompressedBody, reason_of
from imagesdk._engine.state import CallState
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.scanner import ScanError
from imagesdk._protocol.secret import Secret
from imagesdk._transport.exchange import TransportError, WireResponse
from imagesdk.errors import APIConnectionError

IDLE_SECONDS = 60.0
"""Time for the next piece of a file. A whole file may take as long as it needs."""


class BodyAttempt(Attempt[None]):
    """One attempt that asks for a file. It stays open from the head of the response until :meth:`aclose`."""

    stays_open = True

    def __init__(self, shared: EngineShared, config: EngineConfig, state: CallState[None]) -> None:
        super().__init__(shared, config, state)
        self._chunks: DecompressedBody | None = None

    @property
    def status(self) -> int | None:
        """The status of the response."""
        return self._reader.status

    @property
    def key(self) -> Secret:
        """The key that the request carried. A server may have put it into the file."""
        return self._reader.key

    async def read(self) -> bytes | None:
        """Return the next piece, or ``None`` at the end.

        Raises:
            APIConnectionError: If the download breaks off.
        """
        assert self._chunks is not None  # noqa: S101 - the attempt succeeded
        reader = self._reader
        try:
            with anyio.fail_after(IDLE_SECONDS):
                return await anext(self._chunks)
        except StopAsyncIteration:
            status = reader.status or 0
            self.result = Result(None, reader.headers, self._sink, self._number, False, status)
            return None
        except TimeoutError:
            reason = f"nothing came for {IDLE_SECONDS:.0f} s"
        except TransportError as error:
            reason = reason_of(error, reader.key)
        except ScanError as problem:
            reason = str(problem)
        broken = APIConnectionError(f"The download broke off ({reason}).", request_id=reader.request_id)
        self.failure = Failure(broken, "never_sent")
        raise self._state.annotate(broken)

    async def _receive(self, response: WireResponse) -> None:
        if not self._reader.succeeded:
            await super()._receive(response)
            return
        self._chunks = self._open_chunks(response)

    async def _conclude(self) -> Failure | None:
        if self._chunks is None:
            return await super()._conclude()
        self._was_answered = True
        return None

"""Who is connected to a server, for tests of what clients leave behind."""

from __future__ import annotations

import anyio
from attrs import define, field

from tests.support.socket_servers import Conversation, Handler


@define(eq=False)
class OpenConnections:
    """The connections of a server that are open, as far as it knows."""

    numbers: set[int] = field(factory=set[int])
    _changed: anyio.Event = field(factory=anyio.Event)

    def counted(self, handler: Handler) -> Handler:
        """Return a handler whose connections are counted while ``handler`` has them."""

        async def count(talk: Conversation) -> None:
            self._change(self.numbers | {talk.number})
            try:
                await handler(talk)
            finally:
                self._change(self.numbers - {talk.number})

        return count

    async def number(self, expected: int) -> None:
        """Return when so many are open."""
        while len(self.numbers) != expected:
            await self._changed.wait()

    def _change(self, numbers: set[int]) -> None:
        self.numbers = numbers
        self._changed.set()
        self._changed = anyio.Event()

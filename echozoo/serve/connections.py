"""Connections that wait for a request no longer than they have to."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 30.0
"""From a connection, or the last answer on it, to the end of the next request's head."""


class ImpatientProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for the rest of half a request for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client connects."""
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        """An answer has been given."""
        super().on_response_complete()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._deadline.cancel()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

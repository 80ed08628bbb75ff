"""Connections that say nothing, or a request too slowly to be one, are closed. Of uvicorn."""

from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def protocol(seconds: float) -> type[H11Protocol]:
    """What uvicorn speaks HTTP with; seconds: that the head of a request may take, from the connection on."""

    class Protocol(H11Protocol):
        _timer = None

        def connection_made(self, transport):
            super().connection_made(transport)
            self._begun = False  # whether anything of a request has come
            self._expect()

        def data_received(self, data):
            self._begun = True
            if self._between() and self._timer is None:
                self._expect()
            super().data_received(data)
            if not self._between():
                self._forget()

        def connection_lost(self, exc):
            self._forget()
            super().connection_lost(exc)

        def _between(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _expect(self):
            self._timer = self.loop.call_later(seconds, self._late)

        def _forget(self):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self):
            self._timer = None
            if self._between() and not self.transport.is_closing():
                if self._begun:
                    self.transport.write(LATE)
                self.transport.close()

    return Protocol

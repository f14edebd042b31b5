"""Connections that cannot be held, or made to keep more and more, by a client that does not behave."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lob_jax.serving.config import Limits

LOOKS = 4  # at what a reader has left, in the time after which one that takes nothing is given up
SEND_BYTES = 1 << 18  # that the system keeps for a slow reader; by itself it keeps megabytes
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Watched(asyncio.Protocol):
    """A connection that is closed at once if its client takes nothing of what is written.

    It looks several times before it judges: the first look after a time in which the server itself was held up finds
    everything where it was, however fast the client reads.

    Attributes:
      limits: how long a client may take nothing.
    """

    limits: ClassVar[Limits]
    loop: asyncio.AbstractEventLoop
    transport: Any
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for the reader."""
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop waiting for the reader; what is being closed is still to be taken."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watching()

    def _watch_reader(self, looks: int = LOOKS) -> None:
        self._stop_watching()
        left = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.limits.stall_s / LOOKS, self._look_at_reader, left, looks - 1)

    def _look_at_reader(self, before: int, looks: int) -> None:
        """Close at once if the client has taken nothing at the last of several looks; a slow one may go on."""
        if self.transport.get_write_buffer_size() < before:
            self._watch_reader()
        elif looks:
            self._watch_reader(looks)
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None


class Guarded(Watched, HttpToolsProtocol):
    """A connection that is closed if a request does not arrive in time, if its head is too large, or nobody reads.

    There are three clocks: of a head, of the rest of a request, and of what is written and not taken. The rest of a
    request has its own because a response may be complete before it, such as that to a client without a key.

    Attributes:
      limits: what is in time and too large, and how many connections there may be.
    """

    _head_bytes = 0
    _in_head = True
    _after_chunk = False  # whether trailers may follow, which nobody reads: they are counted as a head is
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._wait(self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head and of what may be trailers."""
        if self._in_head:
            self._wait(self.limits.header_s)
        if self._in_head or self._after_chunk:
            self._head_bytes += len(data)
        super().data_received(data)
        counted = self._in_head or self._after_chunk
        if counted and self._head_bytes > self.limits.header_bytes and not self.transport.is_closing():
            self.transport.write(HEAD_TOO_LARGE)
            self._close()

    def on_message_begin(self) -> None:
        """Begin with a head."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come after the body, are none."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End with the head, and begin to wait for the rest."""
        self._in_head, self._head_bytes = False, 0
        self._stop()
        self._wait(self.limits.header_s + self.limits.body_s)  # later than what reads the body, which says so
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Expect the content of a chunk, or after the last one trailers."""
        self._after_chunk, self._head_bytes = True, 0

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._after_chunk = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect another head."""
        self._stop()
        super().on_message_complete()
        self._in_head, self._after_chunk, self._head_bytes = True, False, 0

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to a WebSocket."""
        self._stop()
        super().handle_websocket_upgrade()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a request."""
        self._close()

    def _wait(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # by the server, which does not take more yet
            self._wait(self.limits.header_s)
        else:
            self._close()

    def _close(self) -> None:
        """Close in order, which waits until all is taken that was written."""
        if not self.transport.is_closing():
            self.transport.close()
            self._watch_reader()


class GuardedSocket(Watched, WebSocketsSansIOProtocol):
    """A WebSocket that can be closed at once, and is if its client answers no ping or takes no answers."""

    def handle_ping(self) -> None:
        """Answer a ping, without keeping more and more answers for a client that takes none."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > SEND_BYTES:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """End: a client that reads nothing would never take the end of a close in order."""
        super().keepalive_timeout()
        self.transport.abort()

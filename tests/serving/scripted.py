"""A server on a real socket that answers with what a test has written, and keeps what it was sent."""

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator


@dataclasses.dataclass
class Scripted:
    """A server whose answers are given, one per request; a piece that is None closes the connection.

    Attributes:
      port: its port.
      seen: the requests: head and body, as text.
    """

    port: int
    seen: list[str] = dataclasses.field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(status: int, body: str = "{}", *, kind: str = "application/json", **headers: str) -> bytes:
    """Return a complete answer; underscores in the names of headers are hyphens."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


def chunked(*parts: str, complete: bool = True) -> bytes:
    """Return an answer by server-sent events, with one chunk per part."""
    chunks = "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts) + ("0\r\n\r\n" if complete else "")
    return f"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}".encode()


def _serve(listening: socket.socket, answers: list[bytes], found: Scripted) -> None:
    left = list(answers)
    with contextlib.suppress(OSError):  # closed at the end of the test
        while True:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                while head := b"".join(iter(lines.readline, b"\r\n") if lines.peek(1) else ()).decode():
                    fields = (line.partition(":") for line in head.lower().splitlines())
                    size = next((int(value) for name, _, value in fields if name == "content-length"), 0)
                    found.seen.append(head + lines.read(size).decode())
                    connection.sendall(left.pop(0))
                    if not left or left[0] == b"":
                        del left[:1]
                        break


@contextlib.contextmanager
def scripted(*answers: bytes) -> Iterator[Scripted]:
    """Run a server; an empty answer after another one closes the connection behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Scripted(listening.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(listening, list(answers), found))
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()

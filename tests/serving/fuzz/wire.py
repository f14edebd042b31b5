"""Send requests as bytes, whatever they are, and judge what comes back."""

import contextlib
import dataclasses
import json
import random
import re
import socket
from typing import Any

from tests.serving.fuzz.mutations import Sent

TIMEOUT_S = 20.0  # the limits of the server under test end everything long before
MEDIA_TYPE = "application/problem+json"
OF_THE_INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|lob_jax[/.]\w|/(home|root|tmp|usr|work)/|\w+Error\b|0x[0-9a-f]{8}"
)
MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "request_id": str}


@dataclasses.dataclass
class Got:
    """What came back.

    Attributes:
      status: 0 if the connection was closed without an answer, -1 if nothing came in time.
      headers: by their names in lower case.
      body: what came before the connection was closed.
    """

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


def bytes_of(sent: Sent, draw: random.Random) -> bytes:
    """Return a request as it is sent; a complete one asks for the connection to be closed."""
    body = sent.body or b""
    named = {name.lower() for name, _ in sent.headers}
    lines = [*sent.headers, *([] if "connection" in named else [("Connection", "close")])]
    content = body
    if sent.framing in ("chunked", "torn"):
        lines.append(("Transfer-Encoding", "chunked"))
        content = _chunks(body, draw) if sent.framing == "chunked" else b"5\r\n" + body[:3] + b"\r\nzz\r\n"
    elif sent.body is not None or sent.framing != "length":
        announced = {"short": len(body) + 10, "long": max(0, len(body) - 1)}.get(sent.framing, len(body))
        lines.append(("Content-Length", str(announced)))
        if sent.framing == "both":
            lines.append(("Content-Length", str(len(body) + 1)))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{sent.method} {sent.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace") + content


def _chunks(body: bytes, draw: random.Random) -> bytes:
    found, at = b"", 0
    while at < len(body):
        size = draw.choice([1, 7, 1000, 100_000])
        found += b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size])
        at += size
    return found + b"0\r\n\r\n"


def exchanged(port: int, content: bytes) -> Got:
    """Send bytes on a connection of their own, and return what comes until the server closes it."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        try:
            with contextlib.suppress(ConnectionError):  # it is refused before all is sent; the answer may be there
                connection.sendall(content)
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(1 << 16):
                    parts.append(part)
        except TimeoutError:
            return Got(-1, {}, b"".join(parts))
    return parsed(b"".join(parts))


def parsed(content: bytes) -> Got:
    """Return an answer from its bytes."""
    while content.startswith(b"HTTP/1.1 100 "):
        content = content.partition(b"\r\n\r\n")[2]
    head, blank, body = content.partition(b"\r\n\r\n")
    if not blank:
        return Got(0, {}, content)
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n)", body, re.DOTALL))
    elif "content-length" in headers:
        body = body[: int(headers["content-length"])]
    return Got(int(first.split()[1]), headers, body)


def fault_of(sent: Sent, got: Got) -> str:
    """Return what is wrong with an answer; empty for nothing."""
    if got.status == -1:
        return "no answer in time"
    if got.status == 0:
        return "" if sent.broken else "no answer"
    if got.status >= 500 and got.status != 503 and not (got.status == 504 and b"deadline_s" in (sent.body or b"")):
        return f"status {got.status}"
    if got.status < 400 or sent.method == "HEAD":
        return ""
    if sent.broken and got.status in (400, 431) and got.headers.get("content-type") != MEDIA_TYPE:  # no HTTP was parsed
        return fault_of_text(got.body.decode("utf-8", "replace"))
    return fault_of_problem(got)


def fault_of_problem(got: Got) -> str:
    """Return what is wrong with an answer that has to be problem details."""
    if got.headers.get("content-type") != MEDIA_TYPE:
        return f"status {got.status} with {got.headers.get('content-type')}"
    try:
        members: dict[str, Any] = json.loads(got.body)
    except ValueError:
        return "a problem that is no JSON"
    odd = [name for name, kind in MEMBERS.items() if type(members.get(name)) is not kind]
    if odd or members["status"] != got.status:
        return f"a problem without {odd or 'its status'}"
    ours = {name: value for name, value in members.items() if name not in ("was", "errors")}  # these quote the client
    return fault_of_text(json.dumps(ours))


def fault_of_text(text: str) -> str:
    """Return what of the inside of the server a text shows."""
    found = OF_THE_INSIDE.search(text)
    return f"it shows {found[0]!r} in {text[:300]}" if found else ""

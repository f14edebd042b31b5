"""Requests as bytes on a socket, for clients that do not behave."""

import json
import socket
import urllib.parse


def connected(running, *, receive_bytes=None):
    """Return a socket of a server."""
    found = urllib.parse.urlsplit(running.listening.url)
    raw = socket.socket()
    if receive_bytes is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    raw.settimeout(30)
    raw.connect((found.hostname, found.port))
    return raw


def head(running, path, *lines, method="POST"):
    """Return the head of a request with a key."""
    first = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {running.key}\r\n"
    return (first + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


def post(running, path, body):
    """Return a request with a JSON body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(running, path, "content-type: application/json", f"content-length: {len(data)}") + data


def answer(raw):
    """Return the status and the body of a response whose connection closes after it."""
    data = b""
    while part := raw.recv(65_536):
        data += part
    first, _, rest = data.partition(b"\r\n")
    return int(first.split()[1]), rest.partition(b"\r\n\r\n")[2]

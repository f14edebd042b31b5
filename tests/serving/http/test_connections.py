"""Connections of clients that do not behave, of which some have no key."""

import base64
import socket
import time

import pytest

from tests.serving.http.conftest import HISTORY
from tests.serving.http.raw import answer, connected, head, post

CHUNKED = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
PING = bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125


def ended(raw):
    """Wait until a connection is closed, and return what came before."""
    data = b""
    try:
        while part := raw.recv(65_536):
            data += part
    except ConnectionResetError:
        pass
    return data


def open_connections(running):
    return len(running.listening._server.server_state.connections)


def wait_until(holds, seconds=20.0):
    limit = time.monotonic() + seconds
    while not holds() and time.monotonic() < limit:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("trailers", [b"a: b\r\n" * 40_000, b"a: " + b"b" * 200_000], ids=["many", "one"])
def test_trailers_are_bounded_as_heads_are(start, trailers):
    with connected(start(header_bytes=10_000)) as raw:
        raw.sendall(CHUNKED + b"0\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 401 ")
        for at in range(0, len(trailers), 4000):
            try:
                raw.sendall(trailers[at : at + 4000])
            except ConnectionError:
                return
        assert b"431" in ended(raw)


def test_trailers_are_no_headers(start):
    running = start()
    with connected(running) as raw:
        trailer = f"authorization: Bearer {running.key}\r\n".encode()
        raw.sendall(CHUNKED.replace(b"host: x", b"host: x\r\nconnection: close") + b"0\r\n" + trailer + b"\r\n")
        assert answer(raw)[0] == 401


def test_the_end_of_a_large_body_is_no_trailer(start):
    running = start(header_bytes=2000)
    with connected(running) as raw:
        content = ["content-type: application/json", "transfer-encoding: chunked", "connection: close"]
        raw.sendall(head(running, "/v1/predict", *content))
        for _ in range(30):
            raw.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        raw.sendall(b"2\r\n{}\r\n0\r\n\r\n")
        assert answer(raw)[0] == 422


@pytest.mark.parametrize("length", ["content-length: 100000", "transfer-encoding: chunked"])
def test_the_rest_of_a_request_that_is_answered_is_not_waited_for(start, length):
    with connected(start(header_s=0.2, body_s=0.2, keep_alive_s=60.0)) as raw:
        raw.sendall(f"POST /v1/predict HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 401 ")
        raw.setblocking(False)
        closed, limit = False, time.monotonic() + 20.0
        while not closed and time.monotonic() < limit:
            time.sleep(0.05)  # bytes come all the time
            try:
                raw.send(b"1\r\n \r\n")
                closed = raw.recv(1000) == b""
            except BlockingIOError:
                continue
            except ConnectionError:
                closed = True
        assert closed


def test_an_answer_that_nobody_takes_is_given_up(start):
    running = start(stall_s=0.5, keep_alive_s=1.0)
    raw = connected(running, receive_bytes=4096)
    raw.sendall(post(running, "/v1/generate", {"history": HISTORY, "paths": 20, "events": 1000}))
    assert wait_until(lambda: open_connections(running) == 1)
    assert wait_until(lambda: open_connections(running) == 0)
    raw.close()


def test_a_client_that_reads_slowly_gets_its_answer(start):
    running = start(stall_s=1.0, keep_alive_s=1.0)
    with connected(running, receive_bytes=4096) as raw:
        raw.sendall(post(running, "/v1/generate", {"history": HISTORY, "paths": 20, "events": 1000}))
        data, limit = b"", time.monotonic() + 3.0
        while time.monotonic() < limit:
            data += raw.recv(4096)
            time.sleep(0.01)
        data += ended(raw)
    size, _, body = data.partition(b"\r\n\r\n")
    assert len(body) == int(size.lower().partition(b"content-length: ")[2].split()[0])


@pytest.mark.parametrize("stream", [False, True])
def test_a_pause_of_the_server_is_not_one_of_its_reader(start, stream):
    """The reader has taken everything that was sent when the server goes on, and is not to be given up then."""
    running = start(stall_s=1.0, keep_alive_s=1.0)
    body = {"history": HISTORY, "paths": 20, "events": 1_000, "stream": stream}
    with connected(running, receive_bytes=1 << 16) as raw:
        raw.sendall(post(running, "/v1/generate", body))
        assert wait_until(lambda: running.stub.jobs and running.stub.jobs[0].done.is_set())
        time.sleep(0.3)  # what the system keeps for the reader is full, and its clock runs
        running.listening._loop.call_soon_threadsafe(time.sleep, 1.5)
        text = ended(raw)
    assert text.endswith(b"\r\n0\r\n\r\n" if stream else b"}")


def test_pings_whose_answers_nobody_takes_end_a_socket(start):
    running = start()
    path = f"/v1/sessions/{running.opened()}/live"
    key = base64.b64encode(bytes(16)).decode()
    upgrade = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", f"sec-websocket-key: {key}"]
    with connected(running, receive_bytes=4096) as raw:
        raw.sendall(head(running, path, *upgrade, method="GET"))
        assert raw.recv(12) == b"HTTP/1.1 101"
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(ConnectionError):
            for _ in range(400):  # 52 MB
                raw.sendall(PING * 1000)

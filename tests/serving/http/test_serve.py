"""The life of a server: limits of connections, the end in order, and signals."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from lob_jax.errors import InputError
from lob_jax.serving.http.keys import KeysFile, OneKey, add
from lob_jax.serving.http.serve import keys_of, listening_socket
from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import HISTORY
from tests.serving.http.raw import answer, connected, head
from tests.serving.settings import settings

ROOT = pathlib.Path(__file__).resolve().parents[3]
JSON = "content-type: application/json"


def test_a_body_is_bounded_whatever_its_head_says(start):
    running = start(body_bytes=1000)
    big = b'{"a":"' + b"x" * 1000 + b'"}'
    assert (
        running.client.post("/v1/predict", content=big, headers={"content-type": "application/json"}).status_code == 413
    )
    chunk = b"1f4\r\n" + b" " * 500 + b"\r\n"
    for body, length in (
        (big, f"content-length: {len(big)}"),
        (b"", "content-length: 99999999999999999999"),
        (chunk * 3 + b"0\r\n\r\n", "transfer-encoding: chunked"),
        (chunk * 100, "transfer-encoding: chunked"),  # which does not end
    ):
        raw = connected(running)
        raw.sendall(head(running, "/v1/predict", JSON, length) + body)
        status, told = answer(raw)
        assert status in (400, 413) and (b"too-large" in told or status == 400)
        raw.close()
    assert not running.stub.jobs


def test_a_chunked_body_is_read(start):
    running = start()
    text = json.dumps({"history": HISTORY}).encode()
    parts = (text[at : at + 7] for at in range(0, len(text), 7))
    response = running.client.post("/v1/predict", content=parts, headers={"content-type": "application/json"})
    assert response.status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(start):
    running = start(body_s=0.2)
    raw = connected(running)
    raw.sendall(head(running, "/v1/predict", JSON, "content-length: 10") + b"{")
    status, told = answer(raw)
    assert (status, json.loads(told)["type"]) == (408, "/problems/body-timeout")
    raw.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost:"])
def test_a_head_that_does_not_come_or_end_is_not_waited_for(start, sent):
    with connected(start(header_s=0.3)) as raw:
        raw.sendall(sent)
        assert raw.recv(1000) == b""


def test_a_large_head_is_refused(start):
    with connected(start(header_bytes=2000)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 1000)
        assert raw.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_connection_that_is_used_is_kept(start):
    running = start(header_s=2.0, header_bytes=2000)
    with connected(running) as raw:
        for wait_s in (0.0, 0.0, 3.0, *[0.0] * 20):  # longer than for a head, and more heads than one may be long
            time.sleep(wait_s)
            raw.sendall(head(running, "/v1/models", method="GET"))
            assert raw.recv(10_000).startswith(b"HTTP/1.1 200 ")


def test_there_are_so_many_connections(start):
    running = start(connections=2)
    kept = [connected(running) for _ in range(2)]
    for raw in kept:
        raw.sendall(head(running, "/v1/models", method="GET"))
        assert raw.recv(10_000).startswith(b"HTTP/1.1 200 ")
    further = connected(running)
    with contextlib.suppress(ConnectionError):  # it is closed, whether or not the request came before that
        further.sendall(head(running, "/v1/models", method="GET"))
        assert further.recv(1000) == b""
    for raw in (*kept, further):
        raw.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({}, 415),
        ({"content-type": "application/jsonp"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "Application/JSON; charset=utf-8"}, 200),
    ],
)
def test_bodies_are_json_by_their_type(server, headers, status):
    response = server.client.post("/v1/predict", content=json.dumps({"history": HISTORY}), headers=headers)
    assert response.status_code == status


@pytest.mark.parametrize(
    "body", [b'{"a":NaN}', b'{"a":1e999}', b'{"a":1,"a":2}', b"[" * 100_000, b"\xff", b"", b"9" * 100, b'"\\ud800']
)
def test_bodies_that_are_no_strict_json_are_told(server, body):
    response = server.client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["type"]) == (400, "/problems/invalid-json")


def test_text_that_is_no_unicode_does_no_harm(server):
    body = b'{"model":"\\ud800","history":{"opening":{},"events":[{"kind":"\\udfff"}]},"\\ud801":1}'
    response = server.client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422


def test_a_port_that_is_taken_is_named(server):
    port = int(server.listening.url.rpartition(":")[2])
    with pytest.raises(InputError, match="cannot listen") as caught:
        listening_socket("127.0.0.1", port)
    assert str(port) in caught.value.was
    with pytest.raises(InputError, match="cannot listen"):
        listening_socket("192.0.2.1", 0)


def test_without_a_file_there_is_one_key(tmp_path):
    made, key = keys_of(settings())
    assert isinstance(made, OneKey) and made.owner(key) == "local"
    alice = add(tmp_path / "keys.json", "alice")
    kept, none = keys_of(settings(keys_file=str(tmp_path / "keys.json")))
    assert isinstance(kept, KeysFile) and kept.owner(alice) == "alice" and none == ""


def test_requests_at_work_may_end_and_new_ones_are_refused(start):
    running = start(StubServer(events_per_s=40))
    body = {"history": HISTORY, "events": 40, "stream": True}
    with running.client.stream("POST", "/v1/generate", json=body) as response:
        parts = response.iter_text()
        text = next(parts)
        ender = threading.Thread(target=running.listening.drain, args=(30.0,))
        ender.start()
        while not running.service.leaving:
            time.sleep(0.01)
        url, headers = running.listening.url, {"Authorization": f"Bearer {running.key}"}
        assert httpx.get(f"{url}/health/ready").status_code == 503
        assert httpx.get(f"{url}/health/live").status_code == 200
        asked = httpx.post(f"{url}/v1/predict", json={"history": HISTORY}, headers=headers)
        for refused in (asked, httpx.get(f"{url}/v1/models", headers=headers)):
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/leaving")
            assert refused.headers["connection"] == "close"
        text += "".join(parts)
    assert text.count("event: event\n") == 40 and "event: done\n" in text
    ender.join(20)
    assert not ender.is_alive() and not running.listening.alive


def test_requests_that_take_too_long_are_cancelled_at_the_end(start):
    running = start(StubServer(events_per_s=10))
    body = {"history": HISTORY, "events": 1000, "stream": True}
    with running.client.stream("POST", "/v1/generate", json=body) as response:
        parts = response.iter_text()
        text = next(parts)
        ender = threading.Thread(target=running.listening.drain, args=(0.2,))
        ender.start()
        text += "".join(parts)
    assert "event: error\n" in text and "/problems/leaving" in text
    ender.join(20)
    assert not running.listening.alive and running.stub.jobs[0].cancelled.is_set()


PROGRAM = """
import sys
from lob_jax.signals import EndsInOrder, listen
listen()
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import serve
from lob_jax.serving.stub import StubServer
from tests.serving.settings import settings
key = OneKey()
stub = StubServer(events_per_s=float(sys.argv[2]))
with EndsInOrder():
    tell = lambda url: print(url, key.key, flush=True)
    serve({"stub": stub}, settings(port=0, drain_s=float(sys.argv[1])), keys=key, on_listening=tell)
    print("served", flush=True)
"""


@pytest.fixture
def program():
    """Return a function that starts a program which serves: the process, its address and its key."""
    started = []

    def start(drain_s, events_per_s=100):
        command = [sys.executable, "-c", PROGRAM, str(drain_s), str(events_per_s)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))
        url, key = started[-1].stdout.readline().split()
        return started[-1], httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(program, number):
    process, client = program(30)
    body = {"history": HISTORY, "events": 60, "stream": True}
    with client.stream("POST", "/v1/generate", json=body) as response:
        parts = response.iter_text()
        text = next(parts)
        process.send_signal(number)
        text += "".join(parts)
    assert text.count("event: event\n") == 60 and "event: done\n" in text
    client.close()
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "served\n")
    assert "taking no more requests" in error and "Traceback" not in error
    lines = [json.loads(line) for line in error.splitlines() if line.startswith("{")]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/generate", 200)]


def test_a_second_signal_ends_it_at_once(program):
    process, client = program(3600, events_per_s=1)
    body = {"history": HISTORY, "events": 1000, "stream": True}
    with client.stream("POST", "/v1/generate", json=body) as response:
        parts = response.iter_text()  # kept: a response whose reader is gone is closed
        next(parts)
        process.send_signal(signal.SIGTERM)
        while client.get("/health/ready").status_code == 200:
            time.sleep(0.05)
        time.sleep(0.5)  # two signals within 0.3 s count as one
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    client.close()


def test_a_stream_that_ends_with_the_server_is_whole(program):
    process, client = program(0, events_per_s=20)
    body = {"history": HISTORY, "events": 1000, "stream": True}
    with client.stream("POST", "/v1/generate", json=body) as response:
        parts = response.iter_text()
        text = next(parts)
        process.send_signal(signal.SIGTERM)
        text += "".join(parts)
    assert "/problems/leaving" in text
    client.close()
    assert process.wait(30) == 0

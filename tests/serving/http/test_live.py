"""The socket of a session."""

import json
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lob_jax.errors import InputError
from lob_jax.serving import requests
from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import ADD
from tests.serving.http.raw import connected, head


class Socket:
    """A client that speaks JSON."""

    def __init__(self, running, session=None, key=None):
        url = running.listening.url.replace("http", "ws", 1)
        session = running.opened() if session is None else session
        headers = {"Authorization": f"Bearer {running.key if key is None else key}"}
        self.connecting = connect(f"{url}/v1/sessions/{session}/live", additional_headers=headers, max_size=None)

    def __enter__(self):
        self.socket = self.connecting.__enter__()
        return self

    def __exit__(self, *error):
        self.connecting.__exit__(*error)

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def receive(self):
        return json.loads(self.socket.recv(timeout=20))

    def ask(self, **message):
        self.send(**message)
        return self.receive()


def test_events_go_in_and_states_come_out(server):
    with Socket(server) as socket:
        for number in range(3):
            found = socket.ask(id=number, events=[ADD, ADD])
            assert (found["id"], found["state"]["events"]) == (number, 3 + 2 * number)
        assert socket.ask(events=[])["id"] is None


def test_several_messages_at_once_are_taken_in_order(server):
    with Socket(server) as socket:
        for number in range(15):
            socket.send(id=number, events=[ADD])
        found = [socket.receive() for _ in range(15)]
        assert [one["id"] for one in found] == [*range(15)]
        assert [one["state"]["events"] for one in found] == [*range(2, 17)]


def test_a_prediction_sees_the_events_before_it(start):
    running = start()
    with Socket(running) as socket:
        running.stub.held.clear()
        for number in range(3):
            socket.send(id=number, events=[ADD])
        socket.send(id="p", predict={})
        socket.send(id=3, events=[ADD])
        time.sleep(0.2)
        running.stub.held.set()
        found = [socket.receive()["id"] for _ in range(5)]
        assert found.index("p") > found.index(2) and [one for one in found if one != "p"] == [0, 1, 2, 3]
    asked = [type(job.request).__name__ for job in running.stub.jobs]
    assert asked[:5] == ["OpenSession", "Look", "Feed", "Feed", "Feed"] and {*asked[5:]} == {"Predict", "Feed"}


def test_so_many_messages_may_wait(start):
    running = start()
    with Socket(running) as socket:
        running.stub.held.clear()
        for number in range(17):
            socket.send(id=number, events=[])
        busy = socket.receive()
        assert (busy["id"], busy["problem"]["type"]) == (16, "/problems/busy")
        running.stub.held.set()
        assert [socket.receive()["id"] for _ in range(16)] == [*range(16)]


def test_a_client_that_leaves_while_its_events_wait_is_noticed(start):
    running = start()
    with Socket(running) as socket:
        running.stub.held.clear()
        socket.send(id=1, events=[ADD])
        while type(running.stub.jobs[-1].request).__name__ != "Feed":
            time.sleep(0.01)
    assert running.stub.jobs[-1].cancelled.wait(20)


def test_predictions_and_paths_come_in_the_same_socket(server):
    with Socket(server) as socket:
        found = socket.ask(id="p", predict={"most": 1})
        assert found["id"] == "p" and len(found["prediction"]["heads"]) == 1
        socket.send(id="g", generate={"paths": 2, "events": 300, "seed": 4})
        events = []
        while "events" in (found := socket.receive()):
            assert found["id"] == "g"
            events += found["events"]
        assert len(events) == 600 and found["done"]["events"] == 600 and found["done"]["seed"] == 4
        assert [event["number"] for event in events if event["path"] == 1] == [*range(300)]
        assert {*events[0]} == {"path", "number", "records"}


def test_one_of_each_kind_at_a_time(start):
    running = start()
    with Socket(running) as socket:
        running.stub.held.clear()
        socket.send(id=1, generate={"events": 1})
        socket.send(id=2, predict={})
        busy = socket.ask(id=3, generate={"events": 1})
        assert (busy["id"], busy["problem"]["type"]) == (3, "/problems/busy")
        running.stub.held.set()
        assert {json.dumps(socket.receive()["id"]) for _ in range(3)} == {"1", "2"}


@pytest.mark.parametrize(
    ("text", "name", "pointer"),
    [
        ("{", "invalid-json", None),
        ('{"a":NaN}', "invalid-json", None),
        ("[" * 100, "invalid-json", None),
        ("[]", "invalid-request", ""),
        ("{}", "invalid-request", ""),
        ('{"events":[],"predict":{}}', "invalid-request", ""),
        ('{"events":[{}]}', "invalid-request", "/events/0/kind"),
        ('{"predict":{"heads":-1}}', "invalid-request", "/predict/heads"),
        ('{"predict":{"session":"x"}}', "invalid-request", "/predict/session"),
        ('{"generate":{"paths":257}}', "invalid-request", "/generate/paths"),
        ('{"generate":{"temperature":1e-9}}', "invalid-request", "/generate/temperature"),
        ('{"id":[],"events":[]}', "invalid-request", None),
    ],
)
def test_a_wrong_message_is_answered_and_the_socket_stays_open(server, text, name, pointer):
    with Socket(server) as socket:
        socket.socket.send(text)
        told = socket.receive()
        problem = told["problem"]
        assert problem["type"] == f"/problems/{name}" and told["id"] is None and "id" not in problem
        assert pointer is None or problem["pointer"] == pointer
        assert socket.ask(id=1, events=[])["id"] == 1


def test_a_wrong_message_keeps_its_id(server):
    with Socket(server) as socket:
        for message in ({"id": "a", "predict": {"heads": -1}}, {"id": "a"}, {"id": "a", "generate": {"events": 0}}):
            told = socket.ask(**message)
            assert told["id"] == "a" and "id" not in told["problem"]


def test_bytes_are_no_message(server):
    with Socket(server) as socket:
        socket.socket.send(b"{}")
        assert socket.receive()["problem"]["type"] == "/problems/media-type"


def test_an_event_that_contradicts_the_book_is_named_by_its_record(start):
    running = start()
    with Socket(running) as socket:
        running.stub.error = InputError("no such order", where="event", expected="one", was="none", remedy="look")
        running.stub.error.event = 1
        problem = socket.ask(id=1, events=[ADD, {"kind": "level", "side": "bid", "price": 1, "size": 0}, ADD])[
            "problem"
        ]
        assert (problem["status"], problem["pointer"], problem["event"]) == (409, "/events/2", 1)
        running.stub.error = RuntimeError("secret")
        for message in ({"predict": {}}, {"generate": {}}, {"events": [ADD]}):
            problem = socket.ask(id=2, **message)["problem"]
            assert problem["type"] == "/problems/failed" and "secret" not in str(problem)


def test_a_large_message_closes_the_socket(start):
    running = start(body_bytes=10_000)
    with Socket(running) as socket:
        socket.socket.send(" " * 10_001)
        with pytest.raises(ConnectionClosed) as caught:
            socket.socket.recv(timeout=20)
        assert caught.value.rcvd.code == 1009


def test_messages_count_as_requests(start):
    running = start(rate_per_s=0.01, burst=3)
    with Socket(running) as socket:  # opening a session and the socket are two
        assert "state" in socket.ask(id=1, events=[])
        assert socket.ask(id=2, events=[])["problem"]["type"] == "/problems/too-many-requests"


def test_a_socket_that_is_closed_ends_its_jobs(start):
    running = start(StubServer(events_per_s=20))
    with Socket(running) as socket:
        socket.send(id=1, generate={"events": 1000})
        assert socket.receive()["events"]
    assert running.stub.jobs[-1].cancelled.wait(20)
    limit = time.monotonic() + 20
    while running.service.answers and time.monotonic() < limit:
        time.sleep(0.01)
    assert not running.service.answers


def test_a_client_that_takes_nothing_is_given_up(start):
    running = start(StubServer(batch=8), stall_s=1.0, events=5_000, path_events=100_000)
    session, lines = running.opened(), ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13")
    with connected(running, receive_bytes=4096) as raw:
        key = "sec-websocket-key: " + "A" * 22 + "=="
        raw.sendall(head(running, f"/v1/sessions/{session}/live", *lines, key, method="GET"))
        assert raw.recv(1000).startswith(b"HTTP/1.1 101 ")
        message = json.dumps({"generate": {"paths": 20, "events": 5_000}}).encode()
        raw.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
        while not isinstance(running.stub.jobs[-1].request, requests.Generate):
            time.sleep(0.01)
        assert running.stub.jobs[-1].done.wait(20)
        with Socket(running, session) as other:
            assert "state" in other.ask(events=[])
        limit = time.monotonic() + 20
        while running.service.answers and time.monotonic() < limit:
            time.sleep(0.01)
        assert not running.service.answers
        left = 0
        while part := raw.recv(65_536):  # what the system had taken, and then the end
            left += len(part)
        assert left < 5_000_000  # of 15


def test_a_socket_is_closed_when_the_server_ends(start):
    running = start()
    with Socket(running) as socket:
        ender = threading.Thread(target=running.listening.drain, args=(30.0,))
        ender.start()
        with pytest.raises(ConnectionClosed) as caught:
            socket.receive()
        assert caught.value.rcvd.code == 1012
    ender.join(20)
    assert not running.listening.alive


@pytest.mark.parametrize(("session", "key", "status"), [("stub~x", None, 404), ("x", None, 404), (None, "wrong", 401)])
def test_a_socket_is_refused_before_it_opens(server, session, key, status):
    with pytest.raises(InvalidStatus) as caught, Socket(server, session, key):
        pass
    response = caught.value.response
    assert response.status_code == status and json.loads(response.body)["status"] == status
    assert response.headers["x-request-id"]

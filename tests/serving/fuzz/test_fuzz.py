"""No request, however odd, makes the server fail, hang, or show its inside.

LOB_JAX_FUZZ says how many requests the slow tests send. Every request follows from its number alone.
"""

import asyncio
import contextlib
import json
import logging
import os
import random

import httpx
import hypothesis
import pytest
import schemathesis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lob_jax.serving.experiments.analysis import analysed
from lob_jax.serving.experiments.experiment import Arm, Experiment
from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.experiments.store.store import Store
from tests.serving.fuzz.mutations import HISTORY, MODEL, Sent, changed, documents, messages, mutated, text_of
from tests.serving.fuzz.wire import Got, bytes_of, exchanged, fault_of, fault_of_problem, fault_of_text, parsed
from tests.serving.running import running
from tests.serving.settings import limits

CREATED = [("POST", f"/v1/{rest}") for rest in ("sessions", "experiments", "experiments/test/decisions")]
MANY = int(os.environ.get("LOB_JAX_FUZZ", "2000"))
FEW = 60
# What is not sent to its end is answered soon; one key may do all of it.
LIMITS = limits(rate_per_s=1e9, burst=10**9, streams=10_000, body_s=1.0, header_s=1.0, keep_alive_s=2.0, deadline_s=5.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with experiments in a real database; the arms of one are the same model."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'experiments.db'}")
    experiments = Experiments(store, analysed, refresh_s=0.2, guards_s=1.0)
    experiments.create(Experiment("test", "paired", (Arm("a", MODEL), Arm("b", MODEL)), salt="s", created_s=1e9))
    with contextlib.closing(experiments), running(LIMITS, experiments=experiments) as found:
        yield found


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=20) as client:
        yield client


@pytest.fixture
def session(http):
    """A session of its own for each test, of a unit of an experiment."""
    return http.post("/v1/sessions", json={**HISTORY, "experiment": "test"}).json()["session"]


@pytest.fixture(autouse=True)
def failures(caplog):
    """What is logged as a failure fails the test that has caused it."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def port_of(server) -> int:
    return int(server.url.rpartition(":")[2])


def test_what_is_changed_was_valid(server, session):
    for method, path, document in documents(session):
        headers = [("Host", "h"), ("Authorization", f"Bearer {server.key}"), ("Content-Type", "application/json")]
        body = None if document is None else text_of(document).encode()
        sent = Sent(method, path, headers, body)
        got = exchanged(port_of(server), bytes_of(sent, random.Random(0)))
        assert got.status == (404 if path.endswith("~none") else 201 if (method, path) in CREATED else 200), (path, got)


def attacked(server, session: str, numbers: range) -> None:
    """Send requests by their numbers."""
    statuses = set()
    for number in numbers:
        draw = random.Random(number)
        sent = mutated(draw, session, server.key)
        got = exchanged(port_of(server), bytes_of(sent, draw))
        assert not (fault := fault_of(sent, got)), f"request {number}: {fault}\n{sent}\n{got}"
        statuses.add(got.status)
    assert {200, 400, 401, 404, 422} <= statuses


def test_a_few_changed_requests(server, session):
    attacked(server, session, range(FEW))


@pytest.mark.slow
def test_many_changed_requests(server, session):
    attacked(server, session, range(MANY * 7 // 10))


async def spoken(server, session: str, numbers: range) -> None:
    """Send changed messages to the socket of a session; one that the server closes is opened again."""
    url = f"{server.url.replace('http', 'ws', 1)}/v1/sessions/{session}/live"
    headers = {"Authorization": f"Bearer {server.key}"}
    left = list(numbers)
    while left:
        async with connect(url, additional_headers=headers, max_size=None) as socket:
            try:
                while left:
                    await _spoken(socket, left.pop(0))
            except ConnectionClosed as closed:
                assert closed.rcvd is not None and closed.rcvd.code in (1007, 1009), closed


async def _spoken(socket, number: int) -> None:
    """Send a message, then one with an id of its own, and read until that is answered."""
    draw = random.Random(number)
    message = text_of(changed(draw.choice(messages()), draw)[0])
    cut = message[: draw.randrange(len(message) + 1)]
    mark = f"mark {number}"
    for sent in (draw.choice([message, message, cut, cut.encode()]), json.dumps({"id": mark, "events": []})):
        await socket.send(sent if isinstance(sent, bytes) else sent.encode("utf-8", "replace").decode())
    async with asyncio.timeout(20):
        while (answer := json.loads(await socket.recv()))["id"] != mark:
            if "problem" in answer:
                problem = answer["problem"]
                told = Got(
                    problem["status"], {"content-type": "application/problem+json"}, json.dumps(problem).encode()
                )
                assert problem["status"] < 500 and not fault_of_problem(told), (number, answer)


def test_a_few_changed_messages(server, session):
    asyncio.run(spoken(server, session, range(FEW)))


@pytest.mark.slow
def test_many_changed_messages(server, session):
    asyncio.run(spoken(server, session, range(MANY // 10)))


def described(server, http, *, examples: int) -> None:
    """Send requests that schemathesis makes from the description of the API, valid and invalid ones."""
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 24
    for operation in operations:
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        for mode in modes:
            try:
                cases = operation.as_strategy(generation_mode=mode)
            except Exception as error:  # an operation without parameters has no invalid requests
                assert mode is modes[1], error
                continue
            send_all(http, operation, cases, examples=max(1, examples // (2 * len(operations))))


def send_all(http, operation, cases, *, examples: int) -> None:
    quiet = list(hypothesis.HealthCheck)

    @hypothesis.seed(1)
    @hypothesis.settings(max_examples=examples, database=None, deadline=None, suppress_health_check=quiet)
    @hypothesis.given(cases)
    def each(case):
        given = case.as_transport_kwargs(base_url=str(http.base_url))
        content = given.get("data") if given.get("json") is None else json.dumps(given["json"]).encode()
        kind = {"Content-Type": "application/json"} if content is not None else {}
        response = http.request(
            given["method"], given["url"], content=content, headers=kind, params=given.get("params")
        )
        sent = Sent(given["method"], given["url"], [], response.request.content)
        got = Got(response.status_code, dict(response.headers), response.content)
        assert not (fault := fault_of(sent, got)), f"{fault}\n{sent}\n{got}"

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # it has no invalid requests
        each()


def test_a_few_requests_from_the_description(server, http):
    described(server, http, examples=FEW)


@pytest.mark.slow
def test_many_requests_from_the_description(server, http):
    described(server, http, examples=MANY // 5)


FINE = '{"type":"t","title":"t","status":404,"detail":"d","request_id":"r"}'
PROBLEM = {"content-type": "application/problem+json"}


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (Got(-1), "no answer in time"),
        (Got(0), "no answer"),
        (Got(500, PROBLEM, b"{}"), "status 500"),
        (Got(504, PROBLEM, b"{}"), "status 504"),
        (Got(404, {"content-type": "text/html"}, b""), "status 404 with text/html"),
        (Got(404, PROBLEM, b"no JSON"), "a problem that is no JSON"),
        (Got(404, PROBLEM, b"{}"), "a problem without ['type', 'title', 'status', 'detail', 'request_id']"),
        (Got(400, PROBLEM, FINE.encode()), "a problem without its status"),
        (Got(404, PROBLEM, FINE.replace('"d"', '"in app.py"').encode()), "it shows '.py'"),
        (Got(404, PROBLEM, FINE.replace('"d"', '"KeyError: 1"').encode()), "it shows 'KeyError'"),
        (Got(404, PROBLEM, FINE.encode()), ""),
        (Got(200), ""),
    ],
)
def test_faults_are_seen(got, says):
    found = fault_of(Sent("GET", "/", []), got)
    assert found.startswith(says) and bool(found) == bool(says)


def test_an_answer_in_chunks_is_put_together():
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parsed(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") == Got(404, {"transfer-encoding": "chunked"}, b"abcde")
    assert fault_of_text("see /tmp/x") and not fault_of_text("see /v1/models")

"""What the clients send, byte by byte, and what they make of each answer; the server is written by the tests."""

import asyncio
import json
import subprocess
import sys

import pytest

from lob_jax.serving import client
from lob_jax.serving.client import AsyncClient, Client, Interrupted, Problem, Retries
from tests.serving.scripted import answer, chunked, scripted

OPENING = {"time": 0, "bids": [["1.5", 2]], "asks": []}
STATE = answer(201, '{"session": "m~1/x", "events": 0}')
PROBLEM = (
    '{"type": "/problems/invalid-event", "title": "T", "status": 409, "detail": "D", "pointer": "/events/3/price"}'
)
KIND = "application/problem+json"
EVENT = 'event: event\ndata: {"path":0,"number":0,"records":[]}\n\n'
DONE = 'event: done\ndata: {"events":1}\n\n'


class Waits(list):
    """Records how long a client would wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)

    async def in_a_loop(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits(monkeypatch) -> Waits:
    kept = Waits()
    monkeypatch.setattr(client, "time", type("Clock", (), {"sleep": kept}))
    monkeypatch.setattr(client, "asyncio", type("Loop", (), {"sleep": kept.in_a_loop}))
    return kept


def in_turn(do, url, kind, **options):
    """Return what `do` returns of a client; `do` awaits each answer if it is one for asyncio."""

    async def run_async():
        async with AsyncClient(url, **options) as made:
            return await do(made)

    async def run():
        with Client(url, **options) as made:
            return await do(Awaiting(made))

    return asyncio.run(run_async() if kind == "asyncio" else run())


class Awaiting:
    """A `Client` or its session with the interface of those for asyncio, so that each test is written once."""

    def __init__(self, of):
        self._of = of

    def __getattr__(self, name):
        found = getattr(self._of, name)
        if name == "session":
            return lambda *given, **named: Awaiting(found(*given, **named))
        if name == "stream":
            return lambda *given, **named: every(found, given, named)

        async def call(*given, **named):
            return found(*given, **named)

        return call if callable(found) else found

    async def __aenter__(self):
        self._of.__enter__()
        return self

    async def __aexit__(self, *error):
        self._of.__exit__(*error)


async def every(found, given, named):
    for value in found(*given, **named):
        yield value


BOTH = pytest.mark.parametrize("kind", ["threads", "asyncio"])


def split(seen: str) -> tuple[str, dict[str, str], dict]:
    """Return the first line, the headers and the body of a request."""
    lines = seen.split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line and not line.startswith("{"))
    body = seen[seen.index("{") :] if "{" in seen else "{}"
    return lines[0], fields, json.loads(body)


@BOTH
def test_a_request_names_its_market_and_its_key(kind):
    async def do(made):
        return await made.predict(client.history(OPENING), most=3, moves=None)

    with scripted(answer(200, '{"heads": []}')) as server:
        assert in_turn(do, server.url, kind, key="k") == {"heads": []}
    first, fields, body = split(server.seen[0])
    assert first == "POST /v1/predict HTTP/1.1"
    assert fields["authorization"] == "bearer k" and "x-session-affinity" not in fields
    assert body == {"history": {"opening": OPENING, "events": []}, "most": 3}


@BOTH
def test_paths_and_bodies(kind):
    market = client.history(OPENING, [{"kind": "level"}])

    async def do(made):
        await made.generate(market, paths=2, events=5, seed=1)
        await made.forecast(market, paths=3, events=6, by="seconds")
        await made.score(market, deadline_s=2)
        await made.models()

    with scripted(*[answer(200)] * 4) as server:
        in_turn(do, server.url, kind)
    sent = [split(seen) for seen in server.seen]
    assert [first.split()[1] for first, _, _ in sent] == ["/v1/generate", "/v1/forecast", "/v1/score", "/v1/models"]
    about = {"history": market}
    assert [body for _, _, body in sent] == [
        {**about, "paths": 2, "events": 5, "seed": 1},
        {**about, "paths": 3, "events": 6, "by": "seconds"},
        {**about, "deadline_s": 2},
        {},
    ]
    assert all("authorization" not in fields for _, fields, _ in sent)


@BOTH
def test_outcomes_and_experiments(kind, waits):
    busy = answer(503, PROBLEM, kind=KIND, Retry_After="1")

    async def do(made):
        async with made.session(OPENING, experiment="e", unit="u") as market:
            await market.outcome("first", [{"kind": "level"}])
        await made.experiments()
        await made.experiment("a/b")
        return market.affinity

    with scripted(STATE, busy, *[answer(200)] * 4) as server:
        affinity = in_turn(do, server.url, kind)
    sent = [split(seen) for seen in server.seen]
    told = {"session": "m~1/x", "outcome": "first", "events": [{"kind": "level"}]}
    assert waits == [1.0] and sent[1] == sent[2]  # it counts once, however often it is sent
    assert sent[1][0].startswith("POST /v1/outcomes ") and sent[1][2] == told
    assert sent[1][1]["x-session-affinity"] == affinity
    assert sent[0][2] == {"history": {"opening": OPENING, "events": []}, "experiment": "e", "unit": "u"}
    assert [first.split()[1] for first, _, _ in sent[4:]] == ["/v1/experiments", "/v1/experiments/a%2Fb"]


@BOTH
def test_all_requests_of_a_session_go_to_one_process(kind):
    async def do(made):
        async with made.session(OPENING, model="m") as market:
            assert market.id == "m~1/x"
            await market.feed([{"kind": "level"}])
            await market.predict(heads=1)
            await market.generate(paths=1, events=2)
            await market.state()
        async with made.session(OPENING) as other:
            return market.affinity, other.affinity

    with scripted(STATE, *[answer(200)] * 5, STATE, answer(200)) as server:
        one, other = in_turn(do, server.url, kind)
    sent = [split(seen) for seen in server.seen]
    of_one = "/v1/sessions/m~1%2Fx"
    assert [first.rpartition(" ")[0] for first, _, _ in sent] == [
        "POST /v1/sessions",
        f"POST {of_one}/events",
        "POST /v1/predict",
        "POST /v1/generate",
        f"GET {of_one}",
        f"DELETE {of_one}",
        "POST /v1/sessions",
        f"DELETE {of_one}",
    ]
    assert [fields["x-session-affinity"] for _, fields, _ in sent] == [one] * 6 + [other] * 2 and one != other
    assert sent[0][2] == {"history": {"opening": OPENING, "events": []}, "model": "m"}
    assert sent[2][2] == {"session": "m~1/x", "heads": 1}


@BOTH
def test_a_problem_is_raised_with_all_that_it_says(kind):
    async def do(made):
        await made.models()

    with scripted(answer(409, PROBLEM, kind=KIND)) as server, pytest.raises(Problem) as raised:
        in_turn(do, server.url, kind)
    found = raised.value
    told = (found.status, found.type, found.title, found.detail, found.pointer, found.retry_after_s)
    assert told == (409, "/problems/invalid-event", "T", "D", "/events/3/price", None)
    assert str(found) == "409 T: /events/3/price: D"


def test_what_is_no_problem_document_is_a_problem_too():
    with scripted(answer(502, "<html>", kind="text/html"), answer(404, "[]")) as server, Client(server.url) as made:
        for status, title in ((502, "Bad Gateway"), (404, "Not Found")):
            with pytest.raises(Problem) as raised:
                made.models()
            assert (raised.value.status, raised.value.title, raised.value.members) == (status, title, {})


@BOTH
@pytest.mark.parametrize("status", [429, 503])
def test_a_request_is_sent_again_when_the_server_says(kind, status, waits):
    async def do(made):
        return await made.models()

    with scripted(*[answer(status, Retry_After="7")] * 2, answer(200, '{"a": 1}')) as server:
        assert in_turn(do, server.url, kind) == {"a": 1}
    assert waits == [7, 7] and len(server.seen) == 3


@pytest.mark.parametrize(
    ("first", "sent"),
    [
        (answer(429, Retry_After="7"), 3),  # the retries are used up
        (answer(429), 1),  # the server does not say when
        (answer(429, Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"), 1),
        (answer(503, Retry_After="31"), 1),  # too long
        (answer(500, Retry_After="7"), 1),  # the server may have done something
        (answer(504, Retry_After="7"), 1),
    ],
    ids=["used up", "no time", "a date", "too long", "failed", "late"],
)
def test_it_is_not_sent_again_without_end_or_reason(first, sent, waits):
    with (
        scripted(*[first] * sent) as server,
        Client(server.url, retries=Retries(most=2)) as made,
        pytest.raises(Problem),
    ):
        made.models()
    assert len(server.seen) == sent and len(waits) == sent - 1


@BOTH
def test_what_changes_something_is_sent_once(kind, waits):
    async def do(made):
        with pytest.raises(Problem):
            async with made.session(OPENING):
                raise AssertionError("it was not opened")
        async with made.session(OPENING) as market:
            with pytest.raises(Problem):
                await market.feed([])

    full = answer(429, Retry_After="1")
    with scripted(full, STATE, full, full) as server:  # the last answers the request to close it
        in_turn(do, server.url, kind)
    assert len(server.seen) == 4 and waits == []


@BOTH
def test_a_stream_gives_each_event_and_its_end(kind):
    async def do(made):
        return [frame async for frame in made.stream(client.history(OPENING), paths=1, events=1)]

    cut = len(EVENT) // 2
    with scripted(chunked(": waiting\n\n", EVENT[:cut], EVENT[cut:], DONE)) as server:
        frames = in_turn(do, server.url, kind)
    assert frames == [{"event": "event", "path": 0, "number": 0, "records": []}, {"event": "done", "events": 1}]
    assert split(server.seen[0])[2]["stream"] is True


@BOTH
def test_a_stream_that_fails_raises_its_problem(kind):
    async def do(made):
        seen = []
        with pytest.raises(Problem) as raised:
            async for frame in made.stream(client.history(OPENING)):
                seen.append(frame["event"])
        return seen, raised.value

    with scripted(chunked(EVENT, 'event: error\ndata: {"status":504,"title":"Late"}\n\n')) as server:
        seen, problem = in_turn(do, server.url, kind)
    assert seen == ["event"] and problem.status == 504 and problem.title == "Late"


@BOTH
def test_a_stream_without_an_end_is_seen(kind):
    async def do(made):
        with pytest.raises(Interrupted):
            async for _ in made.stream(client.history(OPENING)):
                pass

    with scripted(chunked(EVENT)) as server:
        in_turn(do, server.url, kind)


@BOTH
def test_a_stream_that_is_refused_is_sent_again(kind, waits):
    async def do(made):
        return [frame async for frame in made.stream(client.history(OPENING))]

    with scripted(answer(429, Retry_After="2"), chunked(DONE)) as server:
        assert in_turn(do, server.url, kind) == [{"event": "done", "events": 1}]
    assert waits == [2]


def test_closing_a_stream_closes_its_connection():
    with scripted(chunked(EVENT, complete=False), answer(200)) as server, Client(server.url) as made:
        frames = made.stream(client.history(OPENING))
        assert next(frames)["event"] == "event"
        frames.close()
        made.models()  # on another connection: the server is still within the answer on the first
    assert len(server.seen) == 2


@BOTH
def test_the_error_of_a_block_is_not_hidden_by_a_session_that_has_ended(kind):
    async def do(made):
        async with made.session(OPENING):
            raise KeyError("mine")

    with scripted(STATE, answer(404)) as server, pytest.raises(KeyError):
        in_turn(do, server.url, kind)
    assert len(server.seen) == 2


def test_a_market_is_given_once():
    with Client("http://127.0.0.1:1") as made:
        with pytest.raises(TypeError, match="a client needs a market"):
            made.predict()
        with pytest.raises(TypeError, match="a session has its market"):
            made.session(OPENING).predict(client.history(OPENING))


def test_clients_need_neither_jax_nor_numpy():
    code = (
        "import sys, lob_jax.serving.client; print(sorted({'jax', 'numpy', 'numba', 'pydantic'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")

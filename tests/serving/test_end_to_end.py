"""Over real sockets, with a real network behind them: what clients are answered is what generation samples."""

import contextlib
import json
import threading

import httpx
import numpy as np
import pytest

from lob_jax.serving.http.app import build_app
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import Listening
from lob_jax.serving.http.service import Service
from lob_jax.serving.openings import opening_of
from lob_jax.serving.records import read_records, records_of
from lob_jax.serving.units import Units
from tests.serving.engine.engines import beginning, generated, serving
from tests.serving.market.markets import days
from tests.serving.settings import limits

KIND, DAY = "by time", "window"
MARKET = days()[DAY]
UNITS = Units.of(MARKET.instrument)


@pytest.fixture(scope="module")
def client():
    keys = OneKey()
    with contextlib.ExitStack() as stack:
        engine, _ = stack.enter_context(serving(KIND, DAY))
        service = Service({"by-time": engine}, keys, limits())
        listening = Listening(build_app(service, access=None), service, host="127.0.0.1", port=0)
        stack.callback(listening.drain, 0.0)
        headers = {"Authorization": f"Bearer {keys.key}"}
        yield stack.enter_context(httpx.Client(base_url=listening.url, headers=headers, timeout=300))


def records(first, last):
    return records_of(MARKET.events[first:last], MARKET.corrections.between(first, last), UNITS)


def history(events=12):
    return {"opening": opening_of(MARKET.start, UNITS), "events": records(0, events)}


def asked(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.is_success, answer.text
    return answer.json()


def rows_of(paths):
    """Return the events of each path as `engines.generated` has them."""
    found = {}
    for number, path in enumerate(paths):
        read = read_records(path["events"], UNITS)
        levels = (getattr(read.corrections, name).tolist() for name in ("event", "side", "price", "size"))
        shown = {event: tuple(level) for event, *level in zip(*levels, strict=True)}
        names = ("time_ns", "kind", "code", "side", "price", "size")
        columns = zip(*(getattr(read.events, name).tolist() for name in names), strict=True)
        found[number] = [(*row, shown.get(event)) for event, row in enumerate(columns)]
    return found


def test_events_are_those_of_generation(client):
    found = asked(client, "/v1/generate", history=history(), paths=3, events=30, seed=5)
    assert rows_of(found["paths"]) == generated(KIND, beginning(MARKET, 12))


def test_a_stream_has_the_same_events_one_by_one(client):
    body = {"history": history(), "paths": 3, "events": 10, "seed": 5}
    whole = asked(client, "/v1/generate", **body)["paths"]
    paths = [{"events": []} for _ in range(3)]
    with client.stream("POST", "/v1/generate", json={**body, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        names, name = [], ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
                names.append(name)
            elif line.startswith("data: ") and name == "event":
                frame = json.loads(line.removeprefix("data: "))
                paths[frame["path"]]["events"] += frame["records"]
    assert names == ["event"] * 30 + ["done"]
    assert [path["events"] for path in paths] == [path["events"] for path in whole]


def test_a_session_answers_as_its_history_does(client):
    here = asked(client, "/v1/sessions", history=history(4))["session"]
    for first in range(4, 12, 2):
        state = asked(client, f"/v1/sessions/{here}/events", events=records(first, first + 2))
    assert state["events"] == 12
    body = {"paths": 2, "events": 10, "seed": 3}
    in_session = asked(client, "/v1/generate", session=here, **body)
    assert in_session["paths"] == asked(client, "/v1/generate", history=history(), **body)["paths"]
    predicted = [asked(client, "/v1/predict", **market) for market in ({"session": here}, {"history": history()})]
    assert all(each.pop("seconds") for each in predicted) and predicted[0] == predicted[1]
    assert sum(each["probability"] for each in predicted[0]["kinds"]) == pytest.approx(1)
    assert client.delete(f"/v1/sessions/{here}").is_success


def test_an_answer_does_not_depend_on_what_else_is_asked(client):
    body = {"history": history(), "paths": 1, "events": 20}
    alone = [asked(client, "/v1/generate", **body, seed=seed)["paths"] for seed in range(4)]
    together = {}

    def ask(seed):
        together[seed] = asked(client, "/v1/generate", **body, seed=seed)["paths"]

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[seed] for seed in range(4)] == alone


def test_an_event_that_contradicts_the_book_is_named_by_its_place(client):
    here = asked(client, "/v1/sessions", history=history(4))["session"]
    best = client.get(f"/v1/sessions/{here}").json()["bid"]
    wrong = {"kind": "cancel", "side": "bid", "price": best["price"], "size": "1000000"}
    wrong["time"] = int(MARKET.events.time_ns[6])
    answer = client.post(f"/v1/sessions/{here}/events", json={"events": [*records(4, 6), wrong]})
    problem = answer.json()
    assert answer.status_code == 409 and answer.headers["content-type"] == "application/problem+json"
    assert problem["pointer"] == f"/events/{len(records(4, 6))}"
    assert client.get(f"/v1/sessions/{here}").json()["events"] == 4


def test_a_forecast_has_quantiles(client):
    found = asked(client, "/v1/forecast", history=history(), paths=20, events=5, seed=1)
    assert len(found["mid"]) == 6 and all(np.diff(row).min() >= 0 for row in found["mid"])

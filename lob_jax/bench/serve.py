"""Measure a server: requests and events per second, and times, seen by clients in another process.

`python -m lob_jax.bench.serve --stub` streams from a stub of an engine, which leaves the HTTP API alone to be measured.
With `--bundle=FOLDER`, with `--make=small` (a model of that configuration after one step of training) or with `--url`
(a server that runs already, of a model of simulated flow; the variable LOB_JAX_SERVE_KEY holds its key) it asks a real
engine:

* `--clients`: closed loop. Each client streams one path, and asks for the next when it is complete.
* `--rates`: open loop. Requests for such streams arrive at times of a Poisson process, whether or not those before are
  complete; times are measured from the arrival in the schedule.
* `--predictions`: one client whose session follows a market: one event, then the probabilities of the next one, without
  sampled paths; and then with 100 of them.

Times to the first event and between events are in milliseconds, as median and 99th percentile.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import lob_jax
from lob_jax.bench.http_load import Connection, Tally, Target, closed_loop, open_loop
from lob_jax.bench.made_bundle import make_bundle
from lob_jax.bench.server_process import served_bundle, target_of
from lob_jax.bench.stub_service import ElsewhereStub
from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.configs import base
from lob_jax.serving.calls import history
from lob_jax.serving.config import serve_config
from lob_jax.serving.days import opening_of, records_of

PACKAGES = ("numpy", "onnxruntime", "uvicorn", "httptools", "uvloop", "fastapi")
STREAM = "/v1/generate"
STUB_CASES = ((1, 0.0), (4, 0.0), (1, 1e6), (4, 1e6))  # connections; with a speed, the stub delivers event by event
STUB_STREAM = {"paths": 32, "events": 600, "stream": True}
KEY = "LOB_JAX_SERVE_KEY"
PAUSE_S = 0.03  # in which an idle engine reads what a session was fed
SAMPLED = {"paths": 100, "events": 10}  # of predictions with sampled paths


def market_of(events: int) -> dict[str, Any]:
    """Return a simulated market as a request has it."""
    day = lob_jax.load_incremental_data(events=2_000 + 2 * events, seed=11)  # not all are after the opening
    return history(opening_of(day), records_of(day)[:events])


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return median and 99th percentile in milliseconds; None of nothing."""
    if not seconds:
        return None
    p50, p99 = 1e3 * np.percentile(seconds, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99), "count": len(seconds)}


def row_of(name: str, tally: Tally) -> dict[str, Any]:
    """Return the results of one case."""
    return {
        "case": name,
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "requests_per_s": tally.statuses[200] / tally.seconds,
        "events_per_s": tally.events / tally.seconds,
        "first_event": percentiles(tally.first_s),
        "between_events": percentiles(tally.between_s),
        "complete": percentiles(tally.latency_s),
    }


def stub_rows(seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the results of streams from a stub of an engine."""
    limits, market = serve_config(base.get_config().serve).limits, market_of(1)
    for connections, speed in STUB_CASES:
        body = {"history": market, **STUB_STREAM}
        with ElsewhereStub(limits, {"events_per_s": speed}) as (target, _):
            asyncio.run(closed_loop(target, [body], path=STREAM, seconds=0.5))  # warm
            tally = asyncio.run(closed_loop(target, [body] * connections, path=STREAM, seconds=seconds))
        yield row_of(f"stub, {connections} connections, {'event by event' if speed else 'at once'}", tally)


def engine_rows(target: Target, chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the results of streams from a real engine."""
    body = {"history": market_of(chosen.history), "paths": 1, "events": chosen.events, "stream": True}
    asyncio.run(closed_loop(target, [body], path=STREAM, seconds=min(2.0, chosen.seconds)))  # warm
    for clients in chosen.clients:
        bodies: list[Mapping[str, Any]] = [{**body, "seed": seed} for seed in range(clients)]
        tally = asyncio.run(closed_loop(target, bodies, path=STREAM, seconds=chosen.seconds))
        yield row_of(f"closed loop, {clients} clients", tally)
    for rate in chosen.rates:
        tally = asyncio.run(open_loop(target, body, path=STREAM, rate=rate, seconds=chosen.seconds))
        yield row_of(f"open loop, {rate:g} requests/s", tally)


async def predictions(target: Target, *, count: int, warm: int = 20) -> dict[str, Any]:
    """Return times of a session that is fed one event and asked for the probabilities of the next, again and again.

    Every second time it is asked at once, while the engine is reading the event; and else when it has read it.
    """
    connection, market = Connection(target), market_of(200 + warm + 2 * count)
    events = market["events"]
    opened = {"history": history(market["opening"], events[:200])}
    status, state = await connection.request("POST", "/v1/sessions", opened)
    path, times = f"/v1/sessions/{state['session']}", {"feed": [], "at once": [], "predict": [], "sampled": []}

    async def timed(what: str, path: str, body: dict[str, Any]) -> None:
        nonlocal status
        began = time.perf_counter()
        status, _ = await connection.request("POST", path, body)
        times[what].append(time.perf_counter() - began if status == 200 else float("nan"))

    asked = {"session": state["session"]}
    for number, event in enumerate(events[200:]):
        await timed("feed", f"{path}/events", {"events": [event]})
        if number % 2:
            await asyncio.sleep(PAUSE_S)
        await timed("predict" if number % 2 else "at once", "/v1/predict", asked)
    for seed in range(6):
        await timed("sampled", "/v1/predict", {**asked, "moves": {**SAMPLED, "seed": seed}})
    await connection.request("DELETE", path)
    await connection.close()
    sampled_ms = 1e3 * statistics.median(times["sampled"][1:])
    return {
        "feed": percentiles(times["feed"][warm:]),
        "predict": percentiles(times["predict"][warm // 2 :]),
        "at_once": percentiles(times["at once"][warm // 2 :]),
        "sampled": {**SAMPLED, "p50_ms": sampled_ms, "ms_per_100_paths": 100 * sampled_ms / SAMPLED["paths"]},
    }


@contextlib.contextmanager
def target_for(chosen: argparse.Namespace) -> Generator[Target]:
    """Return the server that the command line asks for; one that was started for it ends afterwards."""
    if chosen.url:
        yield target_of(chosen.url, os.environ.get(KEY, ""))
        return
    with tempfile.TemporaryDirectory() as passing:
        folder = chosen.bundle or make_bundle(chosen.make, pathlib.Path(passing))
        with served_bundle(folder, chosen.option) as target:
            yield target


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the results; times are median / 99th percentile in milliseconds."""
    shown = Table(title="median / 99th percentile in ms")
    for heading in ("", "requests/s", "events/s", "first event", "between events", "statuses"):
        shown.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        times = [_pair(row[name]) for name in ("first_event", "between_events")]
        statuses = " ".join(f"{status}:{count}" for status, count in row["statuses"].items())
        speed = [f"{row['requests_per_s']:,.1f}", f"{row['events_per_s']:,.0f}"]
        shown.add_row(row["case"], *speed, *times, statuses)
    return shown


def _pair(times: Mapping[str, float] | None) -> str:
    return "" if times is None else f"{times['p50_ms']:.2f} / {times['p99_ms']:.2f}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.serve", description=__doc__)
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--stub", action="store_true", help="measure the API with a stub of an engine")
    server.add_argument("--bundle", type=user_path, help="folder of a bundle of a model of simulated flow")
    server.add_argument("--make", choices=("tiny", "small"), help="measure a model of this configuration")
    server.add_argument("--url", help="a server that runs already")
    parser.add_argument("--option", action="append", default=[], help="an argument of the server; may be repeated")
    parser.add_argument("--clients", type=_numbers(int), default=[1, 4, 16], help="numbers of clients, closed loop")
    parser.add_argument("--rates", type=_numbers(float), default=[1.0], help="requests per second, open loop")
    parser.add_argument("--events", type=int, default=50, help="events of a stream")
    parser.add_argument("--history", type=int, default=50, help="events of the history of a request")
    parser.add_argument("--predictions", type=int, default=200, help="predictions of a session")
    parser.add_argument("--seconds", type=float, default=15.0, help="time of each case")
    return parser.parse_args(arguments)


def _numbers(kind: Any) -> Any:
    return lambda text: [kind(part) for part in text.split(",") if part]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    chosen = parsed(arguments)
    found: dict[str, Any] = {"benchmark": "serve"}
    if chosen.stub:
        found["rows"] = list(stub_rows(chosen.seconds))
    else:
        with target_for(chosen) as target:
            _, listed = asyncio.run(Connection(target).request("GET", "/v1/models"))
            found["models"] = listed["models"]
            found["rows"] = list(engine_rows(target, chosen))
            if chosen.predictions:
                found["predictions"] = asyncio.run(predictions(target, count=chosen.predictions))
    Console(width=140).print(table(found["rows"]))
    if "predictions" in found:
        times = found["predictions"]
        print(f"predict {_pair(times['predict'])} ms with a session that has been read, at one client;")
        print(f"{_pair(times['at_once'])} ms at once after an event; feed {_pair(times['feed'])} ms")
        print(f"predict with 100 paths of {SAMPLED['events']} events: {times['sampled']['ms_per_100_paths']:.0f} ms")
    print(json.dumps({**found, **surroundings("serve", packages=PACKAGES, used="all used")}))


if __name__ == "__main__":
    main()

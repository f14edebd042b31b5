"""No acknowledged outcome is lost, and none counts twice, whenever the server or the database is killed.

LOB_JAX_FULL=1 kills 100 times instead of 10.
"""

import os
import time

import pytest

from lob_jax.serving.client import Client
from lob_jax.serving.experiments.store.store import Store
from tests.serving.http.conftest import HISTORY
from tests.serving.http.trials.crashing import (
    EACH,
    PAIRED,
    SPLIT,
    blocks_of,
    killed,
    rows_of,
    server_of,
    unharmed,
)

TIMES = 100 if os.environ.get("LOB_JAX_FULL") == "1" else 10


def again(server):
    server.kill()
    server.start()


def check(clients, database, tmp_path):
    """Compare a database with what clients were told, and with one that nothing has happened to."""
    counts = [client.end() for client in clients]
    assert min(counts) > 0
    wanted = {
        client.name: [(name, number * EACH, EACH) for number, name in enumerate(client.acknowledged)]
        for client in clients
    }
    assert rows_of(database) == wanted
    other = f"sqlite:///{tmp_path / 'unharmed.db'}"
    unharmed(other, counts)
    blocks = blocks_of(database)
    assert blocks == blocks_of(other) and sum(map(len, blocks.values())) == sum(n * EACH // 8 for n in counts)
    opened, before = (sum(getattr(client, name) for client in clients) for name in ("opened", "before"))
    print(f"\n{sum(counts)} outcomes, {opened} sessions, {before} were recorded before")


def create(database):
    store = Store(database)
    store.create(PAIRED)
    store.close()


@pytest.mark.slow
def test_a_server_that_is_killed_twice(tmp_path):
    database = f"sqlite:///{tmp_path / 'experiments.db'}"
    create(database)
    check(killed(database, again, times=2, seed=0), database, tmp_path)


@pytest.mark.slow
def test_a_server_that_is_killed_many_times(url, tmp_path):
    create(url)
    check(killed(url, again, times=TIMES, seed=1), url, tmp_path)


@pytest.mark.slow
def test_a_database_that_is_killed_many_times(postgres, tmp_path):
    database = postgres.database()
    create(database)

    def kill(_):
        postgres.kill()
        postgres.start()

    clients = killed(database, kill, times=TIMES, seed=2)
    check(clients, database, tmp_path)


def opened(server, unit, experiment):
    with Client(server.url, server.key) as client:
        body = {"history": HISTORY, "experiment": experiment, "unit": unit}
        return client._http.post("/v1/sessions", json=body, headers={"Authorization": f"Bearer {server.key}"}).json()


@pytest.mark.slow
def test_two_processes_on_one_database_agree(url):
    store = Store(url)
    store.create(SPLIT)
    store.close()
    with server_of(url) as one, server_of(url) as other:
        units = [f"unit {number}" for number in range(12)]
        arms = [opened(one, unit, "split")["arm"] for unit in units]
        assert arms == [opened(other, unit, "split")["arm"] for unit in reversed(units)][::-1] and set(arms) == {
            "a",
            "b",
        }
        with Client(one.url, one.key) as client:
            decision = {"decision": "promote", "arm": "b", "because": "the test says so"}
            headers = {"Authorization": f"Bearer {one.key}"}
            assert client._http.post("/v1/experiments/split/decisions", json=decision, headers=headers).is_success
        limit = time.monotonic() + 30
        while {opened(other, unit, "split")["arm"] for unit in units} != {"b"}:
            assert time.monotonic() < limit
            time.sleep(0.05)
        with Client(other.url, other.key) as client:
            assert client.experiment("split")["decisions"][0]["by"] == "local"
            assert [one["experiment"]["name"] for one in client.experiments()["experiments"]] == ["split"]

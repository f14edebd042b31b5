"""Servers with experiments on real sockets, with stubs of engines and a database in memory behind them."""

import contextlib
import dataclasses

import httpx
import pytest

from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.http.app import build_app
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import Listening
from lob_jax.serving.http.service import Service
from lob_jax.serving.http.trials.routes import with_experiments
from lob_jax.serving.stub import StubServer, stub_facts
from tests.serving.experiments.conftest import new_database, url
from tests.serving.experiments.memory import MemoryStore, analysed, made
from tests.serving.experiments.postgres import postgres
from tests.serving.http.conftest import HISTORY
from tests.serving.settings import limits

__all__ = ["new_database", "postgres", "url"]


def event(number):
    """Return an event by its number."""
    time_ns = 1_340_285_402_000_000_000 + number * 1_000_003
    return {"time": time_ns, "kind": "add", "side": "bid", "price": f"585.{number % 30:02d}", "size": 10 + number % 7}


def events(first, last):
    return [event(number) for number in range(first, last)]


@dataclasses.dataclass
class Running:
    """A server with experiments.

    Attributes:
      url: where it listens.
      client: a client with its key.
      key: the key.
      stubs: its engines, "one" and "two".
      store: its database.
      experiments: its experiments.
      service: what its routes share.
    """

    url: str
    client: httpx.Client
    key: str
    stubs: dict
    store: MemoryStore
    experiments: Experiments
    service: Service

    def opened(self, unit="u", experiment="test", **fields):
        """Return what a session of a unit is answered."""
        body = {"history": HISTORY, "experiment": experiment, **({"unit": unit} if unit else {}), **fields}
        return self.client.post("/v1/sessions", json=body)

    def session(self, unit="u", experiment="test"):
        answer = self.opened(unit, experiment)
        assert answer.status_code == 201, answer.text
        return answer.json()["session"]

    def outcome(self, session, outcome, sent):
        return self.client.post("/v1/outcomes", json={"session": session, "outcome": outcome, "events": sent})

    def look(self, session):
        return self.client.get(f"/v1/sessions/{session}").json()


@contextlib.contextmanager
def serving(store=None, *, operators=("local",), two=None, refresh_s=0.05, guards_s=3600.0, given=None, **changes):
    """Run a server with experiments."""
    stubs = {"one": StubServer(stub_facts("one")), "two": two or StubServer(stub_facts("two"), skill=0.1)}
    keys, store = OneKey(), store or MemoryStore()
    experiments = Experiments(store, given or analysed, refresh_s=refresh_s, guards_s=guards_s)
    service = Service(stubs, keys, limits(**changes))
    more = with_experiments(service, experiments, operators=operators)
    listening = Listening(build_app(service, more=more), service, host="127.0.0.1", port=0)
    headers = {"Authorization": f"Bearer {keys.key}"}
    try:
        with httpx.Client(base_url=listening.url, headers=headers, timeout=30) as client:
            yield Running(listening.url, client, keys.key, stubs, store, experiments, service)
    finally:
        listening.drain(0.0)
        experiments.close()


@pytest.fixture
def server():
    """A server with a paired and a split experiment."""
    store = MemoryStore()
    store.create(made())
    store.create(made("parted", design="split"))
    with serving(store) as running:
        yield running

"""Servers on real sockets, with a stub of an engine behind them."""

import dataclasses
import threading

import httpx
import pytest

from lob_jax.serving.http.app import build_app
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import Listening
from lob_jax.serving.http.service import Service
from lob_jax.serving.stub import StubServer
from tests.serving.settings import limits

OPENING = {"time": "2012-06-21T13:30:00Z", "bids": [["585.33", 100]], "asks": [["585.34", 50]]}
ADD = {"time": "2012-06-21T13:30:01Z", "kind": "add", "side": "bid", "price": "585.33", "size": 100}
HISTORY = {"opening": OPENING, "events": [ADD]}


@dataclasses.dataclass
class Running:
    """A server that listens.

    Attributes:
      stub: its engine.
      service: what its routes share.
      listening: its sockets.
      client: a client with its key.
      key: the key.
      lines: what it has logged.
    """

    stub: StubServer
    service: Service
    listening: Listening
    client: httpx.Client
    key: str
    lines: list[str]

    def opened(self):
        """Return the id of a new session."""
        return self.client.post("/v1/sessions", json={"history": HISTORY}).json()["session"]


@pytest.fixture(scope="module")
def start():
    """Return a function that starts a server: its engine, its keys, and changes of the limits of base."""
    running = []

    def start(stub=None, *, keys=None, key="", servers=None, **changes):
        own, lines = OneKey(), []
        stub = stub or StubServer()
        service = Service(servers or {"stub": stub}, keys or own, limits(**changes))
        listening = Listening(build_app(service, access=lines.append), service, host="127.0.0.1", port=0)
        key = key or own.key
        client = httpx.Client(base_url=listening.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        running.append(Running(stub, service, listening, client, key, lines))
        return running[-1]

    yield start
    enders = [threading.Thread(target=one.listening.drain, args=(0.0,)) for one in running]
    for one, ender in zip(running, enders, strict=True):
        one.client.close()
        ender.start()
    for ender in enders:
        ender.join()


@pytest.fixture(scope="module")
def server(start):
    """Return a server that the tests of a file share."""
    return start()

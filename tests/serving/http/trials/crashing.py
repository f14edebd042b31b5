"""Real servers in processes of their own that are killed at any moment, and clients that do not give up."""

import contextlib
import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import sqlalchemy as sa

from lob_jax.serving.client import Client, Problem, Retries
from lob_jax.serving.experiments.experiment import Arm, Experiment
from lob_jax.serving.experiments.store.store import Store
from tests.serving.http.conftest import OPENING
from tests.serving.http.trials.conftest import events

ROOT = pathlib.Path(__file__).resolve().parents[4]
PAIRED = Experiment(
    "paired", "paired", (Arm("a", "one"), Arm("b", "two")), salt="salt", created_s=1e9, block=8, gap=2, alpha=0.05
)
SPLIT = dataclasses.replace(PAIRED, name="split", design="split")
EACH = 3  # events of an outcome
LOST = (httpx.TransportError, Problem)  # the client opens its session again
RETRIES = Retries(most=2, longest_s=2.0)
PROGRAM = """
import contextlib, sys
from lob_jax.signals import EndsInOrder, listen
listen()
from lob_jax.serving.experiments.analysis import analysed
from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.experiments.store.store import Store
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import serve
from lob_jax.serving.stub import StubServer, stub_facts
from tests.serving.settings import settings
key = OneKey()
stubs = {"one": StubServer(stub_facts("one")), "two": StubServer(stub_facts("two"), skill=0.1)}
experiments = Experiments(Store(sys.argv[1]), analysed, refresh_s=0.2)
given = settings(port=0, drain_s=5.0, access_log=False, rate_per_s=1e9, burst=10**9, operators=("local",))
with EndsInOrder(), contextlib.closing(experiments):
    tell = lambda url: print(url, key.key, flush=True)
    serve(stubs, given, keys=key, on_listening=tell, experiments=experiments)
"""


class Server:
    """A server of two stubs with a database, in a process of its own."""

    def __init__(self, database):
        self._database = database
        self.start()

    def start(self):
        command = [sys.executable, "-c", PROGRAM, self._database]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        self.url, self.key = self.process.stdout.readline().split()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode


@contextlib.contextmanager
def server_of(database):
    server = Server(database)
    try:
        yield server
    finally:
        server.kill()


class Unit(threading.Thread):
    """A client that sends outcomes of a unit, one after another, until it is told to end and the last is acknowledged.

    Attributes:
      acknowledged: names of outcomes, in order.
      opened: how often it has opened a session.
      before: how many were told to have been recorded before.
    """

    def __init__(self, server, unit, *, outcomes=None):
        super().__init__(name=unit)
        self._server, self._unit, self._outcomes = server, unit, outcomes
        self.ending, self.acknowledged, self.opened, self.before = threading.Event(), [], 0, 0
        self.error, self._waits = None, False
        self.start()

    def run(self):
        try:
            while not self._done():
                try:
                    self._follow()
                except LOST as error:
                    if isinstance(error, Problem) and error.status not in (404, 503):
                        raise
                    time.sleep(0.02)
        except BaseException as error:
            self.error = error

    def end(self):
        """Wait for its end; return how many outcomes are acknowledged."""
        self.ending.set()
        self.join()
        if self.error is not None:
            raise self.error
        return len(self.acknowledged)

    def _done(self):
        ending = self.ending.is_set() if self._outcomes is None else len(self.acknowledged) == self._outcomes
        return ending and not self._waits

    def _follow(self):
        """Open a session with all that is acknowledged, and send what comes next."""
        done = len(self.acknowledged) * EACH
        history = events(max(0, done - 50), done)
        with Client(self._server.url, self._server.key, retries=RETRIES, timeout_s=20) as client:
            given = {"experiment": PAIRED.name, "unit": self._unit}
            with client.session(OPENING, history, **given) as session:
                self.opened += 1
                while not self._done():
                    number, self._waits = len(self.acknowledged), True
                    told = session.outcome(f"outcome {number}", events(number * EACH, (number + 1) * EACH))
                    assert told["first"] == number * EACH and told["events"] == EACH
                    self.before += told["recorded"] == "before"
                    self.acknowledged.append(told["outcome"])
                    self._waits = False


def killed(database, kill, *, times, seed, units=2):
    """Let clients send outcomes while something is killed so many times; return the clients, which have ended.

    Args:
      database: the URL of a database.
      kill: takes the server; kills something, and starts it again.
      times: how often.
      seed: of the moments.
      units: how many clients.
    """
    draw = random.Random(seed)
    with server_of(database) as server:
        clients = [Unit(server, f"unit {number}") for number in range(units)]
        for _ in range(times):
            more = draw.randint(0, 4)  # a server has work most of the time, however long it takes to start
            reached = [len(client.acknowledged) + more for client in clients]
            while all(len(c.acknowledged) < n and c.is_alive() for c, n in zip(clients, reached, strict=True)):
                time.sleep(0.005)
            time.sleep(draw.uniform(0.0, 0.05))
            kill(server)
        for client in clients:
            client.end()
        assert server.end() == 0
    return clients


def unharmed(database, counts):
    """Let the same number of outcomes of each unit be recorded without any harm."""
    store = Store(database)
    store.create(PAIRED)
    with server_of(database) as server:
        clients = [Unit(server, f"unit {number}", outcomes=count) for number, count in enumerate(counts)]
        for client in clients:
            client.join()
            client.end()
    store.close()


def blocks_of(database):
    """Return the means of the blocks of each unit, in order."""
    store = Store(database)
    kept = store.kept(PAIRED)
    store.close()
    both = np.concatenate([kept.nats_BA, kept.brier_BA], axis=1)
    return {unit.unit: both[kept.unit_B == index].tolist() for index, unit in enumerate(kept.units)}


def rows_of(database):
    """Return the name, the first event and the number of events of all outcomes, by unit, from the tables."""
    engine = sa.create_engine(database)
    query = sa.text(
        "SELECT u.unit, o.outcome, o.first, o.events FROM outcomes o JOIN units u ON o.unit_id = u.id ORDER BY o.first"
    )
    found = {}
    with engine.connect() as connection:
        for unit, *row in connection.execute(query):
            found.setdefault(unit, []).append(tuple(row))
    engine.dispose()
    return found

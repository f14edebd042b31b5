"""What is read of an experiment grows with it, and is what a new reader sees."""

import contextlib
import dataclasses
import threading

import numpy as np
import pytest
import sqlalchemy as sa

from lob_jax.serving.experiments.experiment import RampStep
from lob_jax.serving.experiments.results import Decision, Requests
from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.store.made import EXPERIMENT, SPLIT, outcome, same

RAMPED = dataclasses.replace(EXPERIMENT, ramp=(RampStep(1_005.0, 1.0),))


@pytest.fixture
def store(url):
    with contextlib.closing(Store(url)) as store:
        yield store


def test_each_look_sees_what_a_new_reader_sees(store, url):
    for experiment in (RAMPED, SPLIT):
        store.create(experiment)
    looks = 0
    for number in range(30):
        for experiment in (RAMPED, SPLIT):
            unit = store.assign(experiment, f"{number * 7 % 11}", at_s=2_000.5 + number)
            arms = (unit.arm,) if experiment.design == "split" else ("control", "new", "wide")
            sent = outcome(f"{number}", unit=unit.unit, events=1 + number * 5 % 23, arms=arms)
            store.record(experiment, sent, at_s=0.0)
            store.count(experiment.name, {"new": Requests(answered=number)})
        if number % 4 == 0:
            with contextlib.closing(Store(url)) as new:
                for experiment in (RAMPED, SPLIT):
                    assert same(store.kept(experiment), new.kept(experiment))
                    looks += 1
    assert looks == 16 and len(store.kept(RAMPED).unit_B) > 5 and len(store.kept(SPLIT).unit_B) == 11


def test_only_what_is_new_is_read(store):
    store.create(EXPERIMENT)
    store.assign(EXPERIMENT, "AAPL 1", at_s=2_000.0)
    store.record(EXPERIMENT, outcome("1", events=25), at_s=0.0)
    first = store.kept(EXPERIMENT)
    with store._database.writing() as connection:
        connection.execute(sa.text("DELETE FROM blocks WHERE number = 0"))
    store.record(EXPERIMENT, outcome("2", events=25), at_s=0.0)
    second = store.kept(EXPERIMENT)
    assert len(first.unit_B) == 2 and len(second.unit_B) == 5
    np.testing.assert_array_equal(second.nats_BA[:2], first.nats_BA)


def test_arms_that_were_ever_taken_out_are_known(store):
    store.create(EXPERIMENT)
    for number, decision in enumerate(("trip", "resume", "keep")):
        assert store.kept(EXPERIMENT).taken_out == frozenset(["new"] if number else [])
        arm = "" if decision == "keep" else "new"
        store.decide(EXPERIMENT.name, Decision(decision, arm, "server", "it fails", float(number), {}))
    assert store.kept(EXPERIMENT).taken_out == {"new"}


def test_what_one_has_read_cannot_be_changed_by_another(store):
    store.create(EXPERIMENT)
    store.assign(EXPERIMENT, "AAPL 1", at_s=2_000.0)
    store.record(EXPERIMENT, outcome("1", events=25), at_s=0.0)
    for array in (store.kept(EXPERIMENT).nats_BA, store.kept(EXPERIMENT).brier_BA, store.kept(EXPERIMENT).unit_B):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_many_may_look_while_it_grows(store, url):
    store.create(EXPERIMENT)
    store.assign(EXPERIMENT, "AAPL 1", at_s=2_000.0)
    seen, ended = [], threading.Event()

    def look():
        while not ended.is_set():
            seen.append(store.kept(EXPERIMENT).nats_BA)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(25):
        store.record(EXPERIMENT, outcome(f"{number}", events=10), at_s=0.0)
    ended.set()
    for thread in threads:
        thread.join()
    with contextlib.closing(Store(url)) as new:
        whole = new.kept(EXPERIMENT).nats_BA
    assert same(store.kept(EXPERIMENT), store.kept(EXPERIMENT)) and len(whole) == 25
    for nats_BA in seen:
        np.testing.assert_array_equal(nats_BA, whole[: len(nats_BA)])

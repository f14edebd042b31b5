"""Threads and processes that write at once: the same as if they had taken turns."""

import contextlib
import dataclasses
import itertools
import subprocess
import sys
import threading

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies

from lob_jax.serving.experiments.results import Decision, Requests
from lob_jax.serving.experiments.store.errors import Conflict
from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.store.made import EXPERIMENT, SPLIT, outcome, same
from tests.serving.experiments.store.writer import sent

NUMBERS = itertools.count()
SENT = strategies.lists(strategies.tuples(strategies.integers(0, 2), strategies.integers(0, 5)), max_size=12)


@pytest.fixture(scope="module")
def stores(new_database):
    """Return two stores of one database, as two processes have them."""
    url = new_database()
    with contextlib.closing(Store(url)) as one, contextlib.closing(Store(url)) as other:
        yield one, other


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return a store in which one after another is written."""
    with contextlib.closing(Store(f"sqlite:///{tmp_path_factory.mktemp('alone') / 'a.db'}")) as store:
        yield store


def at_once(*actions):
    """Run functions in threads of their own; return what they return."""
    found, failed, gate = [None] * len(actions), [], threading.Barrier(len(actions))

    def act(place, action):
        gate.wait()
        try:
            found[place] = action()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    return found


def made(unit, name, experiment):
    arms = tuple(arm.name for arm in experiment.arms)
    return outcome(f"{name}", unit=f"{unit}", events=1 + (unit + 5 * name) % 17, arms=arms)


def in_order(store, name):
    """Return the units and outcomes of an experiment in the order in which they were kept."""
    query = sa.text(
        "SELECT unit, outcome FROM outcomes JOIN units ON units.id = unit_id"
        " WHERE experiment = :name ORDER BY outcomes.id"
    )
    with store._database.reading() as connection:
        return [(int(unit), int(outcome)) for unit, outcome in connection.execute(query, {"name": name})]


@hypothesis.given(SENT, SENT)
@hypothesis.settings(max_examples=20, suppress_health_check=[*hypothesis.HealthCheck], database=None, derandomize=True)
def test_two_that_write_at_once_leave_what_one_would(stores, alone, first, second):
    experiment = dataclasses.replace(EXPERIMENT, name=f"e{next(NUMBERS)}")
    stores[0].create(experiment)

    def write(store, pairs):
        new = []
        for unit, name in pairs:
            store.assign(experiment, f"{unit}", at_s=2_000.0)
            recorded = store.record(experiment, made(unit, name, experiment), at_s=0.0)
            store.count(experiment.name, {"new": Requests(answered=1), "control": Requests(answered=2)})
            new += [] if recorded.before else [(unit, name)]
        return new

    new = at_once(lambda: write(stores[0], first), lambda: write(stores[1], second))
    order = in_order(stores[0], experiment.name)
    assert sorted(new[0] + new[1]) == sorted({*first, *second}) == sorted(order)
    kept, sums = stores[1].kept(experiment), len(first) + len(second)
    assert kept.requests["new"].answered == sums and kept.requests["control"].answered == 2 * sums
    alone.create(experiment)
    for unit in kept.units:
        alone.assign(experiment, unit.unit, at_s=2_000.0)
    for unit, name in order:
        alone.record(experiment, made(unit, name, experiment), at_s=0.0)
    alone.count(experiment.name, kept.requests)
    assert same(kept, alone.kept(experiment))


def test_processes_that_send_the_same_keep_it_once(new_database, alone):
    url, last = new_database(), 40
    with contextlib.closing(Store(url)) as store:
        command = [sys.executable, "-m", "tests.serving.experiments.store.writer", url, "0", f"{last}"]
        writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        told = [writer.communicate()[0].split() for writer in writers]
        assert told == [[f"{number}" for number in range(last + 1)]] * 3
        order = [number for _, number in in_order(store, "trial")]
        assert order == list(range(last + 1))
        alone.create(EXPERIMENT)
        for unit in store.kept(EXPERIMENT).units:
            alone.assign(EXPERIMENT, unit.unit, at_s=2_000.0)
        for number in order:
            alone.record(EXPERIMENT, sent(number), at_s=0.0)
        assert same(store.kept(EXPERIMENT), alone.kept(EXPERIMENT)) and len(store.kept(EXPERIMENT).unit_B) > 10


def test_a_unit_gets_one_arm_whoever_asks(stores):
    stores[0].create(SPLIT)
    changed = dataclasses.replace(SPLIT, salt="another")  # so that both would choose differently
    units = [f"{number}" for number in range(20)]

    def ask(store, experiment):
        return [store.assign(experiment, unit, at_s=2_000.0) for unit in units]

    first, second = at_once(lambda: ask(stores[0], SPLIT), lambda: ask(stores[1], changed))
    assert first == second and {*first} == {*stores[0].kept(SPLIT).units}


def test_an_experiment_is_created_once_whoever_comes_first(stores):
    ones = [dataclasses.replace(EXPERIMENT, name="raced", block=block) for block in (20, 30)]

    def create(store, experiment):
        try:
            return store.create(experiment)
        except Conflict as error:
            return error

    found = at_once(*(lambda one=one, store=store: create(store, one) for one, store in zip(ones, stores, strict=True)))
    assert sorted(type(one).__name__ for one in found) == ["Conflict", "NoneType"]
    assert stores[0].experiment("raced") == ones[found.index(None)]


def test_of_two_that_end_an_experiment_one_is_told_that_it_has_ended(stores):
    stores[0].create(dataclasses.replace(EXPERIMENT, name="ending"))

    def decide(store, name, arm):
        try:
            return store.decide("ending", Decision(name, arm, "me", "why", 0.0, {})).status
        except Conflict:
            return None

    found = at_once(lambda: decide(stores[0], "stop", ""), lambda: decide(stores[1], "promote", "new"))
    (status,) = {*found} - {None}
    assert None in found and stores[0].standing("ending").status == status
    assert len(stores[0].decisions("ending")) == 1

"""Scores of what comes next, given the recent past only, are those given the entire day."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.snapshot import Corrections
from lob_jax.serving.engine.open import open_server
from lob_jax.serving.engine.warm_up import ask
from lob_jax.serving.experiments.tail import Tail
from lob_jax.serving.requests import History, Score
from tests.serving.settings import settings


@pytest.fixture(scope="module")
def engine(exported):
    given = dataclasses.replace(settings().engine, precision="float32", threads=1)
    found = open_server(exported.bundle.folder, name="small", settings=given)
    yield found
    found.drain(0.0)


def test_scores_of_a_tail_are_those_of_the_day(engine, day):
    tail = Tail(History(day.start), keep=engine.facts.slots, instrument=engine.facts.instrument)
    count = len(day.events)
    for first in range(0, count, 31):
        last = min(first + 31, count)
        events, corrections = day.events[first:last], day.corrections.between(first, last)
        if first > 300:
            whole = History(day.start, day.events[:last], day.corrections.between(0, last))
            wanted = ask(engine, Score(whole, first=first))
            asked = tail.score(events, corrections)
            assert asked.first < first  # the tail has moved
            found = ask(engine, asked)
            assert len(found.nats) == last - first
            for name in ("nats", "brier", "chance", "entropy_bits"):
                np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-4)
            assert found.outside == wanted.outside
        tail.extend(events, corrections)
    assert last == count > 500


def test_an_event_that_contradicts_the_book_is_told_by_its_number(engine, day):
    tail = Tail(History(day.start), keep=engine.facts.slots, instrument=engine.facts.instrument)
    tail.extend(day.events[:200], day.corrections.between(0, 200))
    wrong = day.events[200:203].replace(price=day.events.price[200:203] + np.array([0, 10**9, 0]))
    with pytest.raises(ValueError) as raised:
        ask(engine, tail.score(wrong, Corrections.none()))
    assert raised.value.event == len(tail) + 1

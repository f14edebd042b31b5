"""Random mutations of a valid stream: what is refused changes nothing, what is taken is what the oracle makes of it."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.oracle import OracleBook
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import Corrections
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Code, Events, Kind
from lob_jax.serving.market.errors import EventError
from tests.serving.market.markets import TOKENIZERS, days, differences, followed, last_token, opened, whole

CONTENT = ("kind", "side", "price", "size", "order_id")
NUMBERS = (0, 1, 2, 7, 99, 100, 101, 10**6, 10**12 - 1, 10**12, 2**31, 2**61, 2**62)
MARKETS = [
    (("orders", "ranks"), 3_000),
    (("orders", "rounded"), 2_000),
    (("without ids", "exact"), 1_500),
    (("narrow window", "exact ranks"), 2_000),
    (("window", "compact"), 1_500),
    (("levels", "exact"), 1_500),
    (("signed", "exact ranks"), 1_500),
]
IDS = (0, 1, 5, 10**9, ANONYMOUS_ID, ANONYMOUS_ID + 1, 2**64 - 1)


def mutated(events, random, known):
    """Return one event or a few, some of them with a value that another event has, or that none should have."""
    columns = {name: getattr(events, name).copy() for name in (*CONTENT, "code", "time_ns")}
    for row in range(len(events)):
        for _ in range(random.integers(0, 3)):
            name = random.choice(["kind", "side", "price", "size", "order_id", "code", "time_ns"])
            columns[name][row] = mutant(name, columns[name][row], random, known)
    return Events.from_columns(**columns)


def mutant(name, value, random, known):
    draws = {
        "kind": lambda: random.integers(0, 9),
        "side": lambda: random.choice([-1, 0, 1, 1, -1]),
        "price": lambda: value + random.choice([-300, -100, -100, -50, -1, 1, 100, 100, 200, 500, 10_000]),
        "size": lambda: random.choice([*NUMBERS, -1, max(int(value) - 1, 0), int(value) + 1, 2 * int(value)]),
        "order_id": lambda: np.uint64(random.choice([*map(float, IDS[:4])])) if random.random() < 0.5 else IDS[-1],
        "code": lambda: random.integers(0, 9),
        "time_ns": lambda: value + random.choice([-1, 1, 10**9, -(10**10), 3 * 10**14]),
    }
    if name in ("price", "size", "order_id") and random.random() < 0.3:
        return random.choice(getattr(known, name))
    return draws[name]()


def corrected(events, random):
    """Return corrections of some events, now and then: of levels near them."""
    at = np.flatnonzero(random.random(len(events)) < 0.05)
    at = at[(events.price[at] > 0) & (events.price[at] < 10**9) & (np.abs(events.side[at]) == 1)]
    sizes = random.choice([0, 1, 50, 700], len(at))
    prices = np.maximum(events.price[at] // 100 * 100, 100)
    return Corrections(at - random.integers(0, 2), events.side[at], prices, sizes)


def apply(oracle, events, corrections):
    def correct(event):
        for at in np.flatnonzero(corrections.event == event).tolist():
            oracle.correct(*(int(getattr(corrections, name)[at]) for name in ("side", "price", "size")))

    correct(-1)
    for row in range(len(events)):
        if events.kind[row] != Kind.CONTROL:
            oracle.apply(*(int(getattr(events, name)[row]) for name in CONTENT))
        elif events.code[row] == Code.CLEAR:
            oracle.clear()
        correct(row)


def resting(snapshot):
    rows = (snapshot.side, snapshot.price, snapshot.size, snapshot.order_id)
    return list(zip(*(column.tolist() for column in rows), strict=True))


@pytest.mark.parametrize(
    ("name", "tokenizer", "count"),
    [
        *((*market, 400) for market, _ in MARKETS),
        *(pytest.param(*market, count, marks=pytest.mark.slow) for market, count in MARKETS),
    ],
)
def test_a_market_survives_whatever_comes(name, tokenizer, count):
    day, random = days()[name], np.random.default_rng(len(name) + count)
    market, oracle = opened(day, TOKENIZERS[tokenizer]), OracleBook(day.start)
    taken, refused, at = [], 0, 0
    for _ in range(count):
        part = slice(at, at + int(random.choice([1, 1, 1, 2, 5])))
        valid = day.events[part] if part.start < len(day.events) else day.events[random.integers(0, len(day.events), 2)]
        given = mutated(valid, random, day.events) if random.random() < 0.6 or part.start >= len(day.events) else valid
        corrections = day.corrections.between(part.start, part.stop)
        corrections = corrected(given, random) if random.random() < 0.3 else corrections
        before = market.copy()
        try:
            market.take(given, corrections)
        except EventError as error:
            assert differences(market._state, before._state) == [] and differences(market._last, before._last) == []
            assert differences(market._carried, before._carried) == [] and market.outside == before.outside
            assert_first(before, given, corrections, error)
            refused += 1
        else:
            apply(oracle, given, corrections)
            taken.append((given, corrections))
            at = part.stop if part.start < len(day.events) else at
        at += random.random() < 0.1  # what a stream has lost is missing from then on
        if random.random() < 0.1 or len(taken) < 50:
            orders = [(side, *order) for side in (BID, ASK) for order in oracle.orders(side)]
            assert resting(market.book) == orders
    assert refused > count / 8 and len(taken) > count / 8
    assert_whole(day, TOKENIZERS[tokenizer], market, taken)


def assert_first(before, given, corrections, error):
    """The events before the one that was refused are valid, and it is not."""
    upto = corrections.event < max(error.event, 0)
    columns = (getattr(corrections, name)[upto] for name in ("event", "side", "price", "size"))
    before.take(given[: error.event], Corrections(*columns))
    with pytest.raises(EventError) as again:
        before.take(given[error.event : error.event + 1])
    assert again.value.what == error.what and again.value.event == 0


def assert_whole(day, tokenizer, market, taken):
    """A day of all that was taken ends in the same market."""
    firsts = np.cumsum([0, *(len(events) for events, _ in taken)])
    events = Events.concatenate([events for events, _ in taken])
    rows = [
        (each.event + first, each.side, each.price, each.size) for (_, each), first in zip(taken, firsts, strict=False)
    ]
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    same = columns[0] >= 0  # no day has corrections before its first event
    together = dataclasses.replace(day, events=events, corrections=Corrections(*(column[same] for column in columns)))
    (book,) = snapshots_at(together, np.array([len(events)]))
    assert resting(book) == resting(market.book)
    again, read = opened(day, tokenizer), whole(together, tokenizer)
    found = followed(again, together)
    assert differences(found, {"tokens": read.tokens_T, **read.known_T}) == []
    assert differences(again.prompt(), last_token(read)) == []

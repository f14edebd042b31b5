"""Hand-made records, a small market day whose events from some index on can be exchanged, and a feed of such days."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.feed import STRICT, DaySource, Reading
from lob_jax.tokens.vocabulary import EOS

INSTRUMENT = Instrument("TEST", "XNAS", "2012-06-21", time_zone="America/New_York")  # a Thursday
OPEN_NS = INSTRUMENT.midnight_ns() + 34_200 * 10**9


def hand_record(events: list[list[int]], *, lead_events: int = 0, first_event: int = 0) -> dict:
    """A record with these tokens an event: book row i is full of i, event i happens i + 1 minutes after the open."""
    rows = np.arange(len(events) + 1)
    return {
        "tokens": np.array([token for event in events for token in event] + [EOS], np.uint16),
        "features": np.repeat(rows[:, None], 4, axis=1).astype(np.float32),
        "clock_ns": OPEN_NS + rows * 60 * 10**9,
        "mid2": 2_000_000 + rows,
        "lead_events": np.int64(lead_events),
        "first_event": np.int64(first_event),
        "instrument": json.dumps(INSTRUMENT.to_dict()),
        "tokenizer": "exact",
    }


def plain_events(count: int, *, tokens: int = 3) -> list[list[int]]:
    """Events of the same number of tokens, at least 3, each token id telling its place in the record."""
    return [
        [1000 + i % 280, 8000 + i % 10, 9010 + i % 90, *(7000 + 1 + k for k in range(tokens - 3))] for i in range(count)
    ]


class Market:
    """Random, valid order flow at prices from 90 to 110 ticks of 100, on a book kept as a list of orders."""

    def __init__(self):
        self.orders: list[list[int]] = []  # side, price, size, order id
        self.rows: list[tuple[int, ...]] = []  # time, kind, code, side, price, size, order id
        self.time_ns = OPEN_NS

    def best(self, side: int) -> int:
        prices = [order[1] for order in self.orders if order[0] == side]
        return (max(prices) if side > 0 else min(prices)) if prices else 10_000 - 200 * side

    def step(self, rng: np.random.Generator) -> None:
        gap = 0 if rng.random() < 0.2 else int(rng.lognormal(20, 2))
        self.time_ns += gap
        side = int(rng.choice([-1, 1]))
        draw = rng.random()
        own = [order for order in self.orders if order[0] == side]
        if draw < 0.02:
            self.note(Kind.CONTROL, 0, 0, 0, 0, code=int(rng.choice([Code.HALT, Code.RESUME_TRADE])))
        elif draw < 0.06:
            self.note(Kind.EXECUTE_HIDDEN, side, self.best(side) - 50 * side, int(rng.integers(1, 300)), 0)
        elif draw < 0.5 or len(own) < 4:
            self.add(rng, side)
        else:
            self.remove(rng, own, draw)

    def add(self, rng: np.random.Generator, side: int) -> None:
        price = self.best(-side) - side * 100 * int(rng.integers(1, 8))
        size = int(rng.choice([100, 37, 200, 1005]))
        self.orders.append([side, price, size, len(self.rows) + 1])
        self.note(Kind.ADD, *self.orders[-1])

    def remove(self, rng: np.random.Generator, own: list[list[int]], draw: float) -> None:
        order = own[int(rng.integers(len(own)))]
        kind = Kind.CANCEL if draw < 0.6 else Kind.DELETE
        if draw > 0.8:
            best = self.best(order[0])
            kind, order = Kind.EXECUTE, next(other for other in own if other[1] == best)
        size = order[2]
        if kind == Kind.CANCEL:
            size = max(1, order[2] // 3)
        elif kind == Kind.EXECUTE:
            size = int(rng.integers(1, order[2] + 1))
        self.note(kind, order[0], order[1], size, order[3])
        order[2] -= size
        self.orders = [other for other in self.orders if other[2] > 0]

    def note(self, kind: int, side: int, price: int, size: int, order_id: int, *, code: int = 0) -> None:
        self.rows.append((self.time_ns, int(kind), code, side, price, size, order_id))


def make_day(
    events: int, *, seed: int = 0, fork: int | None = None, fork_seed: int = 1, trading_day: str = "2012-06-21"
) -> MarketDay:
    """A day of random events, from index `fork` on by another seed, with corrections of a deep level now and then."""
    market, rng = Market(), np.random.default_rng(seed)
    for index in range(events):
        if index == fork:
            rng = np.random.default_rng(fork_seed)
        market.step(rng)
    names = ("time_ns", "kind", "code", "side", "price", "size", "order_id")
    columns = dict(zip(names, (np.array(column) for column in zip(*market.rows, strict=True)), strict=True))
    at = np.arange(5, events, 11)
    corrections = Corrections(at, np.where(at % 2, 1, -1).astype(np.int8), 10_000 - np.where(at % 2, 1, -1) * 2_000, at)
    return MarketDay(
        instrument=Instrument(**{**INSTRUMENT.to_dict(), "trading_day": trading_day}),
        start=BookSnapshot.empty(OPEN_NS),
        events=Events.from_columns(**columns),
        corrections=corrections,
        report={"rows": events},
    )


class HeldFeed:
    """Days that are in memory."""

    def __init__(self, *held: MarketDay):
        self.held = held

    def days(self, path=None) -> list[DaySource]:
        return [DaySource(path, day.instrument.symbol, day.instrument.trading_day) for day in self.held]

    def read(self, source: DaySource, reading: Reading = STRICT) -> MarketDay:
        assert reading.store is not None, "nothing bounds the memory"
        return self.held[self.days(source.path).index(source)]


def of_symbol(day: MarketDay, symbol: str, **changes) -> MarketDay:
    """The same day of another instrument."""
    return dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, symbol=symbol, **changes))


@pytest.fixture(name="held_feed", scope="session")
def held_feed_fixture():
    return HeldFeed


@pytest.fixture(name="of_symbol", scope="session")
def of_symbol_fixture():
    return of_symbol


@pytest.fixture(name="hand_record", scope="session")
def hand_record_fixture():
    return hand_record


@pytest.fixture(name="plain_events", scope="session")
def plain_events_fixture():
    return plain_events


@pytest.fixture(name="make_day", scope="session")
def make_day_fixture():
    return make_day

"""A grammar of a few tokens, streams that it allows, and records of a lively book with queues and contradictions."""

import types

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.counts.book_counts import fit_book_counts
from lob_jax.data.records.records import day_record
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.grammar import grammar_for

HEADS = (1000, 1500, 3000, 3969)  # the last one is a price of five digits: 469 + 0, its digits in continuations
SIZES = (8001, 8100, 8105)  # 1, and numbers of 3 digits that begin with 10 and 15
GAPS = (9000, 9101, 9190, v.TIME_SKIP, v.TIME_BACK)
DIGITS = (7000, 7100, 7500, 7120)
RANKS = (v.RANK_BASE, v.RANK_BASE + 1, v.RANK_ESCAPE)
KEPT = (*HEADS, *SIZES, *GAPS, *DIGITS, *RANKS, v.FIRST_CONTROL, v.EOS)


def small_grammar(references="newest"):
    """The exact grammar without most of its tokens."""
    whole = grammar_for(None, references)
    kept = np.isin(np.arange(v.VOCAB_SIZE), KEPT)
    return types.SimpleNamespace(
        transition=np.where(kept, whole.transition, -1).astype(np.int16),
        allowed=whole.allowed & kept,
        start=whole.start,
    )


def random_stream(grammar, seed: int, length: int) -> np.ndarray:
    """About `length` tokens of whole events."""
    rng, tokens, state, last = np.random.default_rng(seed), [], grammar.start, 0
    while len(tokens) < length or state != grammar.start:
        choices = np.flatnonzero(grammar.allowed[state])
        choices = choices[choices != v.EOS]
        weight = 1 + 8.0 * ((choices + last) % 3 == 0)
        weight[np.isin(choices, (v.TIME_SKIP, v.TIME_BACK, v.FIRST_CONTROL))] = 0.3
        token = int(rng.choice(choices, p=weight / weight.sum()))
        last = token % 7 if 1000 <= token < 7000 else last
        state = int(grammar.transition[state, token])
        tokens.append(token)
    return np.array(tokens, np.uint16)


@pytest.fixture(scope="session")
def grammar():
    return small_grammar()


@pytest.fixture(scope="session")
def stream(grammar):
    return lambda seed, length=60: random_stream(grammar, seed, length)


INSTRUMENT = Instrument("TEST", "XNAS", "2012-06-21", time_zone="America/New_York", tick=100)
OPEN_NS = INSTRUMENT.midnight_ns() + 34_200 * 10**9
SIZES_OF_ORDERS = (100, 100, 200, 7, 105, 1_234)


def lively_day(seed: int, count: int) -> MarketDay:
    """A day of every kind of event; one in ten contradicts the book, and corrections reveal levels."""
    rng, now, rows, corrections = np.random.default_rng(seed), OPEN_NS, [], []
    orders = [[1, 9_900, 300], [1, 9_800, 50], [-1, 10_100, 80], [-1, 10_300, 100]]
    start = np.array(orders).T
    for i in range(count):
        now += int(rng.choice([0, 1, 37, 1_050, 123_456, 98_765_432, -5], p=[0.1, 0.1, 0.2, 0.2, 0.2, 0.19, 0.01]))
        now += 10**12 * int(rng.random() < 0.01)
        side = int(rng.choice([1, -1]))
        own = [order for order in orders if order[0] == side]
        best = max((order[1] * side for order in own), default=10_000 * side) * side
        draw = rng.random()
        if draw < 0.02:
            rows.append((now, Kind.CONTROL, int(rng.choice([Code.HALT, Code.FEED_GAP])), 0, 0, 0))
        elif draw < 0.08:
            rows.append((now, Kind.EXECUTE_HIDDEN, 0, side, best - 50 * side * int(rng.integers(0, 4)), 10))
        elif draw < 0.16:  # contradicts the book: nothing may rest there, or not so much
            kind = rng.choice([Kind.CANCEL, Kind.DELETE, Kind.EXECUTE])
            rows.append((now, int(kind), 0, side, best + side * 100 * int(rng.integers(-30, 3)), 77))
        elif draw < 0.55 or not own:
            far = int(rng.choice([-1, 0, 1, 2, 5, 12_345], p=[0.1, 0.4, 0.2, 0.15, 0.14, 0.01]))
            order = [side, best - side * 100 * far, int(rng.choice(SIZES_OF_ORDERS))]
            orders.append(order)
            rows.append((now, Kind.ADD, 0, *order))
        else:
            order = own[-1] if rng.random() < 0.7 else own[int(rng.integers(len(own)))]
            orders.remove(order)
            rows.append((now, Kind.DELETE, 0, *order))
        if rng.random() < 0.05:
            corrections.append((i, side, best - side * 1_500, int(rng.integers(1, 500))))
    names = ("time_ns", "kind", "code", "side", "price", "size")
    events = Events.from_columns(**dict(zip(names, np.array(rows, np.int64).T, strict=True)))
    side, price, size = start
    book = BookSnapshot(
        OPEN_NS,
        side.astype(np.int8),
        price,
        size,
        order_id=np.arange(1, 5).astype(np.uint64),
        anonymous=np.zeros(4, bool),
        last_best=price[::2].copy(),
    )
    fixed = Corrections(*np.array(corrections, np.int64).reshape(-1, 4).T)
    return MarketDay(INSTRUMENT, book, events, fixed, {})


def record_of(seed: int, count: int, tokenizer: ExactTokenizer, *, lead: int = 0):
    """The record of a lively day."""
    record = day_record(lively_day(seed, count), 0, count, tokenizer, book_levels=2)
    return {**record, "lead_events": np.int64(lead)}


@pytest.fixture(scope="session")
def fitted():
    """A fitted model of records whose times are rounded, and its tokenizer."""
    tokenizer = ExactTokenizer(time_digits=5)
    train = [record_of(seed, 700, tokenizer, lead=20) for seed in (1, 2)]
    return fit_book_counts(train, [record_of(3, 500, tokenizer)], tokenizer), tokenizer

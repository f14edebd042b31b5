"""The device's masks are the sets of the host: the same tokens are allowed at every position of a stream."""

import dataclasses
import functools
import os
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import find_corrections, reference_runs, replay, snapshots_at
from lob_jax.events.halts import OPEN, QUOTING, closed_before, halts_of
from lob_jax.events.schema import Kind
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.tardis.feed import TardisFeed
from lob_jax.generation.device import assembler, compact_paths, live_book
from lob_jax.generation.prompt import ANY_SIZES, book_room
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compact import CompactTokenizer, read_words, resolve
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.sets.planes import unpack
from tests.counts.conftest import lively_day
from tests.generation.device.walk import (
    FIELDS,
    GRAMMAR,
    INSTRUMENT,
    RANKED,
    TICK,
    TOKENIZER,
    allowed,
    choose,
    drawn_book,
    snapshot,
    take,
)
from tests.generation.market import COMPACT

PLACES, ORDERS = 64, 64  # room for every order of these days, so that only the book decides
EVENTS = int(os.environ.get("LOB_JAX_SET_EVENTS", "150"))  # of each real day
# Feed, file, first event, and how many tokens of an event may be outside their sets; of one feed, most trades are.
REAL = [
    (LobsterFeed(), "lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz", 70_000, 0.02),
    (LobsterFeed(), "lobster/AAPL_2012-06-21_34200000_57600000_message_1.csv.gz", 20_000, 0.02),
    (DatabentoFeed(), "databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst", 10_000, 0.02),
    (TardisFeed(), "tardis/tardis_binance_BTCUSDT_incremental_book_L2_2019-12-01_rows_1_2050.csv", 0, 0.5),
    (TardisFeed(), "tardis/binance-futures_2024-08-08_incremental_book_L2_BTCUSDT.csv.gz", 20_000, 0.02),
]
IDS = ["lobster", "best quotes", "databento", "tardis", "futures"]
IN_EVENT = (v.FIELD_HEAD_DIGITS, v.FIELD_SIZE, v.FIELD_SIZE_DIGITS, v.FIELD_RANK, v.FIELD_RANK_DIGITS, v.FIELD_GAP)
MORE = [pytest.param(seed, ranks, marks=pytest.mark.slow) for seed in range(1, 6) for ranks in (False, True)]


def sets_of(tokens, day, closed=OPEN, *, ranks=False):
    """Return the host's sets, bool [T, V], and whether each token is outside its own."""
    sets = (RANKED if ranks else TOKENIZER).sets(np.asarray(tokens), day, closed=closed)
    bits = unpack(sets.packed(np.arange(len(tokens))))
    return bits.astype(bool), sets.outside > 0


def assert_same(found_V, expected_V, told):
    wrong = np.flatnonzero(found_V != expected_V)
    assert not wrong.size, (told, [(v.describe(int(token)), bool(found_V[token])) for token in wrong[:5]])


@pytest.mark.parametrize(("seed", "ranks"), [(0, False), (0, True), *MORE])
def test_along_streams_that_the_masks_allow(seed, ranks):
    random = np.random.default_rng(seed)
    for round_ in range(6):
        signed, pooled = bool(round_ % 2), round_ == 2
        oracle = drawn_book(random, pooled=pooled, sides=random.random(2) < 0.9, signed=signed)
        room = {"places": PLACES, "orders": 1 if pooled else ORDERS}
        book, _ = live_book.from_snapshot(snapshot(oracle), tick=TICK, signed=signed, **room)
        spelling, state = assembler.blank(), jnp.int32(GRAMMAR.start)
        tokens, rows = [], []
        while len(tokens) < 50:
            rows.append(np.asarray(allowed(book, spelling, state, ranks=ranks)))
            tokens.append(choose(random, rows[-1]))
            book, spelling, state = take(book, spelling, state, jnp.int32(tokens[-1]), ranks=ranks)
        day = MarketDay.opening(dataclasses.replace(INSTRUMENT, signed=signed), snapshot(oracle))
        expected_TV, outside_T = sets_of(tokens, day, ranks=ranks)
        assert not outside_T.any()
        for t, found_V in enumerate(rows):
            assert_same(found_V, expected_TV[t], (round_, t, [v.describe(token) for token in tokens[:t][-6:]]))


def assert_same_along(day, *, closed=OPEN, places=PLACES, orders=ORDERS, ranks=False):
    """Walk over the tokens of a day, each event on the host's book before it; return how many tokens are outside."""
    day = dataclasses.replace(day, start=day.start.identified()) if ranks else day
    tokenizer = RANKED if ranks else TOKENIZER
    tokens = tokenizer.encode(day)
    expected_TV, outside_T = sets_of(tokens, day, closed, ranks=ranks)
    decoded = day.with_events(tokenizer.decode(tokens, day))
    halts, corrected = halts_of(decoded.events.kind, decoded.events.code), set(day.corrections.event.tolist())
    books, tick = snapshots_at(decoded, np.arange(len(decoded.events) + 1)), day.instrument.tick

    def loaded(done):
        rules = {"signed": day.instrument.signed, "closed": closed_before(halts, done, closed=closed)}
        return live_book.from_snapshot(next(books), tick=tick, places=places, orders=orders, **rules)

    (book, origin), done, free = loaded(0), 0, False
    spelling, state = assembler.blank(), jnp.int32(GRAMMAR.start)
    for t, token in enumerate(tokens.tolist()):
        if not (free and FIELDS[ranks][state] in IN_EVENT):
            found_V = np.asarray(allowed(book, spelling, state, tick=tick, ranks=ranks))
            assert_same(found_V, expected_TV[t], (done, t, v.describe(token)))
        free = bool(outside_T[t]) or (free and not assembler.is_head(jnp.int32(token)))
        spelt = bool(assembler.is_time(jnp.int32(token))) and not int(spelling.in_time)
        after, spelling, state = take(book, spelling, state, jnp.int32(token), ranks=ranks)
        if spelt:
            (book, now), done = loaded(done + 1), done + 1
            if not free and done - 1 not in corrected:
                both = [live_book.to_levels(one, at, tick=tick) for one, at in ((after, origin), (book, now))]
                assert both[0] == both[1], done
            origin = now
    return int(outside_T.sum())


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [False, True])
def test_along_flow_that_contradicts_the_book(ranks):
    assert 0 < assert_same_along(lively_day(5, 40), ranks=ranks) < 40


def test_along_flow_in_a_halt():
    assert assert_same_along(lively_day(5, 12), closed=2) > 0


def test_along_flow_in_a_window():
    day = lively_day(5, 80)
    day = dataclasses.replace(day, events=day.events[day.events.kind <= 4], corrections=day.corrections.none())
    states = replay(day, levels=2).after()
    start = dataclasses.replace(day.start, anonymous=np.ones(len(day.start), bool), window=2)
    found = find_corrections(day.events, start=start, price=states.price, size=states.size)
    assert len(found) == 6
    assert_same_along(dataclasses.replace(day, start=start, corrections=found))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [False, True])
@pytest.mark.parametrize(("feed", "name", "first", "outside"), REAL, ids=IDS)
def test_along_real_flow(market_data, feed, name, first, outside, ranks):
    day = feed.read(feed.days(market_data(name))[0])
    (start,) = snapshots_at(day, np.array([first]))
    day = day.part(first, min(first + EVENTS, len(day.events)), start=start)
    room = room_along(day)
    found = assert_same_along(day, places=room["places"], orders=room["orders"], ranks=ranks)
    assert found < max(20, outside * len(day.events))


def room_along(day):
    """Return room for all orders along a day: a full array is no part of a set."""
    rooms = [book_room(book) for book in snapshots_at(day, np.arange(0, len(day.events) + 1, 50))]
    return {name: max(room[name] for room in rooms) for name in ("places", "orders")}


@functools.partial(jax.jit, static_argnames="tick")
def compact_allowed(book, tables, *, tick):
    path, shape = types.SimpleNamespace(book=book), types.SimpleNamespace(tick=tick)
    return compact_paths.masks(path, tables, shape)[1]


def assert_same_along_compact(day, tokenizer, *, closed=OPEN, places=PLACES, orders=ORDERS):
    """Compare the sets in the places of a day's compact tokens; return how many tokens are outside."""
    tokens, tick = tokenizer.encode(day), day.instrument.tick
    sets, tables = tokenizer.sets(tokens, day, closed=closed), compact_paths.compact_tables(tokenizer, ANY_SIZES)
    expected_TV = unpack(sets.packed(np.arange(len(tokens))))
    halts, grammar_V = halts_of(day.events.kind, day.events.code), tokenizer.grammar.allowed[tokenizer.grammar.start]
    for t, start in enumerate(snapshots_at(day, np.arange(len(tokens)))):
        rules = {"signed": day.instrument.signed, "closed": closed_before(halts, t, closed=closed)}
        book, _ = live_book.from_snapshot(start, tick=tick, places=places, orders=orders, **rules)
        assert_same(np.asarray(compact_allowed(book, tables, tick=tick)) & grammar_V, expected_TV[t], t)
    return np.count_nonzero(sets.outside)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "closed"),
    [({"window": 4, "anonymous": np.ones(4, bool)}, OPEN), ({"pooled": True}, OPEN), ({}, QUOTING)],
    ids=["window", "levels", "halted"],
)
def test_of_compact_tokens(start, closed):
    day = lively_day(3, 60)
    day = dataclasses.replace(day, start=dataclasses.replace(day.start, **start))
    assert 0 < assert_same_along_compact(day, COMPACT, closed=closed) < 60


@pytest.mark.slow
@pytest.mark.parametrize(("feed", "name", "first", "outside"), REAL, ids=IDS)
def test_of_compact_tokens_along_real_flow(market_data, feed, name, first, outside):
    day = feed.read(feed.days(market_data(name))[0])
    before = np.concatenate([one for _, one in reference_runs(day, len(day.events))])
    tokenizer = CompactTokenizer.fit([seen_in(day.events, before, day.instrument, day.start.time_ns)])
    (start,) = snapshots_at(day, np.array([first]))
    day = day.part(first, min(first + EVENTS, len(day.events)), start=start)
    room = room_along(day)
    found = assert_same_along_compact(day, tokenizer, places=room["places"], orders=room["orders"])
    assert found < max(20, outside * len(day.events))


def test_compact_tokens_pass_over_orders_of_the_user_and_sizes_above_a_limit():
    random, owned, limited = np.random.default_rng(0), 0, 0
    tokens = np.arange(2_000, 4_000, 5)  # a CANCEL or DELETE in each bin of side, price and size
    words = read_words(tokens)
    rows = list(zip(words.kind.tolist(), words.side.tolist(), words.price.tolist(), words.size.tolist(), strict=True))
    room = {"tick": TICK, "places": PLACES, "orders": ORDERS}
    for _ in range(4):
        oracle = drawn_book(random, own=True)
        start = snapshot(oracle)
        books = [
            live_book.from_snapshot(one, **room)[0]
            for one in (start, dataclasses.replace(start, own=np.zeros(0, np.int64)))
        ]
        any_size, up_to_50 = (
            compact_paths.compact_tables(COMPACT, most) for most in (ANY_SIZES, np.full_like(ANY_SIZES, 50))
        )
        found, nobodys = (np.asarray(compact_allowed(book, any_size, tick=TICK))[tokens] for book in books)
        few = np.asarray(compact_allowed(books[0], up_to_50, tick=TICK))[tokens]
        assert found.tolist() == [resolve(oracle, COMPACT.bins, *row, tick=TICK) is not None for row in rows]
        usual = (words.kind == Kind.DELETE) | (words.size < 5)  # the bins of values up to 50
        np.testing.assert_array_equal(few, found & usual)
        owned, limited = owned + (nobodys & ~found).sum(), limited + (found & ~few).sum()
    assert owned > 0 and limited > 0

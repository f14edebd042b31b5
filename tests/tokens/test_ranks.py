"""Ranks of `ExactTokenizer`: which of several orders a removal takes from survives encoding and decoding."""

import dataclasses

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.loops import amend, correction_columns, event_columns, step
from lob_jax.book.oracle import OracleBook
from lob_jax.book.orders import NOBODY, named_slot
from lob_jax.book.replay import book_for, snapshots_at
from lob_jax.errors import InputError
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Events, Flag, Kind
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.sets.streams import rules_of
from lob_jax.writers.lobster import order_ids
from tests.feed_day import feed_day
from tests.tokens.sets.made import TICK, book, day_of, days, drawn
from tests.tokens.sets.reference import FAR, LOTS

RANK, NEWEST = ExactTokenizer(references="rank"), ExactTokenizer()
CONTENT = ("time_ns", "kind", "code", "side", "price", "size")
ADD, CANCEL, DELETE, EXECUTE = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE


def placed(day):
    """Return the event that added the order which each event concerns; -2 - k for order k of the start, -1 unknown."""
    where = {name: -2 - k for k, name in enumerate(day.start.order_id.tolist()) if name}
    found = []
    for number, (kind, name) in enumerate(zip(day.events.kind.tolist(), day.events.order_id.tolist(), strict=True)):
        if kind == ADD:
            where[name] = number
        found.append(where.get(name, -1) if kind <= EXECUTE else -1)
    return np.array(found)


def decoded(day, tokenizer=RANK):
    tokens = tokenizer.encode(day)
    return tokens, day.with_events(tokenizer.decode(tokens, day))


def assert_same_content(found, events):
    for name in CONTENT:
        np.testing.assert_array_equal(getattr(found, name), getattr(events, name), err_msg=name)


@pytest.fixture(scope="module")
def simulated():
    feed = SyntheticFeed(1, 6_000, 2)
    return feed.read(feed.days()[0], STRICT)


def test_every_order_of_a_simulated_day_survives(simulated):
    tokens, found = decoded(simulated)
    assert_same_content(found.events, simulated.events)
    np.testing.assert_array_equal(placed(found), placed(simulated))
    field = v.field_of(tokens)
    assert (field == v.FIELD_RANK).sum() > 100
    np.testing.assert_array_equal(tokens[field < v.FIELD_RANK], NEWEST.encode(simulated))
    assert not RANK.sets(tokens, simulated).outside.any()


def test_the_book_takes_an_event_behind_its_rank(simulated):
    tokens = RANK.encode(simulated)
    ranks = v.field_of(tokens) == v.FIELD_RANK
    clock, row = RANK.known_rows(tokens)
    np.testing.assert_array_equal(row[ranks], v.event_index(tokens)[ranks])
    np.testing.assert_array_equal(clock, v.event_index(tokens))


def test_without_ranks_orders_are_confused(simulated):
    """The rule selects another order of the same size in some removals: what ranks are there for."""
    removals = np.isin(simulated.events.kind, (CANCEL, DELETE))
    ranks = v.field_of(RANK.encode(simulated)) == v.FIELD_RANK
    others = RANK.encode(simulated)[ranks] > v.RANK_BASE
    assert 0.005 * removals.sum() < others.sum() < ranks.sum()


def test_tokens_do_not_depend_on_blocks(simulated):
    parts = list(RANK.encode_runs(simulated, run_events=701))
    np.testing.assert_array_equal(np.concatenate(parts), RANK.encode(simulated))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 250), returning=st.sampled_from([0.0, 0.5, 1.0]))
def test_days_whose_ids_come_back_are_decoded_as_they_were_encoded(seed, count, returning):
    """Executions that name any order leave orders in the encoder's book that are gone, and whose ids come back."""
    day = feed_day(seed, count, returning=returning)
    tokens, found = decoded(day)
    assert_same_content(found.events, day.events)
    np.testing.assert_array_equal(RANK.encode(found), tokens)
    oracle = OracleBook(day.start)
    names = ("kind", "side", "price", "size", "order_id")
    for event, rank in zip(
        zip(*(getattr(found.events, name).tolist() for name in names), strict=True), ranks_of(tokens), strict=True
    ):
        kind, side, price, size, name = event
        if kind != ADD:
            fits = ranked(oracle.sides[side][price], kind, size)
            assert (rank is not None) == (kind != EXECUTE and len(fits) > 1)
            assert name == (fits[rank or 0] if fits else 0)
        oracle.apply(*event)


def ranks_of(tokens):
    """Return the rank of each event, None for one without."""
    found = [None] * (int(v.event_index(tokens)[-1]) + 1)
    for at in np.flatnonzero(v.field_of(tokens) == v.FIELD_RANK):
        found[v.event_index(tokens)[at]] = numbers.read_rank(tokens, at)[0]
    return found


def ranked(queue, kind, size):
    """Return the names of the orders that a removal may mean by their rank, that of an anonymous one once."""
    if kind == EXECUTE:
        return [ANONYMOUS_ID if queue[0].anonymous else queue[0].order_id]
    larger = [order for order in queue[::-1] if order.size > size and (kind == CANCEL or order.anonymous)]
    fits = [order for order in queue[::-1] if kind == DELETE and order.size == size] + larger
    return list(dict.fromkeys(ANONYMOUS_ID if order.anonymous else order.order_id for order in fits))


@settings(max_examples=25)
@given(day=days(), seed=st.integers(0, 2**32 - 1))
def test_the_decoded_events_name_the_orders_of_the_decoders_book(day, seed):
    """Encoded again, and replayed by either book, decoded events find the same orders."""
    day = dataclasses.replace(day, start=day.start.identified())
    rules = rules_of(day, gap_digits=12, ranks=True)._replace(most_distance=FAR, most_lots=LOTS)
    tokens, _ = drawn(day, rules, np.random.default_rng(seed), closed=0, time_digits=None, escapes=0.0)
    tokens = tokens[: np.flatnonzero(v.field_of(tokens) == v.FIELD_HEAD)[-1]]
    count = int(v.event_index(tokens)[-1]) + 1
    day = dataclasses.replace(day, corrections=day.corrections.between(0, count))
    found = day.with_events(RANK.decode(tokens, day))
    np.testing.assert_array_equal(RANK.encode(found), tokens)
    oracle, cursor = OracleBook(day.start), 0
    columns = (getattr(found.events, name) for name in ("kind", "side", "price", "size", "order_id"))
    for number, event in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if event[0] <= EXECUTE:
            oracle.apply(*event)
        while cursor < len(day.corrections) and day.corrections.event[cursor] == number:
            oracle.correct(*(int(getattr(day.corrections, name)[cursor]) for name in ("side", "price", "size")))
            cursor += 1
    (after,) = snapshots_at(found, np.array([count]))
    plain = [order for side in (BID, ASK) for order in oracle.orders(side)]
    assert list(zip(after.price.tolist(), after.size.tolist(), after.order_id.tolist(), strict=True)) == plain


def outcome(orders, *events, own=()):
    """Return the rank tokens of events (kind, size, id) at one price, and the ids of the events that decoding gives."""
    start = book(*((BID, 100, size, unknown) for _, size, unknown in orders))
    named = np.array([name for name, _, _ in orders], np.uint64)
    day = day_of(dataclasses.replace(start, order_id=named, own=np.array(own, np.int64)))
    kind, size, name = np.array(events).T
    none = np.zeros(len(kind), int)
    events = Events.from_columns(
        time_ns=none, kind=kind, side=none + BID, price=none + 100 * TICK, size=size, order_id=name.astype(np.uint64)
    )
    tokens, found = decoded(day.with_events(events))
    assert_same_content(found.events, events)
    ranks = tokens[(v.field_of(tokens) == v.FIELD_RANK)].astype(int) - v.RANK_BASE
    return ranks.tolist(), found.events.order_id.tolist()


QUEUE = [(7, 5, False), (8, 3, False), (9, 5, False)]  # (id, size, anonymous), from the front
MIXED = [(0, 9, True), (7, 5, False), (8, 5, False), (0, 7, True)]


def test_a_removal_that_one_order_fits_has_no_rank():
    assert outcome(QUEUE, (DELETE, 3, 8)) == ([], [8])
    assert outcome(QUEUE, (CANCEL, 5, 7)) == ([], [0])  # no order is larger: the book's rule takes from the back
    assert outcome(QUEUE, (EXECUTE, 2, 7)) == ([], [7])


def test_ranks_count_from_the_back_among_the_orders_that_fit():
    assert outcome(QUEUE, (DELETE, 5, 9)) == ([0], [9])
    assert outcome(QUEUE, (DELETE, 5, 7)) == ([1], [7])
    assert outcome(QUEUE, (CANCEL, 2, 8)) == ([1], [8])
    assert outcome(QUEUE, (CANCEL, 3, 7), (DELETE, 2, 7)) == ([1], [7, 7])


def test_orders_of_the_size_come_before_an_anonymous_one_that_may_contain_it():
    assert outcome(MIXED, (DELETE, 5, 8)) == ([0], [8])
    assert outcome(MIXED, (DELETE, 5, 7)) == ([1], [7])
    assert outcome(MIXED, (CANCEL, 4, 7)) == ([2], [7])  # behind the newer anonymous one; the older has no rank


def test_an_unknown_order_is_in_an_anonymous_one():
    """Otherwise a known order would go in its place, and would be missing when it is removed itself."""
    assert outcome(MIXED, (DELETE, 5, 55), (DELETE, 5, 8)) == ([2, 0], [ANONYMOUS_ID, 8])
    assert outcome(MIXED, (CANCEL, 4, 55)) == ([0], [ANONYMOUS_ID])
    assert outcome(QUEUE, (DELETE, 5, 55)) == ([0], [9])  # no order can be it
    assert outcome(QUEUE, (DELETE, 5, 0)) == ([0], [9])


def test_an_id_that_comes_back_is_that_of_the_newest_order():
    """The order that had it before, which the encoder still holds, is taken where the rule selects it."""
    queue = [(8, 5, False), (9, 9, False), (7, 5, False)]
    misled = [(EXECUTE, 2, 7), (DELETE, 3, 7)]  # by which 8 has gone, and 7 not
    assert outcome(queue, *misled, (ADD, 5, 7), (DELETE, 5, 7)) == ([0], [8, 8, 10, 10])
    assert outcome(queue, *misled, (ADD, 5, 7), (DELETE, 5, 8)) == ([0], [8, 8, 10, 10])
    assert outcome(queue, *misled, (ADD, 4, 7), (DELETE, 5, 8), (DELETE, 4, 7)) == ([], [8, 8, 10, 7, 10])
    assert outcome(queue, *misled, (ADD, 4, 7), (CANCEL, 2, 9), (CANCEL, 3, 7)) == ([2, 0], [8, 8, 10, 9, 10])


def test_orders_of_the_user_have_no_rank():
    assert outcome(QUEUE, (DELETE, 5, 7), own=[2]) == ([], [7])
    assert outcome([*QUEUE, (10, 5, False)], (DELETE, 5, 7), own=[2]) == ([1], [7])


def test_orders_without_an_id_are_told_apart_as_well():
    day = day_of(book((BID, 100, 5, 0), (BID, 100, 5, 0)))
    event = {"kind": DELETE, "side": BID, "price": 100 * TICK, "size": 5}
    day = day.with_events(Events.from_columns(**{name: np.array([value] * 1) for name, value in event.items()}))
    tokens = RANK.encode(day)
    assert v.RANK_BASE in tokens
    tokens[tokens == v.RANK_BASE] = v.RANK_BASE + 1
    assert RANK.decode(tokens, day).order_id.tolist() == [1]


@pytest.mark.parametrize("rank", [None, 2, 40])
def test_a_missing_or_wrong_rank_is_refused(rank):
    day = day_of(book((BID, 100, 5, 0), (BID, 100, 5, 0)))
    tokens = np.array([3000, 8005, *([] if rank is None else written(rank)), 9000])
    with pytest.raises(InputError, match="which of several orders") as refused:
        RANK.decode(tokens, day)
    assert refused.value.where == "token 0 (event 0)"
    with pytest.raises(InputError, match="which of several orders"):
        RANK.decode(np.array([1000, 8005, v.RANK_BASE, 9000]), day)
    assert RANK.sets(tokens, day).outside.any()


def written(rank):
    tokens = np.zeros(2, np.uint16)
    return tokens[: numbers.write_rank(tokens, 0, rank)].tolist()


def test_every_rank_has_one_spelling():
    spellings = [written(rank) for rank in range(v.MOST_RANKS)]
    assert len({tuple(tokens) for tokens in spellings}) == v.MOST_RANKS
    assert [len(tokens) for tokens in spellings] == [1] * v.RANKS + [2] * (v.MOST_RANKS - v.RANKS)
    for rank, tokens in enumerate(spellings):
        assert numbers.read_rank(np.array([*tokens, v.TIME]), 0) == (rank, len(tokens))
    last = [1000, 8005, *spellings[-1], v.TIME]
    RANK.grammar.check(np.array(last))
    assert v.field_of(np.array(last)).tolist() == [1, 3, v.FIELD_RANK, v.FIELD_RANK_DIGITS, 5]


def test_a_long_queue_needs_two_tokens_for_an_order_in_front():
    count = v.RANKS + 5
    orders = [(k + 1, 5, False) for k in range(count)]
    start = book(*((BID, 100, 5, 0) for _ in orders))
    day = day_of(dataclasses.replace(start, order_id=np.arange(1, count + 1, dtype=np.uint64)))
    for name in (1, 2, 5, 6, count):
        event = {"kind": DELETE, "side": BID, "price": 100 * TICK, "size": 5, "order_id": name}
        one = day.with_events(Events.from_columns(**{key: np.array([value]) for key, value in event.items()}))
        tokens, found = decoded(one)
        assert found.events.order_id.tolist() == [name]
        sets = RANK.sets(tokens, one)
        every = np.arange(v.VOCAB_SIZE)
        allowed = [sets.contains(np.full(len(every), row), every) for row in range(sets.rows)]
        assert np.flatnonzero(allowed[2]).tolist() == list(range(v.RANK_BASE, v.RANK_ESCAPE + 1))
        if name <= 5:
            assert np.flatnonzero(allowed[3]).tolist() == list(range(v.CONTINUATION, v.CONTINUATION + 5))


def test_events_of_the_user_are_decoded_with_their_owner():
    day = day_of(book((BID, 100, 5, 0)))
    tokens = np.array([1000, 8005, 9000, 3000, 8005, 9000])
    own = np.array([True, True, True, False, False, False])
    found = RANK.decode(tokens, day, own=own)
    assert found.flags.tolist() == [Flag.OWN, 0] and found.order_id.tolist() == [2, 1]
    with pytest.raises(InputError, match="which of several orders"):
        RANK.decode(tokens, day)


def test_a_vocabulary_keeps_its_references(tmp_path):
    RANK.vocabulary.save(tmp_path / "vocabulary.json")
    loaded = v.Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded == RANK.vocabulary and loaded.hash != NEWEST.vocabulary.hash
    assert tokenizer_for(loaded).vocabulary.has_ranks and not NEWEST.vocabulary.has_ranks
    with pytest.raises(InputError, match="references"):
        ExactTokenizer(references="oldest")


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 10])
def test_orders_of_a_real_day(market_data, levels):
    """Print how often removals find the right one of the orders in view, by the rule and with ranks.

    An order that leaves the view is forgotten: when its level comes back, it is part of an anonymous one.
    """
    day = LobsterFeed().read(market_data(f"lobster/GOOG_2012-06-21_34200000_57600000_message_{levels}.csv.gz"))
    (tokens, found), E = decoded(day), len(day.events)
    assert_same_content(found.events, day.events)
    true, share = placed(day), {}
    is_known = (true >= 0) & known(book_for(day), event_columns(day.events), correction_columns(day.corrections, E))
    for name, ours in (("rank", placed(found)), ("newest", placed(replayed(day)))):
        share[name] = {
            kind.name: float((ours == true)[rows].mean())
            for kind in (CANCEL, DELETE, EXECUTE)
            if (rows := is_known & (day.events.kind == kind)).any()
        }
    ranks = tokens[v.field_of(tokens) == v.FIELD_RANK].astype(int)
    p = np.bincount(ranks - v.RANK_BASE)[:, None] / len(ranks)
    bits = float(-(p[p > 0] * np.log2(p[p > 0])).sum()) * len(ranks) / E
    print(f"\nGOOG_{levels}: {share}, {len(ranks) / E:.3f} ranks and {bits:.3f} bits per event, {is_known.sum()} known")
    assert all(share["rank"][kind] >= max(share["newest"][kind], 0.99) for kind in share["rank"])
    assert not (RANK.sets(tokens, day).outside > 0).mean() > 0.001


@numba.njit
def known(book, events, corrections):
    """Return whether the order of each event rests at its price in a book that is kept by ids, bool [E]."""
    found, cursor = np.zeros(len(events.kind), np.bool_), 0
    for i in range(len(found)):
        s = 0 if events.side[i] > 0 else 1
        found[i] = named_slot(book, s, np.int64(events.price[i]), np.int64(events.order_id[i])) != NOBODY
        step(book, events, i)
        cursor = amend(book, corrections, cursor, i)
    return found


def replayed(day):
    """Return the day with the ids of the orders that the rule selects, by the tokens without ranks."""
    events = NEWEST.decode(NEWEST.encode(day), day)
    adds = np.where(day.events.kind == ADD, day.events.order_id, 0).astype(np.uint64)
    ids = order_ids(day.with_events(events.replace(order_id=adds)))
    return day.with_events(events.replace(order_id=ids))

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lob_jax.book.oracle import OracleBook
from lob_jax.book.replay import (
    count_states,
    find_corrections,
    one_step_mismatches,
    reference_runs,
    references,
    replay,
    settled_share,
    snapshots_at,
)
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from tests.market_day import market_day


def events_of(*rows):
    """Build events one ns apart from (kind, side, price, size[, order_id]) rows; (CONTROL, code) clears."""
    rows = [(*row, 0) if len(row) == 4 else row for row in rows]
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.zeros(0)] * 5
    kind, side, price, size, order_id = columns
    return Events.from_columns(
        time_ns=1000 + np.arange(len(rows)),
        kind=kind,
        code=np.where(kind == Kind.CONTROL, Code.CLEAR, 0),
        side=np.where(kind == Kind.CONTROL, 0, side),
        price=price,
        size=size,
        order_id=order_id,
    )


def corrections_of(*rows):
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    return Corrections(*columns) if rows else Corrections.none()


def same(first, second):
    """Return whether two snapshots or corrections are equal."""
    fields = [field.name for field in dataclasses.fields(first)]
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in fields)


DAY = events_of(
    (Kind.ADD, BID, 100, 5),
    (Kind.ADD, ASK, 102, 4),
    (Kind.ADD, BID, 99, 2),
    (Kind.EXECUTE, BID, 100, 5),
    (Kind.EXECUTE_HIDDEN, BID, 101, 5),
    (Kind.CONTROL, 0, 0, 0),
    (Kind.ADD, BID, 98, 1),
)


def test_rows_are_the_states_before_each_event_and_the_last_one_the_end():
    states = replay(market_day(DAY, start=BookSnapshot.empty(time_ns=999)), levels=2)
    assert states.price[:, 0].tolist() == [[0, 0], [100, 0], [100, 0], [100, 99], [99, 0], [99, 0], [0, 0], [98, 0]]
    assert states.size[:, 0].tolist() == [[0, 0], [5, 0], [5, 0], [5, 2], [2, 0], [2, 0], [0, 0], [1, 0]]
    assert states.price[:, 1, 0].tolist() == [0, 0, 102, 102, 102, 102, 0, 0]
    assert states.mid2().tolist() == [0, 0, 202, 202, 201, 201, 0, 0]
    assert states.reference.tolist() == [
        [0, 0], [100, 100], [100, 102], [100, 102], [99, 102], [99, 102], [99, 102], [98, 102]
    ]  # fmt: skip
    assert states.start_ns == 999


def test_before_and_after_are_one_row_apart():
    states = replay(market_day(DAY), levels=2)
    before, after = states.before(), states.after()
    assert len(before.price) == len(after.size) == len(before.reference) == len(DAY)
    assert before.size[2, 0, 0] == 5 and after.size[2, 0].tolist() == [5, 2]
    assert after.mid2().tolist() == states.mid2()[1:].tolist()


def test_a_correction_takes_effect_after_its_event():
    corrections = corrections_of((0, ASK, 103, 7), (0, BID, 100, 6), (3, ASK, 103, 0))
    states = replay(market_day(DAY, corrections=corrections), levels=1)
    assert states.price[:5, 1, 0].tolist() == [0, 103, 102, 102, 102]
    assert states.size[:5, 0, 0].tolist() == [0, 6, 6, 6, 1]  # one lot more than the execution took
    assert states.counts["unknown_level"] == 0


def test_contradictions_are_counted_by_name():
    events = events_of(
        (Kind.ADD, BID, 100, 5, 1),
        (Kind.DELETE, BID, 99, 5, 2),
        (Kind.CANCEL, BID, 100, 1, 3),
        (Kind.ADD, ASK, 100, 1, 4),
        (Kind.ADD, ASK, 98, 1, 4),
        (Kind.EXECUTE, ASK, 98, 2, 4),
    )
    states = replay(market_day(events), levels=1)
    assert states.counts == {
        "unknown_level": 1,
        "over_removal": 1,
        "unknown_order": 1,
        "duplicate_order": 1,
        "crossed": 1,
        "locked": 2,
    }


def test_no_events_leave_the_start():
    start = BookSnapshot.empty()
    states = replay(market_day(events_of(), start=start), levels=3)
    assert states.price.shape == (1, 2, 3) and not states.price.any()
    assert same(*snapshots_at(market_day(events_of(), start=start), [0]), start)


@pytest.mark.slow
def test_columns_that_no_loop_may_write_are_read_all_the_same():
    frozen = DAY.replace()
    for field in dataclasses.fields(frozen):
        getattr(frozen, field.name).setflags(write=False)
    got = references(market_day(frozen[::1]))
    assert got[-1].tolist() == [98, 102]


@pytest.mark.parametrize("rows", [(7,), (-1,), (3, 2)])
def test_corrections_of_no_event_or_out_of_order_are_refused(rows):
    corrections = corrections_of(*((row, BID, 100, 1) for row in rows))
    with pytest.raises(InputError, match="corrections do not follow their events"):
        references(market_day(DAY, corrections=corrections))


@pytest.mark.parametrize("at", [[3, 2], [8], [-1]])
def test_snapshots_at_impossible_places_are_refused(at):
    with pytest.raises(InputError, match="invalid positions"):
        snapshots_at(market_day(DAY), at)


ROWS = st.tuples(
    st.sampled_from((1, 1, 1, 1, 2, 3, 4, 5, 6, 7)),
    st.sampled_from((BID, ASK)),
    st.integers(97, 103),
    st.integers(1, 6),
    st.sampled_from((0, 1, 2, 3, 4)),
)
WINDOWS = st.sampled_from((0, 1, 2, 3))


@st.composite
def days(draw):
    """Draw events, corrections, and an empty starting book, windowed or not, pooled or not."""
    rows = draw(st.lists(ROWS, min_size=1, max_size=40))
    indices = sorted(draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)))
    corrections = [
        (i, draw(st.sampled_from((BID, ASK))), draw(st.integers(97, 103)), draw(st.integers(0, 9))) for i in indices
    ]
    start = BookSnapshot.empty(window=draw(WINDOWS), pooled=draw(st.booleans()))
    return events_of(*rows), corrections_of(*corrections), start


def oracle_rows(events, corrections, start, levels):
    """Yield (price, size, reference, orders) of every state, from the plain book."""
    oracle = OracleBook(start)
    for i in range(len(events) + 1):
        padded = [(oracle.levels(side) + [(0, 0)] * levels)[:levels] for side in (BID, ASK)]
        price, size = np.moveaxis(np.array(padded), -1, 0)
        yield price, size, [oracle.reference(side) for side in (BID, ASK)], [oracle.orders(s) for s in (BID, ASK)]
        if i == len(events):
            return
        if events.kind[i] == Kind.CONTROL:
            oracle.clear()
        else:
            oracle.apply(*(int(getattr(events, name)[i]) for name in ("kind", "side", "price", "size", "order_id")))
        for k in np.flatnonzero(corrections.event == i):
            oracle.correct(int(corrections.side[k]), int(corrections.price[k]), int(corrections.size[k]))


@pytest.fixture
def short_stride(monkeypatch):
    monkeypatch.setattr("lob_jax.book.replay._STRIDE", 7)


@given(day=days(), levels=st.integers(1, 4))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replay_and_its_snapshots_agree_with_the_oracle(short_stride, day, levels):
    """The book starts without room, checks for room every seven events, and grows as needed."""
    events, corrections, start = day
    states = replay(market_day(events, start=start, corrections=corrections), levels=levels)
    at = np.arange(len(events) + 1)
    snapshots = list(snapshots_at(market_day(events, start=start, corrections=corrections), at))
    for i, (price, size, reference, orders) in enumerate(oracle_rows(events, corrections, start, levels)):
        assert np.array_equal(states.price[i], price) and np.array_equal(states.size[i], size)
        assert states.reference[i].tolist() == reference
        taken = zip(*(getattr(snapshots[i], name).tolist() for name in ("price", "size", "order_id")), strict=True)
        assert list(taken) == orders[0] + orders[1]
        assert snapshots[i].time_ns == (events.time_ns[i - 1] if i else 0)
    assert np.array_equal(references(market_day(events, start=start, corrections=corrections)), states.reference)
    counts = count_states(market_day(events, start=start, corrections=corrections))
    assert counts == {name: states.counts[name] for name in counts} and len(counts) == 4
    runs = list(reference_runs(market_day(events, start=start, corrections=corrections), 5))
    assert [rows.start for rows, _ in runs] == list(range(0, len(events), 5))


@given(days(), st.data())
@settings(max_examples=60)
def test_a_day_cut_anywhere_goes_on_from_its_snapshot(day, data):
    events, corrections, start = day
    cut = data.draw(st.integers(0, len(events)))
    whole = replay(market_day(events, start=start, corrections=corrections), levels=3)
    (middle, end) = snapshots_at(market_day(events, start=start, corrections=corrections), [cut, len(events)])
    rest, fixed = events[cut:], corrections.between(cut, len(events))
    tail = replay(market_day(rest, start=middle, corrections=fixed), levels=3)
    for name in ("price", "size", "reference"):
        assert np.array_equal(getattr(tail, name), getattr(whole, name)[cut:])
    if len(rest):
        assert same(*snapshots_at(market_day(rest, start=middle, corrections=fixed), [len(rest)]), end)


@pytest.mark.slow
@given(days(), days(), st.integers(1, 3), st.booleans())
@settings(max_examples=100)
def test_with_its_corrections_a_replay_shows_what_the_feed_shows(day, other, levels, forget):
    """The feed's book comes from completely different events: every row contradicts the replay."""
    (events, _, _), (seen, jolts, _) = day, other
    shown = replay(market_day(seen, corrections=jolts), levels=levels).after()
    rows = np.arange(len(events)) % len(seen)
    price, size = shown.price[rows], shown.size[rows]
    start = BookSnapshot.empty(window=levels if forget else 0)
    found = find_corrections(events, start=start, price=price, size=size)
    states = replay(market_day(events, start=start, corrections=found), levels=levels).after()
    assert np.array_equal(states.price, price) and np.array_equal(states.size, size)


def test_a_pooled_level_is_one_order():
    start = BookSnapshot.empty(pooled=True)
    events = events_of((Kind.ADD, BID, 100, 5), (Kind.ADD, BID, 100, 3), (Kind.CANCEL, BID, 100, 6))
    (after_adds, after) = snapshots_at(market_day(events, start=start), [2, 3])
    assert after_adds.size.tolist() == [8] and after.size.tolist() == [2]
    assert after.pooled


def test_states_are_counted_as_a_replay_counts_them():
    events = events_of(
        (Kind.ADD, BID, 100, 5), (Kind.ADD, ASK, 100, 3), (Kind.ADD, ASK, 99, 1), (Kind.DELETE, ASK, 98, 1)
    )
    assert count_states(market_day(events)) == {"locked": 1, "crossed": 2, "unknown_level": 1, "over_removal": 0}


def test_a_part_of_a_day_has_the_books_of_the_whole():
    corrections = corrections_of((1, BID, 90, 7), (4, ASK, 120, 2), (5, BID, 91, 3))
    whole = market_day(DAY, corrections=corrections)
    (start,) = snapshots_at(whole, [3])
    part, states = whole.part(3, 6, start=start), replay(whole, levels=2)
    assert part.corrections.event.tolist() == [1, 2] and len(part.events) == 3
    assert np.array_equal(replay(part, levels=2).size, states.size[3:7])
    assert not np.array_equal(replay(market_day(DAY[3:6]), levels=2).size, states.size[3:7])


def test_a_level_that_comes_into_view_is_the_only_correction():
    start = BookSnapshot(
        time_ns=0,
        side=np.array([BID, BID], np.int8),
        price=np.array([100, 99]),
        size=np.array([5, 4]),
        order_id=np.zeros(2, np.uint64),
        anonymous=np.zeros(2, bool),
        last_best=np.array([100, 0]),
        window=2,
    )
    events = events_of((Kind.CANCEL, BID, 99, 1), (Kind.DELETE, BID, 100, 5), (Kind.ADD, BID, 101, 2))
    price = np.array([[[100, 99], [0, 0]], [[99, 96], [0, 0]], [[101, 99], [0, 0]]])
    size = np.array([[[5, 3], [0, 0]], [[3, 8], [0, 0]], [[2, 3], [0, 0]]])
    found = find_corrections(events, start=start, price=price, size=size)
    assert same(found, corrections_of((1, BID, 96, 8)))


def test_a_book_that_remembers_is_corrected_where_its_memory_is_stale():
    start = BookSnapshot.empty(window=0)
    events = events_of(
        (Kind.ADD, BID, 99, 4), (Kind.ADD, BID, 100, 5), (Kind.DELETE, BID, 100, 5), (Kind.ADD, BID, 98, 1)
    )
    price = np.array([[[99], [0]], [[100], [0]], [[98], [0]], [[98], [0]]])
    size = np.array([[[4], [0]], [[5], [0]], [[3], [0]], [[4], [0]]])
    found = find_corrections(events, start=start, price=price, size=size)
    assert same(found, corrections_of((2, BID, 99, 0), (2, BID, 98, 3)))  # 99 was no longer visible


def test_a_feed_that_contradicts_every_event_needs_no_more_room():
    events = events_of(*[(Kind.EXECUTE_HIDDEN, BID, 100, 1)] * 2000)
    price = np.tile([[[100], [0]]], (2000, 1, 1))
    size = np.arange(1, 2001)[:, None, None] * np.array([[[1], [0]]])
    found = find_corrections(events, start=BookSnapshot.empty(window=1), price=price, size=size)
    assert found.size.tolist() == list(range(1, 2001))


@pytest.mark.parametrize(
    ("rows", "levels", "window"), [(3, 2, 2), (2, 3, 2), (2, 0, 0)], ids=["rows", "narrow window", "no levels"]
)
def test_a_feed_book_that_does_not_fit_is_refused(rows, levels, window):
    book = np.zeros((rows, 2, levels), np.int64)
    with pytest.raises(InputError, match="the feed's book does not match its events"):
        find_corrections(DAY[:2], start=BookSnapshot.empty(window=window), price=book, size=book)


def test_a_row_that_its_event_does_not_explain_is_found():
    states = replay(market_day(DAY), levels=3).after()
    price, size = states.price.copy(), states.size.copy()
    assert one_step_mismatches(DAY, price=price, size=size).tolist() == []
    size[2, 0, 1] += 1
    assert one_step_mismatches(DAY, price=price, size=size).tolist() == [2, 3]


def test_a_last_level_that_comes_into_view_is_not_a_mismatch():
    events = events_of((Kind.ADD, BID, 100, 5), (Kind.DELETE, BID, 100, 5))
    price = np.array([[[100, 99], [0, 0]], [[99, 98], [0, 0]]])
    size = np.array([[[5, 4], [0, 0]], [[4, 3], [0, 0]]])
    assert one_step_mismatches(events, price=price, size=size).tolist() == []
    size[1, 0, 0] = 2
    assert one_step_mismatches(events, price=price, size=size).tolist() == [1]


def test_the_settled_share_counts_the_orders_that_the_rule_finds():
    queue = [(Kind.ADD, BID, 100, 5, i) for i in (1, 2, 3, 4)]
    events = events_of(
        *queue,
        (Kind.DELETE, BID, 100, 5, 2),  # the rule selects the newest, 4
        (Kind.DELETE, BID, 100, 5, 4),  # right
        (Kind.DELETE, BID, 100, 5, 9),  # unknown id: not counted
        (Kind.EXECUTE, BID, 100, 1, 1),  # right
    )
    got = settled_share(market_day(events))
    assert got == {"DELETE": 0.5, "EXECUTE": 1.0}


def read_lobster(market_data, stem, levels):
    """Read a LOBSTER pair: events, and the feed's own price and size [E, 2, N]."""
    name = f"lobster/{stem}_2012-06-21_34200000_57600000_{{}}_{levels}.csv.gz"
    messages = pl.read_csv(market_data(name.format("message")), has_header=False)
    rows = pl.read_csv(market_data(name.format("orderbook")), has_header=False).to_numpy().astype(np.int64)
    fields = zip(("kind", "order_id", "size", "price", "side"), range(1, 6), strict=True)
    events = Events.from_columns(
        time_ns=np.arange(len(messages)),  # a book ignores times
        **{field: messages[:, column].to_numpy() for field, column in fields},
    )
    book = rows.reshape(len(rows), levels, 2, 2)[:, :, ::-1]  # asks come first in the file
    price, size = np.moveaxis(book[..., 0], 1, 2), np.moveaxis(book[..., 1], 1, 2)
    return events, np.where(size > 0, price, 0), size


def start_of(events, price, size):
    """Return row 0 with message 0 undone, which is the window before it."""
    side = np.repeat((BID, ASK), price.shape[2]).astype(np.int8)
    price, size = price[0].ravel(), size[0].copy().ravel()
    here = (side == events.side[0]) & (price == events.price[0])
    assert here.sum() == 1
    size[here] += -events.size[0] if events.kind[0] == Kind.ADD else events.size[0]
    kept = size > 0
    return BookSnapshot(
        time_ns=0,
        side=side[kept],
        price=price[kept],
        size=size[kept],
        order_id=np.zeros(kept.sum(), np.uint64),
        anonymous=np.zeros(kept.sum(), bool),
        last_best=np.zeros(2, np.int64),
        window=len(kept) // 2,
    )


@pytest.fixture(scope="module", params=[("GOOG", 10), ("AAPL", 1)], ids=["GOOG_10", "AAPL_1"])
def lobster(request, market_data):
    stem, levels = request.param
    events, price, size = read_lobster(market_data, stem, levels)
    return stem, events, price, size, start_of(events, price, size)


def test_a_real_day_replays_to_its_own_book_with_or_without_ids(lobster):
    stem, events, price, size, start = lobster
    found = find_corrections(events, start=start, price=price, size=size)
    assert len(found) == {"GOOG": 44_451, "AAPL": 30_071}[stem]
    assert np.all(found.size > 0)  # levels become visible; none is retracted
    nameless = events.replace(order_id=np.zeros(len(events), np.uint64))
    assert same(find_corrections(nameless, start=start, price=price, size=size), found)
    for day in (events, nameless):
        states = replay(market_day(day, start=start, corrections=found), levels=price.shape[2])
        assert np.array_equal(states.after().price, price) and np.array_equal(states.after().size, size)
        assert np.array_equal(references(market_day(day, start=start, corrections=found)), states.reference)
        assert {name: n for name, n in states.counts.items() if n and name != "unknown_order"} == {}


def test_a_real_day_replays_from_a_book_that_remembers_with_fewer_corrections(lobster):
    stem, events, price, size, start = lobster
    start = dataclasses.replace(start, window=0)
    found = find_corrections(events, start=start, price=price, size=size)
    assert (len(found), np.sum(found.size == 0)) == {"GOOG": (8_332, 3_348), "AAPL": (25_900, 11_423)}[stem]
    states = replay(market_day(events, start=start, corrections=found), levels=price.shape[2]).after()
    assert np.array_equal(states.price, price) and np.array_equal(states.size, size)


def test_every_row_of_a_real_day_follows_from_the_one_before(lobster):
    _, events, price, size, _ = lobster
    assert one_step_mismatches(events, price=price, size=size).tolist() == []


def test_most_removals_of_a_real_day_are_settled_right(lobster):
    stem, events, price, size, start = lobster
    found = find_corrections(events, start=start, price=price, size=size)
    share = settled_share(market_day(events, start=start, corrections=found))
    want = {"GOOG": {"CANCEL": 1.0, "DELETE": 0.938, "EXECUTE": 0.9986}}
    want["AAPL"] = {"CANCEL": 0.988, "DELETE": 0.922, "EXECUTE": 0.9966}
    assert share == pytest.approx(want[stem], abs=5e-4)

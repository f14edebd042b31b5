"""Conversion of absolute level sizes and trades: hand-made messages, and random ones against dictionaries."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lob_jax.book.oracle import OracleBook
from lob_jax.events.schema import ASK, BID, Code, Flag, Kind
from lob_jax.feeds.levels.changes import LevelChanges
from lob_jax.feeds.levels.loops import LevelRows, What
from lob_jax.feeds.reading.scale import Steps
from lob_jax.feeds.reading.store import EventStore


def rows_of(*messages):
    """Build rows from messages (time, what, (side, price, size), ...)."""
    flat = [
        (what, g, time, side, price, size)
        for g, (time, what, *rows) in enumerate(messages)
        for side, price, size in rows
    ]
    what, group, time, side, price, size = np.array(flat, np.int64).reshape(-1, 6).T
    return LevelRows(what, group, time, time + 5, side, price, size)


def changes_of(*messages, pieces=1):
    """Convert messages, in pieces of complete messages; return start, events, corrections, dropped and counts."""
    rows, changes = rows_of(*messages), LevelChanges(EventStore(None))
    edges = np.linspace(0, len(messages), pieces + 1).astype(int)
    for low, high in zip(edges, edges[1:], strict=False):
        mine = (rows.group >= low) & (rows.group < high)
        changes.push(LevelRows(*(column[mine] for column in rows)))
    made = changes.finish(Steps(1, 1, 0, 0))
    return made.start, made.events, made.corrections, made.dropped, made.counts


def listed(events):
    """Return events as (kind, side, price, size), CONTROL as (code,)."""
    columns = (getattr(events, name).tolist() for name in ("kind", "code", "side", "price", "size"))
    return [
        (Code(code).name,) if kind == Kind.CONTROL else (Kind(kind).name, *content)
        for kind, code, *content in zip(*columns, strict=True)
    ]


LEVEL, TRADE, SNAPSHOT, GAP = What
OPEN = (10, SNAPSHOT, (BID, 100, 5), (BID, 99, 2), (ASK, 102, 10), (ASK, 103, 1))


def test_a_snapshot_is_the_start_and_no_event():
    start, events, corrections, _, counts = changes_of(OPEN)
    assert start.price.tolist() == [100, 99, 102, 103] and start.size.tolist() == [5, 2, 10, 1]
    assert start.pooled and start.time_ns == 10 and start.last_best.tolist() == [100, 102]
    assert len(events) == len(corrections) == 0 and counts["snapshots"] == 1


def test_a_level_that_grows_shrinks_or_goes_is_an_event_with_the_difference():
    _, events, _, _, _ = changes_of(OPEN, (20, LEVEL, (BID, 100, 7), (BID, 99, 0), (ASK, 102, 4), (ASK, 101, 3)))
    assert listed(events) == [("DELETE", 1, 99, 2), ("CANCEL", -1, 102, 6), ("ADD", 1, 100, 2), ("ADD", -1, 101, 3)]
    assert (events.flags & Flag.LAST_IN_GROUP > 0).tolist() == [False, False, False, True]
    assert events.time_ns.tolist() == [20] * 4 and events.receive_ns.tolist() == [25] * 4


def test_a_trade_takes_from_its_level_and_only_the_rest_of_the_change_is_a_cancel():
    _, events, _, _, counts = changes_of(OPEN, (15, TRADE, (ASK, 102, 4)), (20, LEVEL, (ASK, 102, 5)))
    assert listed(events) == [("EXECUTE", -1, 102, 4), ("CANCEL", -1, 102, 1)]
    assert events.time_ns.tolist() == [15, 20] and events.flags[0] & Flag.AGGRESSOR_KNOWN
    assert (counts["trades_explained"], counts["lots_explained"], counts["trades_hidden"]) == (1, 4, 0)


def test_a_level_that_was_filled_up_again_shows_the_trade_and_the_addition():
    _, events, _, _, _ = changes_of(OPEN, (15, TRADE, (ASK, 102, 4)), (20, LEVEL, (ASK, 102, 9)))
    assert listed(events) == [("EXECUTE", -1, 102, 4), ("ADD", -1, 102, 3)]


def test_a_trade_of_more_than_the_level_held_is_hidden_in_part():
    _, events, _, _, counts = changes_of(OPEN, (15, TRADE, (BID, 100, 8)), (20, LEVEL, (BID, 100, 0)))
    assert listed(events) == [("EXECUTE", 1, 100, 5), ("EXECUTE_HIDDEN", 1, 100, 3)]
    assert (counts["lots_explained"], counts["lots_hidden"], counts["trades_hidden"]) == (5, 3, 1)


def test_a_trade_that_no_level_of_the_next_message_explains_is_hidden():
    messages = OPEN, (15, TRADE, (ASK, 102, 4)), (20, LEVEL, (BID, 98, 1)), (25, TRADE, (ASK, 103, 1))
    assert listed(changes_of(*messages)[1]) == [
        ("EXECUTE_HIDDEN", -1, 102, 4), ("ADD", 1, 98, 1), ("EXECUTE_HIDDEN", -1, 103, 1)
    ]  # fmt: skip


def test_a_trade_of_unknown_side_rests_where_its_level_is_or_is_nearer():
    messages = OPEN, (15, TRADE, (0, 102, 4), (0, 50, 1), (0, 101, 1), (0, 200, 1)), (20, LEVEL, (ASK, 102, 6))
    _, events, _, _, _ = changes_of(*messages)
    assert listed(events) == [
        ("EXECUTE", -1, 102, 4), ("EXECUTE_HIDDEN", 1, 50, 1), ("EXECUTE_HIDDEN", 1, 101, 1),
        ("EXECUTE_HIDDEN", -1, 200, 1),
    ]  # fmt: skip
    assert not (events.flags & Flag.AGGRESSOR_KNOWN).any()


def test_what_comes_before_the_first_snapshot_is_dropped_and_counted():
    messages = (1, LEVEL, (BID, 90, 1), (ASK, 91, 1)), (2, TRADE, (BID, 90, 1)), OPEN
    start, events, _, dropped, _ = changes_of(*messages)
    assert len(start) == 4 and len(events) == 0
    assert dropped == {
        "rows before the first snapshot": 2, "trades before the first snapshot": 1, "rows behind a gap": 0,
        "rows superseded in their message": 0,
    }  # fmt: skip


def test_a_snapshot_in_mid_stream_is_a_clear_with_corrections():
    messages = OPEN, (20, LEVEL, (BID, 100, 6)), (30, SNAPSHOT, (BID, 97, 3), (ASK, 105, 2)), (40, LEVEL, (BID, 97, 1))
    _, events, corrections, _, counts = changes_of(*messages)
    assert listed(events) == [("ADD", 1, 100, 1), ("CLEAR",), ("CANCEL", 1, 97, 2)]
    assert corrections.event.tolist() == [1, 1] and corrections.price.tolist() == [97, 105]
    assert corrections.size.tolist() == [3, 2] and counts["snapshots"] == 2


def test_a_stream_of_snapshots_is_read_by_their_differences():
    messages = (
        OPEN,
        (20, SNAPSHOT, (BID, 100, 4), (ASK, 102, 10), (ASK, 104, 1)),
        (30, SNAPSHOT, (BID, 100, 4), (ASK, 104, 2)),
    )
    _, events, corrections, _, _ = changes_of(*messages)
    assert listed(events) == [
        ("DELETE", 1, 99, 2), ("DELETE", -1, 103, 1), ("CANCEL", 1, 100, 1), ("ADD", -1, 104, 1),
        ("DELETE", -1, 102, 10), ("ADD", -1, 104, 1),
    ]  # fmt: skip
    assert len(corrections) == 0


def test_a_snapshot_in_two_messages_a_side_each_is_one_start():
    messages = (10, SNAPSHOT, (BID, 100, 5)), (11, SNAPSHOT, (ASK, 102, 4)), (20, LEVEL, (BID, 100, 6))
    start, events, _, _, _ = changes_of(*messages)
    assert start.price.tolist() == [100, 102] and listed(events) == [("ADD", 1, 100, 1)]


def test_a_one_sided_snapshot_is_a_book_with_one_side():
    start, events, _, _, _ = changes_of((10, SNAPSHOT, (BID, 100, 5)), (20, LEVEL, (ASK, 103, 2)))
    assert start.side.tolist() == [1] and start.last_best.tolist() == [100, 0]
    assert listed(events) == [("ADD", -1, 103, 2)]


def test_a_gap_drops_changes_until_the_next_snapshot():
    messages = (OPEN, (20, GAP, (0, 0, 0)), (30, LEVEL, (BID, 100, 1), (BID, 99, 1)), (40, SNAPSHOT, (BID, 98, 3)))
    _, events, corrections, dropped, _ = changes_of(*messages)
    assert listed(events) == [("FEED_GAP",), ("CLEAR",)] and corrections.price.tolist() == [98]
    assert dropped["rows behind a gap"] == 2


def test_zero_of_an_unknown_level_is_counted_and_changes_nothing():
    _, events, _, _, counts = changes_of(OPEN, (20, LEVEL, (BID, 50, 0), (ASK, 60, 0)))
    assert len(events) == 0 and counts["zero_of_unknown_level"] == 2


def test_of_several_rows_of_one_level_the_last_one_counts():
    _, events, _, dropped, _ = changes_of(OPEN, (20, LEVEL, (BID, 100, 9), (ASK, 102, 3), (BID, 100, 2), (BID, 100, 4)))
    assert listed(events) == [("CANCEL", -1, 102, 7), ("CANCEL", 1, 100, 1)]
    assert dropped["rows superseded in their message"] == 2


def test_crossed_books_are_counted_and_left():
    _, events, _, _, counts = changes_of(OPEN, (20, LEVEL, (BID, 103, 1)), (30, LEVEL, (BID, 103, 0), (BID, 102, 1)))
    assert (counts["crossed_groups"], counts["locked_groups"]) == (1, 1) and len(events) == 3


def test_time_that_runs_backwards_is_flagged():
    _, events, _, _, _ = changes_of(
        OPEN, (20, LEVEL, (BID, 100, 6)), (18, TRADE, (BID, 100, 1)), (30, LEVEL, (BID, 100, 5))
    )
    assert (events.flags & Flag.BAD_TIME > 0).tolist() == [False, True]


LEVELS = st.tuples(st.sampled_from((BID, ASK)), st.integers(95, 105), st.integers(0, 4))
TRADES = st.tuples(st.sampled_from((BID, ASK, 0)), st.integers(95, 105), st.integers(1, 5))
MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just(LEVEL), st.lists(LEVELS, min_size=1, max_size=6)),
        st.tuples(st.just(LEVEL), st.lists(LEVELS, min_size=1, max_size=6)),
        st.tuples(st.just(TRADE), st.lists(TRADES, min_size=1, max_size=3)),
        st.tuples(st.just(SNAPSHOT), st.lists(LEVELS, min_size=1, max_size=6)),
        st.tuples(st.just(GAP), st.just([(0, 0, 0)])),
    ),
    max_size=25,
)


def naive_books(messages):
    """Return the book after each message.

    None if it is unknown, if the other side of its snapshot follows, or if that side came behind a trade, which still
    waits for the message that shows what it took, and precedes both in time.
    """
    books, book, after_snapshot, shown, books_of_snapshot, waits = [], None, False, set(), 0, False
    for what, rows in messages:
        sides = {side for side, _, _ in rows}
        waits = what == TRADE or (waits and what == SNAPSHOT and after_snapshot and not sides & shown)
        if what == GAP and book is not None:
            book, after_snapshot = None, False
        elif what == SNAPSHOT:
            if book is not None and after_snapshot and not sides & shown:
                books[books_of_snapshot:] = [None] * (len(books) - books_of_snapshot)
            else:
                book, shown = {}, set()
            books_of_snapshot = len(books)
            book, after_snapshot, shown = dict(book), True, shown | sides
        elif what == LEVEL and book is not None:
            after_snapshot = False
        if what in (LEVEL, SNAPSHOT) and book is not None:
            for side, price, size in rows:
                book.pop((side, price), None)
                book |= {(side, price): size} if size else {}
        books.append(None if book is None or (waits and what == SNAPSHOT) else dict(book))
    return books


BETWEEN_SIDES = [(SNAPSHOT, [(BID, 95, 0)]), (SNAPSHOT, [(BID, 95, 1)]), (TRADE, [(BID, 95, 1)])]
BETWEEN_SIDES += [(SNAPSHOT, [(ASK, 95, 0)]), (LEVEL, [(BID, 95, 0)])]


@given(MESSAGES, st.integers(1, 4))
@example(BETWEEN_SIDES, 1)
@settings(max_examples=150)
def test_the_events_replay_to_the_book_of_every_message(drawn, pieces):
    messages = [(100 + 10 * i, what, *rows) for i, (what, rows) in enumerate(drawn)]
    start, events, corrections, dropped, counts = changes_of(*messages, pieces=pieces)
    oracle, done = OracleBook(start), 0
    for (time, what, *_), expected in zip(messages, naive_books(drawn), strict=True):
        while done < len(events) and events.time_ns[done] <= time:
            _apply(oracle, events, corrections, done)
            done += 1
        if expected is not None and what in (LEVEL, SNAPSHOT) and done:
            book = {(side, price): size for side in (BID, ASK) for price, size in oracle.levels(side)}
            assert book == expected
    while done < len(events):
        _apply(oracle, events, corrections, done)
        done += 1
    assert sum(oracle.counts.values()) == 0
    traded = sum(size for what, rows in drawn if what == TRADE for _, _, size in rows)
    early = 0 if events is None else traded - counts["lots_explained"] - counts["lots_hidden"]
    assert early >= 0 and (early == 0) == (dropped["trades before the first snapshot"] == 0)


def _apply(oracle, events, corrections, i):
    kind, side, price, size = (int(getattr(events, name)[i]) for name in ("kind", "side", "price", "size"))
    if kind == Kind.CONTROL:
        if events.code[i] == Code.CLEAR:
            oracle.clear()
    else:
        oracle.apply(kind, side, price, size, 0)
    for k in np.flatnonzero(corrections.event == i):
        oracle.correct(int(corrections.side[k]), int(corrections.price[k]), int(corrections.size[k]))


def test_a_whole_snapshot_that_leaves_a_traded_level_out_explains_the_trade():
    messages = OPEN, (15, TRADE, (ASK, 102, 10), (BID, 99, 1)), (20, SNAPSHOT, (BID, 100, 5), (ASK, 103, 1))
    _, events, _, _, counts = changes_of(*messages)
    assert listed(events) == [("EXECUTE", -1, 102, 10), ("EXECUTE", 1, 99, 1), ("DELETE", 1, 99, 1)]
    assert (counts["lots_explained"], counts["lots_hidden"]) == (11, 0)


def test_the_side_of_a_trade_of_unknown_side_does_not_hang_on_what_follows():
    for start in (OPEN, (10, SNAPSHOT, (BID, 100, 5)), (10, SNAPSHOT, (ASK, 102, 5))):
        for price in (90, 100, 101, 102, 110):
            alone = changes_of(start, (15, TRADE, (0, price, 1)))[1]
            followed = changes_of(start, (15, TRADE, (0, price, 1)), (20, LEVEL, (BID, 80, 1)))[1]
            assert alone.side[0] == followed.side[0]

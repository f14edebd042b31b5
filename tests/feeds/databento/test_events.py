"""The meaning of one instrument's records: hand-made cases, each with the events that must result."""

import pathlib
from fractions import Fraction

import numpy as np
import pytest

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Flag, Kind
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.feed import STRICT, Reading
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound, final_levels
from tests.feeds.sample_databento import (
    BAD_RECEIVE,
    LAST,
    SNAPSHOT,
    UNDEF_PRICE,
    UNDEF_SIZE,
    final_book,
    metadata,
    record,
    timed,
)

SKIP = Reading(on_error="skip")
BASE = [
    ("A", "A", "101", 10, 1),
    ("A", "A", "101", 5, 2),
    ("A", "B", "99", 8, 3),
    ("A", "B", "99", 2, 4),
]
SNAP = SNAPSHOT | BAD_RECEIVE


def day_of(tmp_path, data, reading=STRICT):
    path = tmp_path / "x.dbn"
    path.write_bytes(metadata() + data)
    return DatabentoFeed().read(path, reading)


def events_of(tmp_path, rows, before=BASE):
    """Return the events after the first rows: kind, side, price, size, id."""
    events = day_of(tmp_path, timed([*before, *rows])).events[len(before) :]
    columns = (events.kind, events.side, events.price, events.size, events.order_id)
    return [(Kind(kind).name, *rest) for kind, *rest in zip(*(column.tolist() for column in columns), strict=True)]


def book_after(day):
    """Return {(side, price): [sizes, front first]}."""
    (book,) = snapshots_at(day, [len(day.events)])
    levels = {}
    for side, price, size in zip(book.side.tolist(), book.price.tolist(), book.size.tolist(), strict=True):
        levels.setdefault((side, price // day.instrument.price_scale), []).append(size)
    return levels


CASES = {
    "a trade and a fill change no book; the change does": (
        [("T", "B", "101", 4, 90, 0), ("F", "A", "101", 4, 1, 0), ("M", "A", "101", 6, 1)],
        [("EXECUTE", ASK, 101, 4, 1)],
    ),
    "a fill with its cancel": (
        [("T", "B", "101", 10, 90, 0), ("F", "A", "101", 10, 1, 0), ("C", "A", "101", 10, 1)],
        [("EXECUTE", ASK, 101, 10, 1)],
    ),
    "one trade, several fills": (
        [("T", "A", "99", 9, 90, 0), ("F", "B", "99", 8, 3, 0), ("F", "B", "99", 1, 4, 0)]
        + [("C", "B", "99", 8, 3, 0), ("M", "B", "99", 1, 4)],
        [("EXECUTE", BID, 99, 8, 3), ("EXECUTE", BID, 99, 1, 4)],
    ),
    "two trades fill one order": (
        [("T", "B", "101", 3, 90, 0), ("F", "A", "101", 3, 1, 0), ("T", "B", "101", 4, 91, 0)]
        + [("F", "A", "101", 4, 1, 0), ("M", "A", "101", 3, 1)],
        [("EXECUTE", ASK, 101, 3, 1), ("EXECUTE", ASK, 101, 4, 1)],
    ),
    "a fill and a cancel of the rest": (
        [("T", "B", "101", 4, 90, 0), ("F", "A", "101", 4, 1, 0), ("C", "A", "101", 10, 1)],
        [("EXECUTE", ASK, 101, 4, 1), ("DELETE", ASK, 101, 6, 1)],
    ),
    "a fill and a change to less than the rest": (
        [("T", "B", "101", 4, 90, 0), ("F", "A", "101", 4, 1, 0), ("M", "A", "101", 1, 1)],
        [("EXECUTE", ASK, 101, 4, 1), ("CANCEL", ASK, 101, 5, 1)],
    ),
    "an iceberg shows again, behind the others": (
        [("T", "B", "101", 10, 90, 0), ("F", "A", "101", 10, 1, 0), ("M", "A", "101", 10, 1)],
        [("EXECUTE", ASK, 101, 10, 1), ("ADD", ASK, 101, 10, 1)],
    ),
    "an iceberg trades more than it shows": (
        [("T", "B", "101", 13, 90, 0), ("F", "A", "101", 13, 1, 0), ("M", "A", "101", 7, 1)],
        [("EXECUTE", ASK, 101, 10, 1), ("EXECUTE_HIDDEN", ASK, 101, 3, 1), ("ADD", ASK, 101, 7, 1)],
    ),
    "a fill that nothing follows leaves the book as it was": (
        [("T", "B", "101", 4, 90, 0), ("F", "A", "101", 4, 1)],
        [("EXECUTE", ASK, 101, 4, 1), ("DELETE", ASK, 101, 6, 1), ("ADD", ASK, 101, 10, 1)],
    ),
    "the fill of an order in no book is hidden": (
        [("T", "B", "100", 4, 90, 0), ("F", "A", "100", 4, 77)],
        [("EXECUTE_HIDDEN", ASK, 100, 4, 77)],
    ),
    "a trade without a fill is hidden": (
        [("T", "A", "100", 4, 90)],
        [("EXECUTE_HIDDEN", BID, 100, 4, 0)],
    ),
    "what fills leave of a trade is hidden": (
        [("T", "B", "101", 9, 90, 0), ("F", "A", "101", 4, 1, 0), ("M", "A", "101", 6, 1)],
        [("EXECUTE", ASK, 101, 4, 1), ("EXECUTE_HIDDEN", ASK, 101, 5, 0)],
    ),
    "an aggressor that was in the book leaves its old level, it does not trade there": (
        [("T", "B", "101", 8, 3, 0), ("F", "B", "101", 8, 3, 0), ("F", "A", "101", 8, 1, 0)]
        + [("C", "B", "99", 8, 3, 0), ("M", "A", "101", 2, 1)],
        [("EXECUTE", ASK, 101, 8, 1), ("DELETE", BID, 99, 8, 3)],
    ),
    "the rest of an aggressor rests": (
        [
            ("T", "B", "101", 10, 9, 0),
            ("F", "A", "101", 10, 1, 0),
            ("A", "B", "101", 1, 9, 0),
            ("C", "A", "101", 10, 1),
        ],
        [("EXECUTE", ASK, 101, 10, 1), ("ADD", BID, 101, 1, 9)],
    ),
    "an auction fills both sides at their own prices": (
        [("T", "N", "100", 8, 0, 0), ("F", "N", "100", 8, 3, 0), ("F", "N", "100", 8, 1, 0)]
        + [("F", "N", "100", 6, 66, 0), ("C", "B", "99", 8, 3, 0), ("M", "A", "101", 2, 1)],
        [("EXECUTE", BID, 99, 8, 3), ("EXECUTE", ASK, 101, 8, 1), ("CROSS", ASK, 100, 6, 66)],
    ),
    "a trade without a side is a hidden order's execution": (
        [("T", "N", "100", 8, 0)],
        [("EXECUTE_HIDDEN", ASK, 100, 8, 0)],
    ),
    "a partial cancel": ([("C", "A", "101", 4, 1)], [("CANCEL", ASK, 101, 4, 1)]),
    "a full cancel": ([("C", "A", "101", 10, 1)], [("DELETE", ASK, 101, 10, 1)]),
    "two partial cancels are a full one": (
        [("C", "A", "101", 4, 1), ("C", "A", "101", 6, 1)],
        [("CANCEL", ASK, 101, 4, 1), ("DELETE", ASK, 101, 6, 1)],
    ),
    "a change to less": ([("M", "B", "99", 5, 3)], [("CANCEL", BID, 99, 3, 3)]),
    "a change to more": ([("M", "B", "99", 9, 3)], [("DELETE", BID, 99, 8, 3), ("ADD", BID, 99, 9, 3)]),
    "a change of price": ([("M", "B", "98", 8, 3)], [("DELETE", BID, 99, 8, 3), ("ADD", BID, 98, 8, 3)]),
    "a change of price to less": ([("M", "B", "98", 2, 3)], [("DELETE", BID, 99, 8, 3), ("ADD", BID, 98, 2, 3)]),
    "a change of nothing": ([("M", "B", "99", 8, 3)], []),
    "a change of an order that is not in the book": ([("M", "B", "98", 2, 9)], [("ADD", BID, 98, 2, 9)]),
    "no action": ([("N", "N", UNDEF_PRICE, 0, 0)], []),
    "a reset": (
        [("R", "N", UNDEF_PRICE, 0, 0), ("A", "A", "101", 1, 1)],
        [("CONTROL", 0, 0, 0, 0), ("ADD", ASK, 101, 1, 1)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_records_become(tmp_path, case):
    rows, expected = CASES[case]
    assert events_of(tmp_path, rows) == expected


def test_a_change_to_less_keeps_the_place_and_a_change_to_more_loses_it(tmp_path):
    assert book_after(day_of(tmp_path, timed([*BASE, ("M", "A", "101", 3, 1)])))[ASK, 101] == [3, 5]
    assert book_after(day_of(tmp_path, timed([*BASE, ("M", "A", "101", 12, 1)])))[ASK, 101] == [5, 12]


def test_groups_end_with_their_last_record_and_aggressors_are_known(tmp_path):
    rows = [("T", "B", "101", 4, 90, 0), ("F", "A", "101", 4, 1, 0), ("M", "A", "101", 6, 1, 0)]
    rows += [("N", "N", UNDEF_PRICE, 0, 0, LAST), ("T", "N", "101", 1, 0), ("C", "A", "101", 1, 1, 0)]
    for block_bytes in (56, 1 << 20):
        flags = day_of(tmp_path, timed([*BASE, *rows]), Reading(block_bytes=block_bytes)).events.flags[len(BASE) :]
        assert flags.tolist() == [Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN, Flag.LAST_IN_GROUP, 0]


def test_times_flags_and_numbers_are_kept(tmp_path):
    data = record("A", "A", "101", 1, 1, time=2000, flags=LAST | 0x04) + record("A", "A", "101", 1, 2, time=1000)
    data += record("A", "A", "101", 1, 3, time=3000, received=2**64 - 1, flags=LAST | BAD_RECEIVE)
    events = day_of(tmp_path, data).events
    assert (np.diff(events.time_ns) == [-1000, 2000]).all() and events.sequence.tolist() == [0, 1, 2]
    assert (events.receive_ns - events.time_ns).tolist()[:2] == [5, 5] and events.receive_ns[2] == 0
    bad = Flag.LAST_IN_GROUP | Flag.BAD_TIME
    assert events.flags.tolist() == [Flag.LAST_IN_GROUP | Flag.MAYBE_BAD_BOOK, bad, bad]


def test_a_snapshot_at_the_beginning_is_the_start_with_its_queues(tmp_path):
    rows = [("R", "N", UNDEF_PRICE, 0, 0, SNAP), ("A", "B", "99", 2, 12, SNAP), ("A", "A", "102", 3, 13, SNAP)]
    rows += [("A", "B", "99", 4, 11, SNAP), ("A", "A", "101", 5, 10, SNAP | LAST), ("C", "B", "99", 1, 12)]
    for cut in (0, 1):  # with and without the R
        day = day_of(tmp_path, timed(rows[cut:]))
        start = day.start
        assert start.order_id.tolist() == [12, 11, 10, 13] and start.size.tolist() == [2, 4, 5, 3]
        assert start.last_best.tolist() == [99, 101] and start.time_ns <= day.events.time_ns[0]
        assert day.events.kind.tolist() == [Kind.CANCEL] and len(day.corrections) == 0
        assert day.report["snapshots"] == 0 and day.report["rows_kept"] == len(rows) - cut


@pytest.mark.parametrize("block_bytes", [56, 112, 1 << 20])
@pytest.mark.parametrize("reset", [True, False])
def test_a_snapshot_in_mid_stream_is_a_clear_and_its_orders_can_still_be_cancelled(tmp_path, reset, block_bytes):
    rows = [("R", "N", UNDEF_PRICE, 0, 0, SNAP)] if reset else []
    rows += [("A", "B", "98", 2, 3, SNAP), ("A", "B", "98", 4, 11, SNAP), ("A", "A", "103", 5, 10, SNAP | LAST)]
    rows += [("C", "B", "98", 2, 3), ("M", "A", "103", 1, 10), ("A", "A", "104", 6, 1)]
    day = day_of(tmp_path, timed([*BASE, *rows]), Reading(block_bytes=block_bytes))
    events = day.events[len(BASE) :]
    assert events.code[0] == Code.CLEAR and events.flags[0] & Flag.FROM_SNAPSHOT and events.flags[0] & Flag.BAD_TIME
    assert events.kind.tolist() == [Kind.CONTROL, Kind.DELETE, Kind.CANCEL, Kind.ADD]
    assert events.size.tolist() == [0, 2, 4, 6] and events.price.tolist() == [0, 98, 103, 104]
    corrections = day.corrections
    assert corrections.event.tolist() == [len(BASE)] * 3 and corrections.size.tolist() == [2, 6, 5]
    assert book_after(day) == {(BID, 98): [4], (ASK, 103): [1], (ASK, 104): [6]}
    assert day.report["snapshots"] == 1 and day.report["corrections"] == 3


@pytest.mark.parametrize("block_bytes", [56, 1 << 20])
def test_resets_before_anything_else_are_no_events(tmp_path, block_bytes):
    reset = ("R", "N", UNDEF_PRICE, 0, 0)
    day = day_of(tmp_path, timed([reset, reset, *BASE, reset]), Reading(block_bytes=block_bytes))
    assert day.events.kind.tolist() == [Kind.ADD] * len(BASE) + [Kind.CONTROL]
    assert len(day.start) == 0 and day.report["rows_kept"] == len(BASE) + 3


def test_a_snapshot_begun_anew_counts_from_its_last_reset(tmp_path):
    rows = [("A", "B", "98", 2, 3, SNAP), ("R", "N", UNDEF_PRICE, 0, 0, SNAP), ("A", "B", "97", 1, 3, SNAP)]
    for block_bytes in (56, 1 << 20):
        assert book_after(day_of(tmp_path, timed(rows), Reading(block_bytes=block_bytes))) == {(BID, 97): [1]}


def test_a_file_that_stops_within_a_group_ends_it_unmarked(tmp_path):
    day = day_of(tmp_path, timed([*BASE, ("T", "B", "101", 4, 90, 0), ("F", "A", "101", 4, 1, 0)]))
    assert day.events.kind.tolist()[len(BASE) :] == [Kind.EXECUTE, Kind.DELETE, Kind.ADD]
    assert not day.events.flags[-1] & Flag.LAST_IN_GROUP
    assert book_after(day)[ASK, 101] == [5, 10]


BAD = {
    "an unknown action": ("Z", "A", "101", 1, 9),
    "an unknown side": ("A", "X", "101", 1, 9),
    "shows levels, not orders": ("A", "A", "101", 1, 9, LAST | 0x40),
    "levels, not orders": ("A", "A", "101", 1, 9, LAST | 0x10),
    "an order without a side": ("A", "N", "101", 1, 9),
    "a record without a price": ("A", "A", UNDEF_PRICE, 1, 9),
    "a price out of range": ("M", "A", 2**61, 1, 1),
    "a record without a size": ("A", "A", "101", 0, 9),
    "without a size": ("T", "A", "101", UNDEF_SIZE, 9),
    "already in the book": ("A", "A", "101", 1, 1),
    "a cancel of an order that is not": ("C", "A", "101", 1, 9),
    "a side other than": ("M", "B", "101", 1, 1),
    "a price other than": ("C", "A", "102", 1, 1),
    "more than the order's size": ("C", "A", "101", 11, 1),
    "does more than add": ("C", "A", "101", 1, 1, SNAP),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_records_are_refused_or_counted(tmp_path, what):
    rows = [*BASE, BAD[what], ("C", "B", "99", 1, 3)] if "does more" not in what else [BAD[what], *BASE]
    bad = rows.index(BAD[what])
    with pytest.raises(InputError, match=what) as error:
        day_of(tmp_path, timed(rows))
    assert f"record {bad}, " in error.value.where
    quarantine = Reading(on_error="quarantine", quarantine=tmp_path / "bad")
    day = day_of(tmp_path, timed(rows), quarantine)
    good = day_of(tmp_path, timed([row for row in rows if row != BAD[what]]))
    assert day.events.kind.tolist() == good.events.kind.tolist() and day.report["rows_kept"] == len(rows) - 1
    assert len(day.report["quarantine"]) == 1 and what in pathlib.Path(day.report["quarantine"][0]).read_text()


def test_a_bad_record_still_ends_its_group(tmp_path):
    rows = [("A", "A", "101", 1, 1, 0), ("C", "A", "101", 9, 1)]
    assert day_of(tmp_path, timed(rows), SKIP).events.flags.tolist() == [Flag.LAST_IN_GROUP]


def test_a_time_that_no_clock_shows_is_refused(tmp_path):
    late = bytearray(record("A", "A", "101", 1, 9))
    late[8:16] = b"\xff" * 8
    with pytest.raises(InputError, match="without a time"):
        day_of(tmp_path, bytes(late))


def test_a_second_publisher_is_refused(tmp_path):
    data = record("A", "A", "101", 1, 9) + record("A", "A", "101", 1, 10, publisher=2)
    with pytest.raises(InputError, match="second publisher"):
        day_of(tmp_path, data)
    assert len(day_of(tmp_path, data, SKIP).events) == 1


@pytest.mark.parametrize("shift", ["0", "2", "3/2", "-35", "1000"])
def test_prices_of_any_sign_are_prices(tmp_path, shift):
    """A calendar spread, or oil on 2020-04-20: the same events and books at shifted prices, including 0."""
    shift = Fraction(shift)
    rows = [("R", "N", UNDEF_PRICE, 0, 0, SNAP), ("A", "B", "-2", 2, 12, SNAP), ("A", "A", "-1.5", 3, 13, SNAP)]
    rows += [("A", "B", "-2.25", 4, 11, SNAP), ("A", "A", "1", 5, 10, SNAP | LAST), ("C", "B", "-2", 2, 12)]
    rows += [("A", "B", "-1.75", 2, 20), ("M", "A", "-1.5", 2, 13), ("T", "B", "-1.5", 1, 90, 0)]
    rows += [("F", "A", "-1.5", 1, 13, 0), ("C", "A", "-1.5", 1, 13), ("C", "B", "-1.75", 2, 20)]
    rows += [("C", "B", "-2.25", 4, 11), ("A", "B", "-2", 1, 21), ("C", "A", "-1.5", 1, 13), ("C", "A", "1", 5, 10)]
    rows += [("A", "A", "-2", 1, 22), ("T", "A", "-2", 3, 91)]
    moved = [(*row[:2], str(Fraction(row[2]) + shift), *row[3:]) if row[4] else row for row in rows]
    same, day = (day_of(tmp_path, timed(own)) for own in (rows, moved))
    assert (day.instrument.price_scale, day.instrument.tick) == (100, 25)
    by = int(shift * 100)
    for name in ("kind", "side", "size", "order_id", "flags", "time_ns"):
        np.testing.assert_array_equal(getattr(day.events, name), getattr(same.events, name))
    np.testing.assert_array_equal(day.events.price, same.events.price + by)
    np.testing.assert_array_equal(day.start.last_best, same.start.last_best + by)
    assert final_levels(day) == final_book(tmp_path / "x.dbn")
    assert_sound(day)
    assert_round_trip(day)


def test_every_order_id_is_told_apart(tmp_path):
    ids = [0, 1, 2**63, 2**64 - 1]
    rows = [("A", "A", "101", 1 + k, order_id) for k, order_id in enumerate(ids)]
    rows += [("C", "A", "101", 1 + k, order_id) for k, order_id in enumerate(ids)]
    events = day_of(tmp_path, timed(rows)).events
    assert events.order_id.tolist() == ids * 2 and events.size.tolist() == [1, 2, 3, 4] * 2


def random_rows(rng, count):
    """Return random records that a venue could send."""
    orders, rows, last_id = {}, [], 0
    while len(rows) < count:
        flags = LAST if rng.random() < 0.5 else 0
        known = list(orders)[int(rng.integers(0, len(orders)))] if orders else None
        choice = rng.choice(
            ["A", "A", "C", "M", "M", "F", "F", "T", "N", "R", "S"], p=[0.25, *[0.09] * 8, 0.015, 0.015]
        )
        side, price = str(rng.choice(["A", "B"])), str(int(rng.integers(1, 9)))
        size = int(rng.integers(1, 12))
        if choice == "S":
            rows.append(("R", "N", UNDEF_PRICE, 0, 0, SNAP))
            rows += [("A", own[0], own[1], own[2], order_id, SNAP) for order_id, own in orders.items()]
            rows[-1] = (*rows[-1][:5], SNAP | LAST)
        elif choice in ("R", "N"):
            rows.append((choice, "N", UNDEF_PRICE, 0, 0, flags))
            orders = {} if choice == "R" else orders
        elif choice == "T" or known is None:
            rows.append(("T", str(rng.choice(["A", "B", "N"])), price, size, 0, flags))
        elif choice == "A":
            last_id += 1
            orders[last_id] = [side, price, size]
            rows.append(("A", side, price, size, last_id, flags))
        elif choice == "F":
            own = rng.random() < 0.9
            rows.append(("F", orders[known][0] if own else "N", price, size, known if own else 10**6, flags))
        elif choice == "M":
            orders[known][1:] = [price if rng.random() < 0.5 else orders[known][1], size]
            rows.append(("M", *orders[known], known, flags))
        else:
            taken = min(size, orders[known][2])
            rows.append(("C", *orders[known][:2], taken, known, flags))
            orders[known][2] -= taken
            if not orders[known][2]:
                del orders[known]
        if known is None and choice != "A" and rng.random() < 0.5:
            last_id += 1
            orders[last_id] = [side, price, size]
            rows.append(("A", side, price, size, last_id, flags))
    return rows


@pytest.mark.parametrize("seed", range(25))
def test_any_stream_ends_in_the_book_that_its_orders_make(tmp_path, seed):
    """Events only reduce live orders, and by at most their size, whatever the fills say."""
    data = timed(random_rows(np.random.default_rng(seed), 300))
    day = day_of(tmp_path, data)
    assert final_levels(day) == final_book(tmp_path / "x.dbn")
    counts = replay(day, levels=1).counts
    if not day.report["snapshots"]:
        assert [counts[name] for name in ("unknown_order", "duplicate_order")] == [0, 0]
    assert [counts[name] for name in ("unknown_level", "over_removal")] == [0, 0]
    assert_sound(day)
    assert_round_trip(day)
    assert_same_day(day_of(tmp_path, data, Reading(block_bytes=int(56 * (1 + seed % 5)))), day)

"""The extent of an execution: the events of a trade, its fills and its cancels, wherever F_LAST is set."""

import numpy as np
import pytest

from lob_jax.book.replay import snapshots_at
from lob_jax.events.schema import ASK, BID, Flag, Kind
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.feed import STRICT, Reading
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound, final_levels
from tests.feeds.sample_databento import LAST, UNDEF_PRICE, final_book, metadata, stamped

ASKS = [(1, "A", "A", "13.40", 24, 68), (2, "A", "A", "13.40", 7, 69), (3, "A", "B", "13.30", 9, 70)]
FILL_OF_68 = [(10, "T", "B", "13.40", 1, 0), (10, "F", "A", "13.40", 1, 68), (10, "C", "A", "13.40", 1, 68)]


def day_of(tmp_path, rows, reading=STRICT):
    path = tmp_path / "x.dbn"
    path.write_bytes(metadata() + stamped(rows))
    day = DatabentoFeed().read(path, reading)
    assert_sound(day)
    assert_round_trip(day)
    assert final_levels(day) == final_book(path)
    return day


def events_of(day, before=0):
    """Return the events after the first ones: kind, side, price, size, id."""
    events = day.events[before:]
    columns = (events.kind, events.side, events.price, events.size, events.order_id)
    return [(Kind(kind).name, *rest) for kind, *rest in zip(*(column.tolist() for column in columns), strict=True)]


def queue_of(day, side):
    """Return (id, size) of one side's orders at its best price, front first."""
    (book,) = snapshots_at(day, [len(day.events)])
    own = book.side == side
    own &= book.price == book.price[own][0]
    return list(zip(book.order_id[own].tolist(), book.size[own].tolist(), strict=True))


def test_an_execution_whose_every_record_is_flagged_is_one_event_and_the_order_keeps_its_place(tmp_path):
    rows = [
        (1, "A", "A", "13.40", 24, 68),
        (2, "A", "A", "13.40", 7, 69),
        (10, "T", "B", "13.40", 1, 0),
        (10, "F", "A", "13.40", 1, 68),
        (10, "C", "A", "13.40", 1, 68),
    ]
    day = day_of(tmp_path, rows)
    assert day.instrument.price_scale == 10
    assert events_of(day, 2) == [("EXECUTE", ASK, 134, 1, 68)]
    assert day.events.flags[2] == Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN
    assert queue_of(day, ASK) == [(68, 23), (69, 7)]
    assert day.report["orders_refreshed"] == day.report["lots_without_fill"] == day.report["lots_filled_unseen"] == 0
    assert day.report["lots_traded"] == day.report["lots_filled"] == day.report["kinds"]["EXECUTE"] == 1


FLAGS = {"the last": (0, 0, LAST), "each": (LAST, LAST, LAST), "T and C": (LAST, 0, LAST), "F and C": (0, LAST, LAST)}


@pytest.mark.parametrize("block_bytes", [56, 1 << 20])
@pytest.mark.parametrize("flagged", FLAGS)
def test_where_the_flag_stands_changes_nothing(tmp_path, flagged, block_bytes):
    told = [(*row, flags) for row, flags in zip(FILL_OF_68, FLAGS[flagged], strict=True)]
    rows = [*ASKS, *told, (20, "C", "A", "13.40", 23, 68), (30, "A", "B", "13.35", 4, 71)]
    day = day_of(tmp_path, rows, Reading(block_bytes=block_bytes))
    assert events_of(day, 3) == [
        ("EXECUTE", ASK, 1340, 1, 68),
        ("DELETE", ASK, 1340, 23, 68),
        ("ADD", BID, 1335, 4, 71),
    ]
    assert (day.events.flags & Flag.LAST_IN_GROUP > 0).all()
    assert (np.diff(day.events.time_ns) > 0).all()


def each(*rows):
    """Return records with the same time, each with flags."""
    return [(10, *row) for row in rows]


CASES = {
    "a sweep, trade by trade": (
        each(("T", "B", "13.40", 24, 0), ("F", "A", "13.40", 24, 68), ("C", "A", "13.40", 24, 68))
        + each(("T", "B", "13.40", 2, 0), ("F", "A", "13.40", 2, 69), ("C", "A", "13.40", 2, 69)),
        [("EXECUTE", ASK, 134, 24, 68), ("EXECUTE", ASK, 134, 2, 69)],
    ),
    "a sweep of one trade": (
        each(("T", "B", "13.40", 26, 0), ("F", "A", "13.40", 24, 68), ("C", "A", "13.40", 24, 68))
        + each(("F", "A", "13.40", 2, 69), ("C", "A", "13.40", 2, 69)),
        [("EXECUTE", ASK, 134, 24, 68), ("EXECUTE", ASK, 134, 2, 69)],
    ),
    "fills first, cancels then": (
        each(("T", "B", "13.40", 26, 0), ("F", "A", "13.40", 24, 68), ("F", "A", "13.40", 2, 69))
        + each(("C", "A", "13.40", 2, 69), ("C", "A", "13.40", 24, 68)),
        [("EXECUTE", ASK, 134, 24, 68), ("EXECUTE", ASK, 134, 2, 69)],
    ),
    "two fills of one order, and a cancel for each": (
        each(("T", "B", "13.40", 6, 0), ("F", "A", "13.40", 4, 68), ("F", "A", "13.40", 2, 68))
        + each(("C", "A", "13.40", 4, 68), ("C", "A", "13.40", 2, 68)),
        [("EXECUTE", ASK, 134, 4, 68), ("EXECUTE", ASK, 134, 2, 68)],
    ),
    "the rest is withdrawn in the same instant": (
        each(*(row[1:] for row in FILL_OF_68), ("C", "A", "13.40", 23, 68)),
        [("EXECUTE", ASK, 134, 1, 68), ("DELETE", ASK, 134, 23, 68)],
    ),
    "one cancel for the fill and the rest": (
        each(("T", "B", "13.40", 1, 0), ("F", "A", "13.40", 1, 68), ("C", "A", "13.40", 24, 68)),
        [("EXECUTE", ASK, 134, 1, 68), ("DELETE", ASK, 134, 23, 68)],
    ),
    "another order is withdrawn between a fill and its cancel": (
        each(("T", "B", "13.40", 1, 0), ("F", "A", "13.40", 1, 68), ("C", "A", "13.40", 3, 69))
        + each(("C", "A", "13.40", 1, 68)),
        [("EXECUTE", ASK, 134, 1, 68), ("CANCEL", ASK, 134, 3, 69)],
    ),
    "a part of a trade is hidden": (
        each(("T", "B", "13.40", 5, 0), *(row[1:] for row in FILL_OF_68[1:])) + [(20, "A", "B", "13.3", 1, 80)],
        [("EXECUTE", ASK, 134, 1, 68), ("EXECUTE_HIDDEN", ASK, 134, 4, 0), ("ADD", BID, 133, 1, 80)],
    ),
    "a fill that no trade is printed for": (
        each(("F", "A", "13.40", 4, 68), ("C", "A", "13.40", 4, 68)),
        [("EXECUTE", ASK, 134, 4, 68)],
    ),
    "a hidden execution between quotes": (
        [(10, "A", "A", "13.5", 1, 80), (11, "T", "N", "13.4", 43, 0), (11, "C", "A", "13.5", 1, 80)],
        [("ADD", ASK, 135, 1, 80), ("EXECUTE_HIDDEN", ASK, 134, 43, 0), ("DELETE", ASK, 135, 1, 80)],
    ),
    "hidden executions in one packet": (
        [(10, "T", "N", "13.4", 56, 0, 0), (10, "T", "N", "13.4", 28, 0), (12, "T", "N", "13.4", 13, 0, 0)]
        + [(13, "A", "B", "13.3", 1, 80)],
        [("EXECUTE_HIDDEN", ASK, 134, 56, 0), ("EXECUTE_HIDDEN", ASK, 134, 28, 0)]
        + [("EXECUTE_HIDDEN", ASK, 134, 13, 0), ("ADD", BID, 133, 1, 80)],
    ),
    "a hidden execution and a fill that no trade is printed for": (
        each(("T", "N", "13.4", 50, 0), ("F", "A", "13.40", 4, 68), ("C", "A", "13.40", 4, 68)),
        [("EXECUTE_HIDDEN", ASK, 134, 50, 0), ("EXECUTE", ASK, 134, 4, 68)],
    ),
    "a cross is printed behind the fills that it had": (
        [(10, "F", "A", "13.40", 24, 68), (10, "C", "A", "13.40", 24, 68), (11, "F", "B", "13.40", 9, 70)]
        + [(11, "C", "B", "13.30", 9, 70), (12, "T", "N", "13.40", 5000, 0), (13, "T", "N", "13.40", 10, 0)],
        [("EXECUTE", ASK, 134, 24, 68), ("EXECUTE", BID, 133, 9, 70), ("CROSS", ASK, 134, 5000, 0)]
        + [("EXECUTE_HIDDEN", ASK, 134, 10, 0)],
    ),
    "a trade without a side at another price than fills before it is hidden": (
        [(10, "F", "A", "13.40", 24, 68), (10, "C", "A", "13.40", 24, 68), (12, "T", "N", "13.30", 5, 0)],
        [("EXECUTE", ASK, 134, 24, 68), ("EXECUTE_HIDDEN", ASK, 133, 5, 0)],
    ),
    "an auction that fills sideless orders, each record flagged": (
        each(("T", "N", "13.40", 9, 0), ("F", "N", "13.40", 9, 70), ("F", "N", "13.40", 9, 68))
        + each(("C", "B", "13.30", 9, 70), ("C", "A", "13.40", 9, 68)),
        [("EXECUTE", BID, 133, 9, 70), ("EXECUTE", ASK, 134, 9, 68)],
    ),
    "an order is replaced, and one in the same packet is filled": (
        [(10, "C", "A", "13.40", 7, 69, 0), (10, "A", "A", "13.50", 7, 80, 0), (11, "T", "B", "13.40", 2, 0)]
        + [(11, "F", "A", "13.40", 2, 68), (11, "C", "A", "13.40", 2, 68)],
        [("DELETE", ASK, 134, 7, 69), ("ADD", ASK, 135, 7, 80), ("EXECUTE", ASK, 134, 2, 68)],
    ),
    "a fill whose cancel comes at another time": (
        [(10, "T", "B", "13.40", 4, 0), (10, "F", "A", "13.40", 4, 68), (11, "C", "A", "13.40", 4, 68)],
        [("EXECUTE", ASK, 134, 4, 68), ("DELETE", ASK, 134, 20, 68), ("ADD", ASK, 134, 24, 68)]
        + [("CANCEL", ASK, 134, 4, 68)],
    ),
    "the book is cleared within an execution": (
        each(("T", "B", "13.40", 4, 0), ("R", "N", UNDEF_PRICE, 0, 0)),
        [("EXECUTE_HIDDEN", ASK, 134, 4, 0), ("CONTROL", 0, 0, 0, 0)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("block_bytes", [56, 1 << 20])
@pytest.mark.parametrize("case", CASES)
def test_records_become(tmp_path, case, block_bytes):
    rows, expected = CASES[case]
    day = day_of(tmp_path, [*ASKS, *rows], Reading(block_bytes=block_bytes))
    assert events_of(day, len(ASKS)) == expected


def untold(*rows):
    """Return records of a venue without fills."""
    return [*ASKS, *each(*rows)]


@pytest.mark.parametrize("flags", [(LAST, LAST), (0, LAST)])
def test_where_no_fills_are_shown_a_cancel_takes_their_place(tmp_path, flags):
    rows = [(10, "T", "B", "13.40", 5, 0, flags[0]), (10, "C", "A", "13.40", 5, 68, flags[1])]
    day = day_of(tmp_path, [*ASKS, *rows, (20, "C", "A", "13.40", 2, 68)])
    assert events_of(day, 3) == [("EXECUTE", ASK, 134, 5, 68), ("CANCEL", ASK, 134, 2, 68)]
    assert queue_of(day, ASK) == [(68, 17), (69, 7)]
    assert day.report["executions_without_fill"] == 1 and day.report["lots_without_fill"] == 0


def test_where_no_fills_are_shown_a_change_takes_their_place(tmp_path):
    day = day_of(tmp_path, untold(("T", "A", "13.30", 4, 0), ("M", "B", "13.30", 5, 70)))
    assert events_of(day, 3) == [("EXECUTE", BID, 133, 4, 70)]


def test_where_no_fills_are_shown_one_trade_takes_from_several_orders(tmp_path):
    rows = untold(("T", "B", "13.40", 26, 0), ("C", "A", "13.40", 24, 68), ("C", "A", "13.40", 2, 69))
    assert events_of(day_of(tmp_path, rows), 3) == [("EXECUTE", ASK, 134, 24, 68), ("EXECUTE", ASK, 134, 2, 69)]


NOT_OF_THE_TRADE = {
    "on the trade's own side": ("C", "B", "13.30", 4, 70),
    "of more than it has left": ("C", "A", "13.40", 6, 68),
    "at another price": ("C", "A", "13.50", 4, 80),
    "to more": ("M", "A", "13.40", 30, 68),
    "to another price": ("M", "A", "13.60", 20, 68),
}


@pytest.mark.parametrize("what", NOT_OF_THE_TRADE)
def test_where_no_fills_are_shown_a_record_that_no_trade_explains_is_its_own(tmp_path, what):
    rows = [*ASKS, (4, "A", "A", "13.50", 4, 80), *each(("T", "B", "13.40", 5, 0), NOT_OF_THE_TRADE[what])]
    day = day_of(tmp_path, rows)
    assert events_of(day, 4)[0] == ("EXECUTE_HIDDEN", ASK, 134, 5, 0)
    assert {name for name, *_ in events_of(day, 5)} <= {"CANCEL", "DELETE", "ADD"}
    assert day.report["executions_without_fill"] == 0 and day.report["lots_without_fill"] == 5


def test_a_cancel_of_another_time_is_not_of_the_trade(tmp_path):
    rows = [*ASKS, (10, "T", "B", "13.40", 5, 0), (11, "C", "A", "13.40", 5, 68)]
    day = day_of(tmp_path, rows)
    assert events_of(day, 3) == [("EXECUTE_HIDDEN", ASK, 134, 5, 0), ("CANCEL", ASK, 134, 5, 68)]
    assert (np.diff(day.events.time_ns) > 0).all()


def test_once_fills_are_shown_a_cancel_behind_a_trade_is_no_execution(tmp_path):
    rows = [*ASKS, *FILL_OF_68, (20, "T", "B", "13.40", 5, 0), (20, "C", "A", "13.40", 5, 68)]
    day = day_of(tmp_path, rows)
    assert events_of(day, 4) == [("EXECUTE_HIDDEN", ASK, 134, 5, 0), ("CANCEL", ASK, 134, 5, 68)]


def test_a_hidden_execution_has_the_time_and_the_number_of_its_trade(tmp_path):
    rows = [*ASKS, (10, "T", "N", "13.4", 43, 0, 0), (12, "A", "B", "13.3", 1, 80), (15, "T", "B", "13.4", 1, 0)]
    events = day_of(tmp_path, [*rows, (17, "Z", "B", "13.4", 1, 0)], Reading(on_error="skip")).events[3:]
    assert (events.time_ns - events.time_ns[0]).tolist() == [0, 2, 5]
    assert events.sequence.tolist() == [3, 4, 5]
    assert events.flags.tolist() == [0, Flag.LAST_IN_GROUP, Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN]


def test_what_is_ambiguous_is_counted(tmp_path):
    rows = [
        *ASKS,
        *FILL_OF_68,
        (20, "T", "N", "13.4", 5, 0),
        (30, "M", "A", "13.60", 4, 90),
        (40, "M", "A", "13.6", 3, 90),
    ]
    report = day_of(tmp_path, rows).report
    assert (report["trades"], report["trades_without_side"], report["trades_without_fill"]) == (2, 1, 1)
    assert (report["orders_added_by_change"], report["rows_kept"]) == (1, len(rows))


@pytest.mark.parametrize("seed", range(15))
def test_any_stream_with_flags_anywhere_ends_in_the_book_that_its_orders_make(tmp_path, seed):
    """Many records with the same time and random flags: the events do not depend on the block length."""
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 250, fills=seed % 3 != 0)
    day = day_of(tmp_path, rows)
    assert_same_day(day_of(tmp_path, rows, Reading(block_bytes=int(56 * (1 + seed % 5)))), day)


def random_rows(rng, count, *, fills):
    """Return records that obey the rules of a book, with random times and flags."""
    orders, rows, time = {}, [], 0
    while len(rows) < count:
        time += int(rng.random() < 0.4)
        flags = LAST if rng.random() < 0.7 else 0
        choice = rng.choice(["A", "A", "C", "M", "F", "T", "X"])
        side, price, size = str(rng.choice(["A", "B"])), str(int(rng.integers(1, 5))), int(rng.integers(1, 9))
        known = list(orders)[int(rng.integers(0, len(orders)))] if orders else None
        if choice == "A" or known is None:
            orders[len(rows) + 1000] = [side, price, size]
            rows.append((time, "A", side, price, size, len(rows) + 1000, flags))
        elif choice == "C":
            taken = min(size, orders[known][2])
            rows.append((time, "C", *orders[known][:2], taken, known, flags))
            orders[known][2] -= taken
        elif choice == "M":
            orders[known][1:] = [price if rng.random() < 0.3 else orders[known][1], size]
            rows.append((time, "M", *orders[known], known, flags))
        elif choice == "F" and fills:
            rows.append((time, "F", orders[known][0], orders[known][1], size, known, flags))
        elif choice == "T":
            rows.append((time, "T", str(rng.choice(["A", "B", "N"])), price, size, 0, flags))
        else:  # a complete execution
            own, at, held = orders[known]
            taken = min(size, held)
            rows.append((time, "T", "B" if own == "A" else "A", at, taken, 0, flags))
            rows += [(time, "F", own, at, taken, known, flags)] if fills else []
            rows.append((time, "C", own, at, taken, known, LAST))
            orders[known][2] -= taken
        orders = {order_id: own for order_id, own in orders.items() if own[2]}
    return rows

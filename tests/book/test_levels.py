import numpy as np
import pytest

from lob_jax.book import kernel, orders
from lob_jax.book import levels as lv
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ASK, BID, Kind


def book_of(*resting, window=0, room=8):
    columns = np.array(resting, np.int64).reshape(-1, 3).T
    start = BookSnapshot(
        time_ns=0, side=columns[0].astype(np.int8), price=columns[1], size=columns[2],
        order_id=np.zeros(len(resting), np.uint64), anonymous=np.zeros(len(resting), bool),
        last_best=np.zeros(2, np.int64), window=window,
    )  # fmt: skip
    return lv.with_level_room(lv.load_levels(start), room)


def side_of(book, s):
    price, size = lv.occupied(book, s)
    return list(zip(price.tolist(), size.tolist(), strict=True))


def test_orders_of_one_price_are_one_level():
    book = book_of((BID, 100, 5), (BID, 100, 2), (BID, 99, 1), (ASK, 103, 4), (ASK, 102, 6))
    assert side_of(book, 0) == [(100, 7), (99, 1)] and side_of(book, 1) == [(102, 6), (103, 4)]
    assert lv.size_at(book, 0, 100) == 7 and lv.size_at(book, 0, 98) == 0 and lv.size_at(book, 1, 103) == 4


def test_events_change_their_level_and_no_other():
    book = book_of((BID, 100, 5), (ASK, 102, 6))
    for kind, side, price, size in [
        (Kind.ADD, BID, 101, 3), (Kind.CANCEL, BID, 100, 2), (Kind.EXECUTE, ASK, 102, 6), (Kind.DELETE, ASK, 105, 1),
        (Kind.CANCEL, BID, 101, 9), (Kind.EXECUTE_HIDDEN, BID, 100, 3), (Kind.CROSS, BID, 100, 3),
        (Kind.ADD, BID, 90, 0),
    ]:  # fmt: skip
        lv.change(book, kind, side, price, size)
    assert side_of(book, 0) == [(100, 3)] and side_of(book, 1) == []
    assert dict(zip(lv.LEVEL_COUNTERS, book.counters[:-1].tolist(), strict=True)) == {
        "unknown_level": 1, "over_removal": 1, "crossed": 0, "locked": 0
    }  # fmt: skip


def test_an_empty_side_counts_from_its_last_best_then_from_the_other_side():
    book = book_of((BID, 100, 5))
    assert lv.reference_of(book, 1) == 100 and lv.best(book, 1) == 0
    lv.set_level(book, ASK, 103, 2)
    lv.set_level(book, ASK, 103, 0)
    assert lv.reference_of(book, 1) == 103
    lv.clear_levels(book)
    assert lv.reference_of(book, 0) == 100


@pytest.mark.parametrize("price", [-3, 0, 7])
def test_an_empty_side_counts_from_its_last_best_whatever_that_was(price):
    levels, book = book_of((ASK, 9, 1)), kernel.load(BookSnapshot.empty(), 4)
    kernel.apply(book, Kind.ADD, ASK, 9, 1, 0)
    for kind in (Kind.ADD, Kind.DELETE):
        lv.change(levels, kind, BID, price, 1)
        kernel.apply(book, kind, BID, price, 1, 0)
    assert lv.reference_of(levels, 0) == kernel.reference(book, BID) == price
    snapshot = kernel.to_snapshot(book, 0)
    assert lv.reference_of(lv.load_levels(snapshot), 0) == kernel.reference(kernel.load(snapshot, 0), BID) == price
    assert snapshot.seen.tolist() == [True, True]
    unseen = BookSnapshot.empty()
    assert lv.reference_of(lv.load_levels(unseen), 0) == kernel.reference(kernel.load(unseen, 0), BID) == 0


def test_a_full_window_forgets_its_worst_level():
    book = book_of((ASK, 100, 1), (ASK, 102, 1), window=2)
    lv.change(book, Kind.ADD, ASK, 103, 7)
    assert side_of(book, 1) == [(100, 1), (102, 1)]
    lv.change(book, Kind.ADD, ASK, 101, 7)
    assert side_of(book, 1) == [(100, 1), (101, 7)]


def test_room_runs_out_with_an_error_and_grows_without_a_loss():
    book = book_of((BID, 100, 5), room=0)
    with pytest.raises(IndexError, match="room"):
        lv.change(book, Kind.ADD, BID, 99, 1)
    larger = lv.with_level_room(book, 3)
    for price in (99, 101, 98):
        lv.change(larger, Kind.ADD, BID, price, 1)
    assert side_of(larger, 0) == [(101, 1), (100, 5), (99, 1), (98, 1)]


@pytest.mark.parametrize("window", [0, 5])
def test_prices_that_are_gone_make_room_for_others(window):
    """A day names any number of prices; the table has those of the book and the ones that it must have room for."""
    book = book_of((ASK, 10**6, 1), window=window)
    for turn in range(40):
        book = lv.with_level_room(book, 100)
        for price in range(100 * turn, 100 * turn + 100):
            lv.change(book, Kind.ADD, ASK, price, 2)
        assert side_of(book, 1)[:5] == [(price, 2) for price in range(100 * turn, 100 * turn + 5)]
        for price in range(100 * turn, 100 * turn + 100):
            lv.set_level(book, ASK, price, 0)
        assert len(book.table[1]) <= 2048
    assert side_of(book, 1) == ([] if window else [(10**6, 1)])
    with pytest.raises(IndexError, match="room"):
        for price in range(2048):
            lv.change(book, Kind.ADD, ASK, price, 1)
            lv.change(book, Kind.DELETE, ASK, price, 1)


def test_a_level_is_found_among_thousands():
    book = book_of(room=2000)
    prices = np.random.default_rng(1).permutation(np.arange(1, 2001))
    for price in prices.tolist():
        lv.set_level(book, ASK, price, price)
        lv.set_level(book, BID, price, price)
    assert side_of(book, 1) == [(p, p) for p in range(1, 2001)]
    assert side_of(book, 0) == [(p, p) for p in range(2000, 0, -1)]


def test_an_event_finds_its_level_near_the_one_before_and_far_from_it():
    """Steps of all lengths, over prices of both signs; only every other price has a level."""
    rng, book, prices = np.random.default_rng(3), book_of(room=500), np.arange(-400, 400, 2)
    held = {(side, price): 5 for side in (BID, ASK) for price in prices.tolist()}
    for side, price in held:
        lv.set_level(book, side, price, 5)
    row = 200
    for _ in range(5000):
        row = int(np.clip(row + rng.choice([-1, 1]) * (int(rng.choice([0, 1, 6, 7, 8, 9, 10, 16, 40, 300]))), 0, 399))
        side, price, add = int(rng.choice([BID, ASK])), int(prices[row]), bool(rng.integers(2))
        size = 3 if add else min(2, held[side, price] - 1)
        held[side, price] += size if add else -size
        lv.change(book, Kind.ADD if add else Kind.CANCEL, side, price, size)
        lv.change(book, Kind.CANCEL, side, price + 1, 1)
    for s, side in enumerate((BID, ASK)):
        expected = [(price, held[side, price]) for price in prices.tolist()]
        assert side_of(book, s) == (expected if side == ASK else expected[::-1])
    assert book.counters[lv.LevelCounter.UNKNOWN_LEVEL] == 5000


def test_places_are_vacated_taken_again_and_closed_up():
    """Many levels appear and disappear at old and new prices; a dictionary holds the expected state."""
    rng, book, held = np.random.default_rng(2), book_of(room=3000), {BID: {}, ASK: {}}
    for _ in range(20_000):
        side, price, size = int(rng.choice([BID, ASK])), int(rng.integers(1, 1500)), int(rng.integers(-2, 3))
        lv.set_level(book, side, price, max(size, 0))
        held[side] = {**held[side], price: size} if size > 0 else {p: q for p, q in held[side].items() if p != price}
        s = 0 if side == BID else 1
        assert lv.best(book, s) == (max(held[BID], default=0) if s == 0 else min(held[ASK], default=0))
    for s, side in enumerate((BID, ASK)):
        assert side_of(book, s) == sorted(held[side].items(), reverse=side == BID)
        used = slice(*book.side[s, :2])
        assert book.side[s, lv.VACANT] == sum(lv.size_at(book, s, price) == 0 for price in book.price[s, used])
        assert (np.diff(book.price[s, used]) * side > 0).all()


LADDER = np.arange(1, 5001)
ORDERS = {
    "worst first": LADDER[::-1],
    "best first": LADDER,
    "from the middle": np.stack([LADDER[2500:], LADDER[2499::-1]], axis=1).ravel(),
}
N_LOG_N = len(LADDER) * np.log2(len(LADDER))


def ladder(order, window=0):
    """Return a book with the given asks in this order, and mirrored bids."""
    price = np.concatenate([ORDERS[order], -ORDERS[order]])
    side = np.repeat(np.array([ASK, BID], np.int8), len(LADDER))
    ids = np.arange(1, len(price) + 1, dtype=np.uint64)
    return BookSnapshot(0, side, price, np.ones_like(price), ids, ids == 0, np.zeros(2, np.int64), window=window)


@pytest.mark.parametrize("order", ORDERS)
def test_a_snapshot_in_any_usual_order_costs_little_more_than_its_length(order):
    levels, book = lv.load_levels(ladder(order)), kernel.load(ladder(order), 0)
    assert levels.counters[lv.MOVED] < 2 * N_LOG_N and book.counters[orders.MOVED] < 2 * N_LOG_N
    assert lv.occupied(levels, 1)[0].tolist() == LADDER.tolist()
    assert lv.occupied(levels, 0)[0].tolist() == (-LADDER).tolist()
    assert kernel.to_snapshot(book, 0).price.tolist() == [*-LADDER, *LADDER]


@pytest.mark.parametrize("order", ORDERS)
def test_events_in_any_usual_order_build_and_empty_a_book_as_cheaply(order):
    levels = lv.with_level_room(lv.load_levels(BookSnapshot.empty()), len(LADDER))
    book = kernel.load(BookSnapshot.empty(), len(LADDER))
    for kind, prices in ((Kind.ADD, ORDERS[order]), (Kind.DELETE, ORDERS[order][::-1])):
        for price in prices.tolist():
            lv.change(levels, kind, ASK, price, 1)
            kernel.apply(book, kind, ASK, price, 1, 0)
    assert levels.counters[lv.MOVED] < 2 * N_LOG_N and book.counters[orders.MOVED] < 2 * N_LOG_N
    assert lv.is_bare(levels, 1) and kernel.is_empty(book, 1) and levels.counters[:-1].sum() == 0


@pytest.mark.parametrize("window", [1, 2, 7])
def test_a_window_that_moves_through_a_ladder_keeps_the_best_levels_cheaply(window):
    for order in ORDERS:
        levels, book = lv.load_levels(ladder(order, window)), kernel.load(ladder(order, window), 0)
        assert lv.occupied(levels, 1)[0].tolist() == LADDER[:window].tolist()
        assert kernel.to_snapshot(book, 0).price.tolist() == [*-LADDER[:window], *LADDER[:window]]
        assert levels.counters[lv.MOVED] <= 4 * len(LADDER) and book.counters[orders.MOVED] <= 4 * len(LADDER)

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.statistics import sampled_books
from lob_jax.statistics.sampled_books import Bands, books_at, moments_of, sample_depth, sample_quotes
from tests.feeds.checks import SAMPLES, sample_of

S = 10**9
INSTRUMENT = Instrument("ABC", "TEST", "2024-01-02", "UTC", 100, 1, 10)


def day_of(*rows):
    """Build a day from rows (second, kind, side, price, size)."""
    second, kind, side, price, size = np.array(rows).T
    events = Events.from_columns(
        time_ns=INSTRUMENT.midnight_ns() + second * S, kind=kind, side=side, price=price, size=size
    )
    return MarketDay(INSTRUMENT, BookSnapshot.empty(), events, Corrections.none(), {})


@pytest.fixture
def day():
    return day_of(
        (0, Kind.ADD, BID, 1000, 10),
        (0, Kind.ADD, ASK, 1004, 20),
        (0, Kind.ADD, BID, 998, 5),
        (40, Kind.EXECUTE, ASK, 1004, 5),
        (35, Kind.ADD, ASK, 1007, 1),  # a backward time: treated as 40
        (80, Kind.DELETE, BID, 1000, 10),
        (90, Kind.DELETE, BID, 998, 5),
        (100, Kind.ADD, ASK, 1003, 1),
    )


@pytest.mark.parametrize("run_events", [1, 3, 100])
def test_moments_are_even_and_hold_the_events_up_to_them(run_events, day, monkeypatch):
    monkeypatch.setattr(sampled_books, "_RUN_EVENTS", run_events)
    moments = moments_of(day, 11)
    assert moments.seconds.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert moments.events.tolist() == [3, 3, 3, 3, 5, 5, 5, 5, 6, 7, 8]


def test_a_day_of_one_moment_lasts_a_second(day):
    moments = moments_of(day_of((5, Kind.ADD, BID, 1000, 3)), 3)
    assert moments.seconds.tolist() == [5, 5.5, 6] and moments.events.tolist() == [1, 1, 1]


def levels_in(book):
    sides = [sampled_books.occupied(book, s) for s in range(2)]
    return [(price.tolist(), size.tolist()) for price, size in sides]


def expected_levels(snapshot):
    sides = []
    for side in (BID, ASK):
        mine = snapshot.side == side
        price, where = np.unique(snapshot.price[mine] * -side, return_inverse=True)
        sides.append(((price * -side).tolist(), np.bincount(where, snapshot.size[mine]).astype(int).tolist()))
    return sides


@pytest.mark.parametrize("name", [*SAMPLES, "simulated"])
def test_books_agree_with_a_replay_with_queues(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sampled_books, "_RUN_EVENTS", 7)
    if name == "simulated":
        day = SyntheticFeed(1, 300, 0).read("2024-01-02")
    else:
        day = sample_of(name).FEED.read(sample_of(name).write(tmp_path))
    at = np.array([0, 1, 1, 9, 10, len(day.events) - 1, len(day.events)])
    books = books_at(day, at)
    for snapshot in snapshots_at(day, at):
        assert levels_in(next(books)) == expected_levels(snapshot)


def test_quotes_and_the_reach_of_levels(day):
    quotes = sample_quotes(day, moments_of(day, 11), levels=2)
    assert quotes.price[:, 1].tolist() == [10.04] * 10 + [10.03]
    assert quotes.price[:9, 0].tolist() == [10.0] * 8 + [9.98] and np.isnan(quotes.price[9:, 0]).all()
    assert quotes.reach[:9, 0].round(9).tolist() == [0.04] * 8 + [0.03]
    assert quotes.reach[:9, 1].round(9).tolist() == [0.02] * 4 + [0.05] * 4 + [0.06]
    assert np.isnan(quotes.reach[9:]).all()
    assert sample_quotes(day, moments_of(day, 11), levels=1).reach[4].round(9).tolist() == [0.02, 0.02]


def test_bands_hold_the_quantity_of_their_prices(day):
    by_price, by_mid = sample_depth(
        day, moments_of(day, 11), [Bands(9.975, 10.045, 7), Bands(-0.065, 0.065, 13, around_mid=True)]
    )
    assert by_price[0].tolist() == [0.5] * 9 + [0, 0]  # 9.98
    assert by_price[2].tolist() == [1.0] * 8 + [0, 0, 0]
    assert by_price[6].tolist() == [2.0] * 4 + [1.5] * 7 and by_price[5, -1] == 0.1  # 10.07 lies above all bands
    assert by_price.sum() == pytest.approx(9 * 0.5 + 8 * 1.0 + 4 * 2.0 + 7 * 1.5 + 0.1)
    assert by_mid[4].tolist() == [1.0] * 8 + [0] * 3 and by_mid[8].tolist() == [2.0] * 4 + [1.5] * 4 + [0] * 3
    assert by_mid[:, 8].tolist() == [0] * 3 + [0.5] + [0] * 5 + [1.5] + [0] * 2 + [0.1]
    assert not by_mid[:, 9:].any()  # no mid

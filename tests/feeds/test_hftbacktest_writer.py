"""The rows of the `.npz`, read as hftbacktest reads them: absolute levels, trades, clears and snapshots."""

from fractions import Fraction

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.feeds import hftbacktest_writer as hb
from lob_jax.feeds.lobster import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from tests.feeds.checks import SAMPLES, final_levels, sample_of


def rows_of(day, folder, **settings):
    export = hb.write_hftbacktest(folder / "day.npz", day, **settings)
    with np.load(export.path) as file:
        return file["data"], export


def side_of(row):
    return BID if int(row["ev"]) & hb.BUY else ASK


def depth_after(rows):
    """Build the book as a backtester does."""
    book = {}
    for row in rows:
        kind, side, price = int(row["ev"]) & 0xFF, side_of(row), float(row["px"])
        if kind == hb.CLEAR:
            book = {key: size for key, size in book.items() if key[0] != side}
        elif kind in (hb.DEPTH, hb.SNAPSHOT):
            book.pop((side, price), None)
            book |= {(side, price): float(row["qty"])} if row["qty"] else {}
    return book


@pytest.mark.parametrize("name", SAMPLES)
def test_the_levels_end_as_the_book_does(name, tmp_path):
    sample = sample_of(name)
    (tmp_path / "raw").mkdir()
    day = sample.FEED.read(sample.write(tmp_path / "raw"))
    rows, _ = rows_of(day, tmp_path)
    expected = {(side, float(price)): float(size) for (side, price), size in final_levels(day).items()}
    assert depth_after(rows) == pytest.approx(expected)
    trades = [row for row in rows if int(row["ev"]) & 0xFF == hb.TRADE and int(row["ev"]) & hb.BUY]
    assert (trades[0]["px"], trades[0]["qty"]) == (100.02, 3)  # the aggressor's side


@pytest.mark.parametrize("name", SAMPLES)
def test_no_time_runs_backwards_and_none_is_seen_before_it_happens(name, tmp_path):
    sample = sample_of(name)
    (tmp_path / "raw").mkdir()
    rows, export = rows_of(sample.FEED.read(sample.write(tmp_path / "raw")), tmp_path)
    assert (np.diff(rows["exch_ts"]) >= 0).all() and (np.diff(rows["local_ts"]) >= 0).all()
    assert (rows["local_ts"] >= rows["exch_ts"]).all() and export.rows == len(rows)
    both = hb.EXCHANGE | hb.LOCAL
    assert (rows["ev"] & np.uint64(both) == both).all()


def test_a_simulated_day_shows_every_level_and_trade(tmp_path):
    day = SyntheticFeed(1, 2000, 0).read("2024-01-02")
    rows, export = rows_of(day, tmp_path, latency_ns=250)
    kind = rows["ev"] & np.uint64(0xFF)
    traded = np.isin(day.events.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS))
    assert (kind == hb.TRADE).sum() == traded.sum() and (kind == hb.CLEAR).sum() == 2
    assert (rows["local_ts"] - rows["exch_ts"] == 250).all() and export.exchange_times_moved == 0
    levels = {(side, float(price)): float(size) for (side, price), size in final_levels(day).items()}
    assert depth_after(rows) == pytest.approx(levels)


def test_levels_that_leave_the_window_of_a_feed_are_gone(market_data, tmp_path):
    path = market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz")
    day = LobsterFeed().read(path)
    rows, _ = rows_of(day, tmp_path)
    expected = {(side, float(price)): float(size) for (side, price), size in final_levels(day).items()}
    assert depth_after(rows) == pytest.approx(expected) and len(expected) == 2
    assert Fraction(rows["px"][-1]).limit_denominator(10**4) > 0


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.npz"):
        hb.write_hftbacktest(tmp_path / "day.csv", SyntheticFeed(1, 100, 0).read("2024-01-02"))

"""Compare the rebuilt L2 books with the exchange's own best quotes: real captures, joined by update id."""

import gzip
import json
from fractions import Fraction

import numpy as np
import pytest

from lob_jax.book.replay import replay
from lob_jax.feeds.binance.feed import BinanceFeed
from lob_jax.feeds.tardis.feed import TardisFeed

FUTURES = ("usdm_btcusdt_20240808.gz",), "binance-futures_2024-08-08_incremental_book_L2_BTCUSDT.csv.gz"
SPOT = (
    ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"),
    "binance_2024-08-08_09_incremental_book_L2_BTCUSDT.csv.gz",
)


def capture(paths):
    """Return the capture's depth updates as (receive ns, final id), and its best quotes by update id."""
    updates, quotes = [], {}
    for path in paths:
        with gzip.open(path, "rb") as file:
            for raw in file:
                receive, text = raw.split(b" ", 1)
                body = json.loads(text)
                body = body.get("data", body)
                if body.get("e") == "depthUpdate":
                    updates.append((int(receive), body["u"]))
                elif "B" in body and "A" in body:
                    quotes[body["u"]] = tuple(Fraction(body[key]) for key in "bBaA")
    return updates, quotes


def compared(day, updates, quotes, *, per_us):
    """Return how many updates share their id with a best quote, and how many of those differ from the book."""
    states = replay(day, levels=1)
    unit = 1000 if per_us else 1
    received = day.events.receive_ns // unit
    scale, lot = day.instrument.price_scale, day.instrument.lot_scale
    first = int(received[0])
    rows = different = 0
    for receive, final in updates:
        if final in quotes and receive // unit >= first:
            row = int(np.searchsorted(received, receive // unit, side="right"))
            (bid, ask), (bid_size, ask_size) = states.price[row, :, 0].tolist(), states.size[row, :, 0].tolist()
            book = Fraction(bid, scale), Fraction(bid_size, lot), Fraction(ask, scale), Fraction(ask_size, lot)
            rows += 1
            different += book != quotes[final]
    return rows, different


@pytest.mark.slow
@pytest.mark.parametrize(("files", "depth"), [FUTURES, SPOT], ids=["futures", "spot"])
def test_the_books_equal_the_best_quotes_in_every_comparable_row(market_data, tmp_path, files, depth):
    paths = [market_data(f"binance/{name}") for name in files]
    updates, quotes = capture(paths)
    joined = tmp_path / "capture.gz"
    joined.write_bytes(b"".join(path.read_bytes() for path in paths))
    raw_rows, raw_different = compared(BinanceFeed().read(joined), updates, quotes, per_us=False)
    csv_rows, csv_different = compared(TardisFeed().read(market_data(f"tardis/{depth}")), updates, quotes, per_us=True)
    assert raw_rows > 500 and csv_rows > 500
    assert (raw_different, csv_different) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("files", "depth"), [FUTURES], ids=["futures"])
def test_both_formats_of_a_day_have_the_same_events(market_data, files, depth):
    raw = BinanceFeed().read(market_data(f"binance/{files[0]}"))
    csv = TardisFeed().read(market_data(f"tardis/{depth}"))
    assert raw.instrument == csv.instrument
    skipped = len(raw.events) - len(csv.events)
    assert 0 <= skipped <= 5
    for name in ("kind", "side", "price", "size"):
        tail = slice(-400_000, None)
        np.testing.assert_array_equal(getattr(raw.events, name)[tail], getattr(csv.events, name)[tail])

"""What the figures draw, checked on the cells and artists, and on the pixels of the file."""

import dataclasses
import struct

import numpy as np
import pytest

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds import figures
from lob_jax.feeds.feed import MarketDay
from lob_jax.feeds.synthetic import SyntheticFeed

S = 10**9
INSTRUMENT = Instrument("ABC", "TEST", "2024-01-02", "UTC", 100, 1, 1)


def day_of(*rows):
    """Build a day from rows (second, kind, side, price, size), or (second, code)."""
    full = [row if len(row) == 5 else (row[0], Kind.CONTROL, 0, 0, 0) for row in rows]
    second, kind, side, price, size = np.array(full).T
    events = Events.from_columns(
        time_ns=INSTRUMENT.midnight_ns() + second * S, kind=kind, side=side, price=price, size=size,
        code=np.array([row[1] if len(row) == 2 else 0 for row in rows]),
        flags=np.full(len(rows), int(Flag.AGGRESSOR_KNOWN)),
    )  # fmt: skip
    return MarketDay(INSTRUMENT, BookSnapshot.empty(INSTRUMENT.midnight_ns()), events, Corrections.none(), {})


QUOTES = [(0, Kind.ADD, BID, 1000, 10), (0, Kind.ADD, ASK, 1004, 20), (0, Kind.ADD, BID, 999, 5)]


@pytest.fixture
def day():
    return day_of(
        *QUOTES,
        (40, Kind.EXECUTE, ASK, 1004, 5),
        (50, Code.HALT),
        (60, Code.RESUME_TRADE),
        (80, Kind.EXECUTE, BID, 1000, 2),
        (100, Kind.ADD, ASK, 1003, 1),
    )


def test_books_are_sampled_at_even_moments(day):
    samples = figures.sample_books(day, levels=2, count=11)
    assert samples.seconds.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert samples.price[0].tolist()[0] == [10.0, 9.99] and np.isnan(samples.price[0, 1, 1])
    assert samples.size[:, 1, 0].tolist() == [20] * 4 + [15] * 6 + [1]
    assert samples.size[:, 0, 0].tolist() == [10] * 8 + [8] * 3


def test_cells_hold_what_rests_in_their_band(day):
    samples = figures.sample_books(day, levels=2, count=11)
    cells = figures.heat_map(samples, low=9.985, high=10.055, rows=7)
    assert cells[0].tolist() == [5] * 11  # 9.99
    assert cells[1].tolist() == [10] * 8 + [8] * 3
    assert cells[5].tolist() == [20] * 4 + [15] * 7 and cells[4, -1] == 1
    assert cells.sum() == samples.size.sum()


def test_a_stub_quote_does_not_squash_the_axis():
    rows = [(t, Kind.ADD, BID, 1000 - t % 5, 1) for t in range(1, 100)]
    samples = figures.sample_books(day_of(*QUOTES, (0, Kind.ADD, ASK, 9_999_900, 1), *rows), levels=10)
    low, high = figures.price_range(samples, step=0.01)
    assert 9.5 < low < 10.0 and 10.04 < high < 10.5


def test_the_depth_figure_has_quotes_a_halt_and_a_title(day):
    figure = figures.depth_figure(day, levels=5)
    axes = figure.axes[0]
    assert "ABC, TEST, 2024-01-02" in axes.get_title()
    bid, ask = (line.get_ydata() for line in axes.lines)
    assert bid[0] == 10.0 and ask[0] == 10.04 and ask[-1] == 10.03
    (halt,) = axes.patches
    assert (halt.get_x(), halt.get_x() + halt.get_width()) == (50, 60)
    assert axes.images[0].get_array().count() > 1000


def test_the_trades_figure_shows_who_aggressed(day):
    top, middle, bottom = figures.trades_figure(day).axes
    dots = {part.get_label(): part.get_offsets().tolist() for part in top.collections if len(part.get_offsets()) == 1}
    assert dots["buyer aggressed"] == [[40, 10.04]] and dots["seller aggressed"] == [[80, 10.0]]
    assert sum(bar.get_height() for bar in middle.patches if bar.get_x() not in (50,)) >= 7
    assert bottom.lines[0].get_ydata()[0] == pytest.approx(4)
    assert "2 trades" in top.get_title()


def test_one_sided_and_tiny_days_can_be_drawn():
    for day in (day_of((5, Kind.ADD, BID, 1000, 3)), day_of(*QUOTES), day_of((1, Code.HALT), (2, Code.RESUME_TRADE))):
        figures.trades_figure(day)
        figures.depth_figure(day, levels=3)


def test_the_file_is_a_png_of_1600_by_900(tmp_path):
    day = SyntheticFeed(1, 2000, 0).read("2024-01-02")
    figures.save(figures.depth_figure(day, levels=5), tmp_path / "depth.png")
    data = (tmp_path / "depth.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (1600, 900)
    assert [path.name for path in tmp_path.iterdir()] == ["depth.png"]


def test_the_axis_shows_the_venues_clock(day):
    figure = figures.trades_figure(dataclasses.replace(day, instrument=dataclasses.replace(INSTRUMENT)))
    axis = figure.axes[-1].xaxis
    assert [axis.get_major_formatter()(tick, 0) for tick in (0, 3661, 86_399)] == ["00:00:00", "01:01:01", "23:59:59"]

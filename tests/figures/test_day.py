"""The content of the figures, checked on their artists and on the pixels of the saved file."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.figures import day as figures
from lob_jax.statistics.sampled_books import moments_of, sample_quotes

S = 10**9
INSTRUMENT = Instrument("ABC", "TEST", "2024-01-02", "UTC", 100, 1, 1)
STUBS = [(0, Kind.ADD, BID, 1, 1), (0, Kind.ADD, ASK, 9_999_900, 1)]
QUOTES = [(0, Kind.ADD, BID, 1000, 10), (0, Kind.ADD, ASK, 1004, 20), (0, Kind.ADD, BID, 999, 5)]
ROWS = [
    *QUOTES,
    (40, Kind.EXECUTE, ASK, 1004, 5),
    (50, Code.HALT),
    (60, Code.RESUME_TRADE),
    (70, Kind.EXECUTE_HIDDEN, BID, 1002, 1),
    (80, Kind.EXECUTE, BID, 1000, 2),
    (100, Kind.ADD, ASK, 1003, 1),
]


def day_of(*rows, known=True):
    """Build a day from rows (second, kind, side, price, size), or (second, code)."""
    full = [row if len(row) == 5 else (row[0], Kind.CONTROL, 0, 0, 0) for row in rows]
    second, kind, side, price, size = np.array(full).T
    events = Events.from_columns(
        time_ns=INSTRUMENT.midnight_ns() + second * S, kind=kind, side=side, price=price, size=size,
        code=np.array([row[1] if len(row) == 2 else 0 for row in rows]),
        flags=np.full(len(rows), int(Flag.AGGRESSOR_KNOWN) * known),
    )  # fmt: skip
    return MarketDay(INSTRUMENT, BookSnapshot.empty(), events, Corrections.none(), {})


@pytest.fixture
def day():
    return day_of(*ROWS)


def quotes_of(day, levels=5):
    return sample_quotes(day, moments_of(day), levels=levels)


def colour_at(figure, axes, x, y, tmp_path):
    """Return the colour of the saved file at given data coordinates."""
    figures.save(figure, tmp_path / "figure.png")
    pixels = imread(tmp_path / "figure.png")
    assert pixels.shape[:2] == (900, 1600)
    column, row = axes.transData.transform((x, y))
    return pixels[899 - int(row), int(column), :3]


def test_the_depth_figure_has_quotes_a_halt_and_a_title(day):
    figure = figures.depth_figure(day, levels=5)
    top, bottom = figure.axes[:2]
    assert "ABC, TEST, 2024-01-02" in figure.get_suptitle()
    bid, ask = (line.get_ydata() for line in top.lines)
    assert (bid[0], ask[0], ask[-1]) == (10.0, 10.04, 10.03)
    assert [line.get_ydata()[0] for line in bottom.lines] == pytest.approx([-0.02, 0.02])
    for axes in (top, bottom):
        (halt,) = axes.patches
        assert (halt.get_x(), halt.get_x() + halt.get_width()) == (50, 60)


def test_cells_of_the_depth_figure_are_coloured_by_their_quantity(day, tmp_path):
    figure = figures.depth_figure(day, levels=5)
    top = figure.axes[0]
    (image,) = top.images
    cells, (_, _, low, high) = image.get_array(), image.get_extent()

    def held(second, price):
        row = int((price - low) / (high - low) * cells.shape[0])
        return cells[row, int(second / 100 * (cells.shape[1] - 1))]

    assert [held(20, price) for price in (9.99, 10.0, 10.04)] == [5, 10, 20]
    assert [held(90, price) for price in (10.0, 10.04)] == [8, 15] and held(20, 10.02) is np.ma.masked
    expected = image.cmap(image.norm(5))[:3]
    assert colour_at(figure, top, 20, 9.99, tmp_path) == pytest.approx(expected, abs=0.02)
    assert colour_at(figure, top, 20, 10.02, tmp_path) == pytest.approx(to_rgb(figures._BARE), abs=0.02)


def test_the_trades_figure_shows_who_aggressed(day, tmp_path):
    figure = figures.trades_figure(day)
    top, middle, bottom = figure.axes
    dots = {part.get_label(): part.get_offsets().tolist() for part in top.collections}
    assert dots["buyer aggressed"] == [[40, 10.04]] and dots["seller aggressed"] == [[70, 10.02], [80, 10.0]]
    bars = [bar for bar in middle.patches if bar.get_height() > 0 and bar.get_width() < 1]
    assert [(int(bar.get_x()), bar.get_height()) for bar in bars] == [(40, 5), (70, 1), (80, 2)]
    assert bottom.lines[0].get_ydata()[0] == pytest.approx(4)
    assert "3 trades: ABC" in figure.get_suptitle()
    bought = colour_at(figure, middle, bars[0].get_x() + 0.4, 2, tmp_path)
    assert bought == pytest.approx(to_rgb(figures.BUYER), abs=0.02)


def test_trades_of_unknown_aggressors_are_neither(day):
    top = figures.trades_figure(day_of(*ROWS, known=False)).axes[0]
    assert [part.get_label() for part in top.collections if part.get_zorder() == 3] == ["aggressor unknown"]


def test_many_trades_are_gathered(day, monkeypatch):
    trades = [(10, Kind.EXECUTE_HIDDEN, ASK, price, size) for price, size in ((1001, 1), (1003, 3))]
    trades += [(10, Kind.EXECUTE_HIDDEN, BID, 1000, 7), (90, Kind.EXECUTE_HIDDEN, ASK, 1004, 2)]
    monkeypatch.setattr(figures, "MOST_DOTS", 3)
    figure = figures.trades_figure(day_of(*QUOTES, *trades, (100, Code.HALT)))
    assert "4 trades, aggregated every 333 ms" in figure.get_suptitle()
    dots = {part.get_label(): part for part in figure.axes[0].collections}
    bought = dots["buyer aggressed"].get_offsets()
    assert bought[:, 1].tolist() == pytest.approx([10.025, 10.04]) and abs(bought[:, 0] - [10, 90]).max() < 0.34
    assert dots["seller aggressed"].get_offsets()[:, 1].tolist() == [10.0]
    first, second = dots["buyer aggressed"].get_sizes()
    assert first > second > 3  # 4 against 2


@pytest.mark.parametrize("often", [1, 60])
def test_a_stub_quote_does_not_squash_the_axis(often):
    away = [(100 + often, Kind.DELETE, ASK, 1004, 20), (160, Kind.ADD, ASK, 1004, 20), (200, Code.HALT)]
    day = day_of(*STUBS, *QUOTES, (50, Kind.EXECUTE, BID, 999, 1), *sorted(away))
    bands = figures.price_bands(quotes_of(day), step=0.01)
    assert 9.5 < bands.low < 9.9 and 10.1 < bands.high < 10.5
    around = figures.mid_bands(quotes_of(day), step=0.01)
    assert 0.05 <= around.high <= 0.6 and around.low == -around.high and around.around_mid
    top, _, bottom = figures.trades_figure(day).axes
    assert 9.8 < top.get_ylim()[0] < 10.0 and 10.04 < top.get_ylim()[1] < 10.2
    assert bottom.get_ylim()[1] < 10


def test_bands_have_a_tick_in_their_middle_and_are_not_too_many():
    bands = figures.price_bands(quotes_of(day_of(*QUOTES, (9, Kind.ADD, BID, 1003, 1))), step=0.01)
    width = (bands.high - bands.low) / bands.count
    assert width == pytest.approx(0.01) and ((bands.low / 0.01) % 1) == pytest.approx(0.5)
    wide = figures._bands(5.0, 25.0, 0.01, 300)
    assert 200 < wide.count <= 302 and (wide.high - wide.low) / wide.count == pytest.approx(0.07)
    assert wide.low <= 5.0 and wide.high >= 25.0


def test_a_crossed_book_is_marked():
    day = day_of(*QUOTES, (10, Kind.ADD, BID, 1010, 4), (20, Kind.DELETE, BID, 1010, 4), (30, Code.HALT))
    assert "crossed" in [part.get_label() for part in figures.trades_figure(day).axes[0].collections]
    assert "crossed" not in [part.get_label() for part in figures.trades_figure(day_of(*ROWS)).axes[0].collections]


@pytest.mark.parametrize(
    "rows", [[(5, Kind.ADD, BID, 1000, 3)], QUOTES, STUBS, [(1, Code.HALT), (2, Code.RESUME_TRADE)], [(1, Code.HALT)]]
)
def test_one_sided_and_tiny_days_can_be_drawn(rows):
    day = day_of(*rows)
    for figure in (figures.trades_figure(day), figures.depth_figure(day, levels=3)):
        figure.draw_without_rendering()


def test_a_halt_that_does_not_end_lasts_to_the_end():
    day = day_of(*QUOTES, (30, Code.HALT), (35, Code.HALT), (60, Kind.DELETE, BID, 999, 5))
    (halt,) = figures.depth_figure(day, levels=3).axes[0].patches
    assert (halt.get_x(), halt.get_x() + halt.get_width()) == (30, 60)


def test_the_file_is_a_png_whole_or_not_at_all(tmp_path):
    figure = figures.depth_figure(SyntheticFeed(1, 2000, 0).read("2024-01-02"), levels=5)
    figures.save(figure, tmp_path / "depth.png")
    assert imread(tmp_path / "depth.png").shape[:2] == (900, 1600)
    assert [path.name for path in tmp_path.iterdir()] == ["depth.png"]
    figure.savefig = lambda *_, **__: (_ for _ in ()).throw(OSError("no room"))
    with pytest.raises(OSError, match="no room"):
        figures.save(figure, tmp_path / "other.png")
    assert [path.name for path in tmp_path.iterdir()] == ["depth.png"]


def test_the_axis_shows_the_venues_clock(day):
    axis = figures.trades_figure(day).axes[-1].xaxis
    assert [axis.get_major_formatter()(tick, 0) for tick in (0, 3661, 86_399)] == ["00:00:00", "01:01:01", "23:59:59"]
    assert {10, 50, 90} <= set(axis.get_majorticklocs().tolist())
    short = figures.trades_figure(day_of((9, Kind.ADD, BID, 1000, 3))).axes[-1].xaxis
    assert short.get_major_formatter()(9.2, 0) == "00:00:09.200" and short.get_label_text() == "time, UTC"

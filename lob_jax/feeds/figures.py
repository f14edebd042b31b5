"""Two pictures of a day: where the depth lay, and what was traded at which price."""

import dataclasses
import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from lob_jax.book.replay import replay_runs
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, Code, Flag, Kind
from lob_jax.feeds.feed import MarketDay

COLUMNS, ROWS = 1200, 400  # cells of the heat map, at most
BUYER, SELLER, UNKNOWN = "#0072b2", "#d55e00", "#7f7f7f"  # colours that the colour-blind tell apart
BIN_COUNT = 120  # bars of traded volume
_TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)
_RUN_EVENTS = 1 << 17
_MOST_DOTS = 20_000
_HALTED = "#cccccc"
_PRICES = FuncFormatter(lambda value, _: f"{value:,.10g}")
_CLOCK_STEPS = (0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)  # seconds


@dataclasses.dataclass(frozen=True)
class Samples:
    """Books at evenly spaced moments.

    Attributes:
      seconds: float64 [K], since midnight on the venue's clock.
      price: float64 [K, 2, P], currency, NaN for an empty level.
      size: float64 [K, 2, P], units of quantity, 0 for an empty level.
    """

    seconds: np.ndarray
    price: np.ndarray
    size: np.ndarray


def sample_books(day: MarketDay, *, levels: int, count: int = COLUMNS) -> Samples:
    """Return the book at `count` evenly spaced moments of a day, the best `levels` a side."""
    time_ns = np.maximum.accumulate(day.events.time_ns)
    first = min(int(time_ns[0]), day.start.time_ns or int(time_ns[0]))
    moments = np.linspace(first, max(int(time_ns[-1]), first + NS_PER_SECOND), count)
    wanted = np.searchsorted(time_ns, moments.astype(np.int64), side="right")
    price, size = (np.zeros((count, 2, levels)) for _ in range(2))
    book = {"start": day.start, "corrections": day.corrections}
    for rows, states in replay_runs(day.events, **book, levels=levels, run_events=_RUN_EVENTS):
        mine = np.flatnonzero((wanted >= rows.start) & (wanted <= rows.stop))
        price[mine], size[mine] = states.price[wanted[mine] - rows.start], states.size[wanted[mine] - rows.start]
    return Samples(
        seconds=(moments - day.instrument.midnight_ns()) / NS_PER_SECOND,
        price=np.where(size > 0, price / day.instrument.price_scale, np.nan),
        size=size / day.instrument.lot_scale,
    )


def price_range(samples: Samples, *, step: float) -> tuple[float, float]:
    """Return the prices worth showing: where the best quotes were, and as much depth around them as is usual.

    Stub quotes, and the few moments of a very wide spread, stay outside.
    """
    best = samples.price[:, :, 0]
    if not np.isfinite(best).any():
        return 0.0, 1.0
    both = np.isfinite(best).all(axis=1)
    quoted = best[both] if both.any() else best
    low, high = np.nanquantile(quoted, 0.002), np.nanquantile(quoted, 0.998)
    behind = abs(samples.price - best[:, :, None])
    margin = max(np.nanquantile(behind, 0.7), 0.04 * (high - low), 3 * step)
    return low - margin, high + margin


def heat_map(samples: Samples, *, low: float, high: float, rows: int) -> np.ndarray:
    """Return the quantity resting in `rows` bands of price at each moment, float64 [rows, K], the lowest band first."""
    cells = np.zeros((rows, len(samples.seconds)))
    shown = np.isfinite(samples.price) & (samples.price >= low) & (samples.price < high)
    moment, side, level = np.nonzero(shown)
    band = ((samples.price[moment, side, level] - low) / (high - low) * rows).astype(int)
    np.add.at(cells, (np.minimum(band, rows - 1), moment), samples.size[moment, side, level])
    return cells


def depth_figure(day: MarketDay, *, levels: int) -> Figure:
    """Return a heat map of resting quantity by time and price, the best quotes on top."""
    instrument, levels = day.instrument, min(levels, day.start.window or levels)
    samples = sample_books(day, levels=levels)
    step = instrument.tick / instrument.price_scale
    low, high = price_range(samples, step=step)
    rows = int(np.clip((high - low) / step, 20, ROWS))
    cells = heat_map(samples, low=low, high=high, rows=rows)
    figure = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    extent = (samples.seconds[0], samples.seconds[-1], low, high)
    filled = cells[cells > 0]
    limits = np.quantile(filled, (0.02, 0.995)) if len(filled) else np.array([1.0, 10.0])
    norm = LogNorm(vmin=limits[0], vmax=max(limits[1], limits[0] * 1.01))
    drawn = np.where(cells > 0, cells, np.nan)
    image = axes.imshow(
        drawn, origin="lower", aspect="auto", extent=extent, norm=norm, cmap="viridis", interpolation="nearest"
    )
    axes.set_facecolor("#1a1a1a")
    for s, (name, colour) in enumerate((("best bid", "#ffffff"), ("best ask", "#ff9d6e"))):
        axes.plot(samples.seconds, samples.price[:, s, 0], color=colour, lw=1.0, label=name, drawstyle="steps-post")
    _shade_halts(axes, day)
    axes.set_ylim(low, high)
    axes.set_xlim(samples.seconds[0], samples.seconds[-1])
    axes.set_ylabel("price")
    axes.yaxis.set_major_formatter(_PRICES)
    axes.legend(loc="upper left", facecolor="#333333", labelcolor="white")
    figure.colorbar(image, ax=axes, label=f"resting quantity in a band of {(high - low) / rows:.4g}", pad=0.01)
    _set_clock(axes, instrument)
    axes.set_title(f"Depth of {levels} levels a side: {_name(instrument)}")
    return figure


def trades_figure(day: MarketDay) -> Figure:
    """Return best quotes with trades as dots, traded quantity by aggressor, and the spread."""
    instrument, events = day.instrument, day.events
    samples = sample_books(day, levels=1)
    rows = np.flatnonzero(np.isin(events.kind, _TRADES))
    seconds = (events.time_ns[rows] - instrument.midnight_ns()) / NS_PER_SECOND
    price, size = events.price[rows] / instrument.price_scale, events.size[rows] / instrument.lot_scale
    known = (events.flags[rows] & Flag.AGGRESSOR_KNOWN) > 0
    who = np.where(known, np.where(events.side[rows] == ASK, 0, 1), 2)
    figure = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(6, 2, 1.5))
    names = (("buyer aggressed", BUYER), ("seller aggressed", SELLER), ("aggressor unknown", UNKNOWN))
    _draw_prices(top, samples, seconds, price, size, who, names)
    edges = np.linspace(samples.seconds[0], samples.seconds[-1], BIN_COUNT + 1)
    below = np.zeros(BIN_COUNT)
    for k, (name, colour) in enumerate(names):
        volume = np.histogram(seconds[who == k], edges, weights=size[who == k])[0]
        if volume.any():
            width = np.diff(edges)
            middle.bar(edges[:-1], volume, width, bottom=below, align="edge", color=colour, label=name)
            below += volume
    middle.set_ylabel("quantity traded")
    ticks = (samples.price[:, 1, 0] - samples.price[:, 0, 0]) * instrument.price_scale / instrument.tick
    bottom.plot(samples.seconds, ticks, color="#444444", lw=0.8, drawstyle="steps-post")
    finite = ticks[np.isfinite(ticks)]
    if len(finite):
        bottom.set_ylim(min(0.0, float(finite.min())), max(float(np.quantile(finite, 0.995)) * 1.2, 1.5))
    bottom.set_ylabel("spread, ticks")
    for axes in (top, middle, bottom):
        _shade_halts(axes, day)
        axes.grid(alpha=0.3)
    top.set_xlim(samples.seconds[0], samples.seconds[-1])
    _set_clock(bottom, instrument)
    top.set_title(f"Quotes and {len(rows):,} trades: {_name(instrument)}")
    return figure


def _draw_prices(
    axes: Axes,
    samples: Samples,
    seconds: np.ndarray,
    price: np.ndarray,
    size: np.ndarray,
    who: np.ndarray,
    names: tuple[tuple[str, str], ...],
) -> None:
    """Draw quotes as a band and trades as dots, the larger ones larger."""
    bid, ask = samples.price[:, 0, 0], samples.price[:, 1, 0]
    axes.fill_between(samples.seconds, bid, ask, color="#bbbbbb", step="post", lw=0, label="between the best quotes")
    for quote in (bid, ask):
        axes.plot(samples.seconds, quote, color="#555555", lw=0.7, drawstyle="steps-post")
    thin = slice(None, None, 1 + len(price) // _MOST_DOTS)
    largest = np.quantile(size, 0.99) if len(size) else 1.0
    for k, (name, colour) in enumerate(names):
        mine = who[thin] == k
        if mine.any():
            area = 4 + 90 * np.minimum(size[thin][mine] / largest, 1.0)
            axes.scatter(
                seconds[thin][mine],
                price[thin][mine],
                s=area,
                color=colour,
                alpha=0.45,
                lw=0,
                label=name,
            )
    shown = np.concatenate([bid[np.isfinite(bid)], ask[np.isfinite(ask)], price])
    if len(shown):
        low, high = np.quantile(shown, (0.002, 0.998))
        margin = 0.08 * (high - low) or 0.01 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("price")
    axes.yaxis.set_major_formatter(_PRICES)
    legend = axes.legend(loc="best")
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([40])


def _shade_halts(axes: Axes, day: MarketDay) -> None:
    """Shade the time from each halt to the resumption of trading."""
    events = day.events
    rows = np.flatnonzero(events.kind == Kind.CONTROL)
    since = (events.time_ns[rows] - day.instrument.midnight_ns()) / NS_PER_SECOND
    begun = None
    for code, second in zip(events.code[rows].tolist(), since.tolist(), strict=True):
        if code == Code.HALT and begun is None:
            begun = second
        elif code == Code.RESUME_TRADE and begun is not None:
            axes.axvspan(begun, second, color=_HALTED, alpha=0.6, lw=0)
            begun = None
    if begun is not None:
        last = (int(events.time_ns[-1]) - day.instrument.midnight_ns()) / NS_PER_SECOND
        axes.axvspan(begun, last, color=_HALTED, alpha=0.6, lw=0)


def _set_clock(axes: Axes, instrument: Instrument) -> None:
    """Write the times of the x axis as the venue's clock would show them."""
    low, high = axes.get_xlim()
    digits = 0 if high - low > 10 else 3

    def text(second: float, _: int) -> str:
        whole = int(second // 1)
        fraction = f"{second % 1:.{digits}f}"[1:] if digits else ""
        return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{fraction}"

    step = next((step for step in _CLOCK_STEPS if high - low <= 10 * step), None)
    axes.xaxis.set_major_locator(MultipleLocator(step) if step else MaxNLocator(8))
    axes.xaxis.set_major_formatter(FuncFormatter(text))
    axes.set_xlabel(f"time, {instrument.time_zone}")


def _name(instrument: Instrument) -> str:
    return f"{instrument.symbol}, {instrument.venue}, {instrument.trading_day}"


def save(figure: Figure, path: pathlib.Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png")
    partial.replace(path)

"""Draw two figures of a day: the depth of the book over time, and the trades with the best quotes."""

import pathlib
import tempfile

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullFormatter

from lob_jax.book.day import MarketDay
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, Code, Flag, Kind
from lob_jax.statistics.inspection import duration
from lob_jax.statistics.sampled_books import Bands, Moments, Quotes, moments_of, sample_depth, sample_quotes

BUYER, SELLER, UNKNOWN = "#0072b2", "#d55e00", "#7f7f7f"  # distinguishable with colour blindness
AGGRESSORS = (("buyer aggressed", BUYER), ("seller aggressed", SELLER), ("aggressor unknown", UNKNOWN))
BARS = 120  # bars of traded quantity
MOST_DOTS = 3000  # trades drawn one by one; if there are more, they are aggregated over time
DOTS = 300  # time intervals for this aggregation
PRICE_BANDS, MID_BANDS = 300, 80  # maximum number of bands
WIDE = 0.05  # as a share of the price: a wider spread is one of stub quotes, which are not meant to trade
_TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)
_RUN_EVENTS = 1 << 16
_HALTED, _BARE, _CROSSED = "#b0b0b0", "#1a1a1a", "#cc79a7"
_CLOCK_STEPS = (0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)  # seconds
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")


def depth_figure(day: MarketDay, *, levels: int) -> Figure:
    """Return heat maps of resting quantity: by price, with all known levels, and around the mid, within `levels`.

    The day must have at least one event.
    """
    instrument, moments = day.instrument, moments_of(day)
    levels = min(levels, day.start.window or levels)
    quotes = sample_quotes(day, moments, levels=levels)
    step = instrument.tick / instrument.price_scale
    bands = [price_bands(quotes, step=step), mid_bands(quotes, step=step)]
    figure = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    mid = quotes.price.mean(axis=1, keepdims=True)
    lines = (quotes.price, quotes.price - mid)
    for axes, division, cells, best in zip(panels, bands, sample_depth(day, moments, bands), lines, strict=True):
        _draw_depth(axes, moments, cells, division)
        for s, (name, colour) in enumerate((("best bid", "#ffffff"), ("best ask", "#ff9d6e"))):
            axes.plot(moments.seconds, best[:, s], color=colour, lw=0.9, label=name, drawstyle="steps-post")
        _shade_halts(axes, day)
        axes.set_ylim(division.low, division.high)
        axes.yaxis.set_major_formatter(_PLAIN)
    panels[0].set_ylabel("price")
    panels[1].set_ylabel(f"price from the mid, {levels} levels per side")
    panels[0].legend(loc="upper right", facecolor="#333333", labelcolor="white")
    _set_clock(panels, moments, instrument)
    figure.suptitle(f"Depth: {_name(instrument)}")
    return figure


def usual(quotes: Quotes, *, step: float) -> np.ndarray:
    """Return at which sample times the best quotes indicate a price, bool [K]: both exist, and neither is a stub.

    Their distance is at most WIDE of the price or ten ticks. If it never is, times with at most twice the smallest
    distance qualify.
    """
    bid, ask = quotes.price.T
    apart = abs(ask - bid)
    close = apart <= np.maximum(WIDE * abs(bid + ask) / 2, 10 * step)
    return close if close.any() or np.isnan(apart).all() else apart <= 2 * np.nanmin(apart)


def price_bands(quotes: Quotes, *, step: float) -> Bands:
    """Return bands of whole ticks over the price range to show: the usual range of the best quotes, plus a margin."""
    best = quotes.price[usual(quotes, step=step)]
    if not len(best):  # the book never has both sides
        best = quotes.price[np.isfinite(quotes.price)].reshape(-1, 1)
    if not len(best):
        return Bands(0.0, 1.0, 1)
    low, high = np.quantile(best, (0.002, 0.998))
    margin = max(0.08 * (high - low), 4 * float(np.median(best[:, -1] - best[:, 0])), 12 * step)
    return _bands(low - margin, high + margin, step, PRICE_BANDS)


def mid_bands(quotes: Quotes, *, step: float) -> Bands:
    """Return bands of whole ticks around the mid, out to 1.5 times the usual distance of the last level."""
    rows = usual(quotes, step=step)
    reach, mid = quotes.reach[rows], quotes.price[rows].mean(axis=1)
    far = min(1.5 * float(np.median(reach)), max(WIDE * abs(float(np.median(mid))), 10 * step)) if len(reach) else 0.0
    bands = _bands(-max(far, 5 * step), max(far, 5 * step), step, MID_BANDS)
    return Bands(bands.low, bands.high, bands.count, around_mid=True)


def _bands(low: float, high: float, step: float, most: int) -> Bands:
    """Return at most about `most` bands that cover a range, each a whole number of ticks wide and centred on a tick."""
    ticks = -(-(high - low) // (step * most))
    first, last = np.floor(low / (step * ticks)), np.ceil(high / (step * ticks))
    return Bands((first - 0.5) * step * ticks, (last + 0.5) * step * ticks, int(last - first) + 1)


def _draw_depth(axes: Axes, moments: Moments, cells: np.ndarray, bands: Bands) -> None:
    """Draw quantities as colours on a logarithmic scale."""
    filled = cells[cells > 0]
    least, most = np.quantile(filled, (0.02, 0.995)) if len(filled) else (1.0, 10.0)
    image = axes.imshow(
        np.ma.masked_equal(cells, 0),
        origin="lower",
        aspect="auto",
        extent=(moments.seconds[0], moments.seconds[-1], bands.low, bands.high),
        norm=LogNorm(vmin=least, vmax=max(most, least * 1.01)),
        cmap="viridis",
        interpolation="nearest",
    )
    axes.set_facecolor(_BARE)
    width = (bands.high - bands.low) / bands.count
    bar = axes.figure.colorbar(image, ax=axes, label=f"quantity per band of {width:.4g}", pad=0.01)
    bar.ax.yaxis.set_major_formatter(_PLAIN)
    bar.ax.yaxis.set_minor_formatter(_PLAIN if most < 10 * least else NullFormatter())


def trades_figure(day: MarketDay) -> Figure:
    """Return a figure of the best quotes with trades as dots, the traded quantity by aggressor, and the spread.

    The day must have at least one event.
    """
    instrument, moments = day.instrument, moments_of(day)
    quotes = sample_quotes(day, moments, levels=1)
    seconds, price, size, who = _trades(day)
    figure = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(6, 2, 1.5))
    top, middle, bottom = panels
    _draw_quotes(top, moments, quotes)
    span = float(moments.seconds[-1] - moments.seconds[0])
    gathered = f", aggregated every {duration(span / DOTS * NS_PER_SECOND)}" if len(price) > MOST_DOTS else ""
    _draw_dots(top, *(_gather(seconds, price, size, who, moments) if gathered else (seconds, price, size, who)))
    told = usual(quotes, step=instrument.tick / instrument.price_scale)
    _set_price_range(top, quotes.price[told], price)
    _draw_bars(middle, moments, seconds, size, who)
    middle.set_ylabel(f"traded in {duration(span / BARS * NS_PER_SECOND)}")
    ticks = (quotes.price[:, 1] - quotes.price[:, 0]) * instrument.price_scale / instrument.tick
    _draw_spread(bottom, moments, ticks, told)
    for axes in panels:
        _shade_halts(axes, day)
        axes.grid(alpha=0.3)
        axes.yaxis.set_major_formatter(_PLAIN)
    _set_clock(panels, moments, instrument)
    figure.suptitle(f"Quotes and {len(price):,} trades{gathered}: {_name(instrument)}")
    return figure


def _trades(day: MarketDay) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return seconds since midnight, price, quantity and index into `AGGRESSORS` of each trade outside auctions."""
    instrument, events = day.instrument, day.events
    runs = range(0, len(events), _RUN_EVENTS)
    found = [first + np.flatnonzero(np.isin(events.kind[first : first + _RUN_EVENTS], _TRADES)) for first in runs]
    traded = events[np.concatenate([np.zeros(0, np.int64), *found])]
    known = (traded.flags & Flag.AGGRESSOR_KNOWN) > 0
    return (
        (traded.time_ns - instrument.midnight_ns()) / NS_PER_SECOND,
        traded.price / instrument.price_scale,
        traded.size / instrument.lot_scale,
        np.where(known, np.where(traded.side == ASK, 0, 1), 2),
    )


def _gather(
    seconds: np.ndarray, price: np.ndarray, size: np.ndarray, who: np.ndarray, moments: Moments
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Aggregate the trades with the same aggressor in each interval: quantity-weighted price and total quantity."""
    edges = np.linspace(moments.seconds[0], moments.seconds[-1], DOTS + 1)
    place = np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, DOTS - 1) * len(AGGRESSORS) + who
    total = np.bincount(place, size, DOTS * len(AGGRESSORS))
    paid = np.bincount(place, price * size, DOTS * len(AGGRESSORS))
    used = np.flatnonzero(total)
    middle = (edges[1:] + edges[:-1]) / 2
    return middle[used // len(AGGRESSORS)], paid[used] / total[used], total[used], used % len(AGGRESSORS)


def _draw_quotes(axes: Axes, moments: Moments, quotes: Quotes) -> None:
    bid, ask = quotes.price.T
    axes.fill_between(moments.seconds, bid, ask, color="#bbbbbb", step="post", lw=0, label="between the best quotes")
    if (bid > ask).any():
        where = bid > ask
        axes.fill_between(moments.seconds, bid, ask, where=where, color=_CROSSED, step="post", lw=0, label="crossed")
    for quote in (bid, ask):
        axes.plot(moments.seconds, quote, color="#555555", lw=0.7, drawstyle="steps-post")
    axes.set_ylabel("price")


def _draw_dots(axes: Axes, seconds: np.ndarray, price: np.ndarray, size: np.ndarray, who: np.ndarray) -> None:
    """Draw trades as dots, with areas proportional to quantity up to its 99th percentile."""
    largest = np.quantile(size, 0.99) if len(size) else 1.0
    for k, (name, colour) in enumerate(AGGRESSORS):
        mine = who == k
        if mine.any():
            area = 3 + 120 * np.minimum(size[mine] / largest, 1.0)
            axes.scatter(seconds[mine], price[mine], s=area, color=colour, alpha=0.55, lw=0, label=name, zorder=3)
    for handle in axes.legend(loc="best").legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])


def _set_price_range(axes: Axes, best: np.ndarray, price: np.ndarray) -> None:
    """Limit the price axis to the central 99.4 % of quotes and of trades, plus a margin."""
    ranges = [np.quantile(part, (0.003, 0.997)) for part in (best, price) if part.size]
    if not ranges:
        return
    low, high = min(part[0] for part in ranges), max(part[1] for part in ranges)
    margin = 0.06 * (high - low) or 0.001 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _draw_bars(axes: Axes, moments: Moments, seconds: np.ndarray, size: np.ndarray, who: np.ndarray) -> None:
    """Draw the traded quantity over time as bars stacked by aggressor."""
    edges = np.linspace(moments.seconds[0], moments.seconds[-1], BARS + 1)
    below = np.zeros(BARS)
    for k, (name, colour) in enumerate(AGGRESSORS):
        traded = np.histogram(seconds[who == k], edges, weights=size[who == k])[0]
        if traded.any():
            axes.bar(edges[:-1], traded, np.diff(edges), bottom=below, align="edge", color=colour, label=name)
            below += traded


def _draw_spread(axes: Axes, moments: Moments, ticks: np.ndarray, told: np.ndarray) -> None:
    """Draw the spread over time; the axis cuts off the widest hundredth, and negative spreads beyond the same limit."""
    axes.plot(moments.seconds, ticks, color="#444444", lw=0.8, drawstyle="steps-post")
    if told.any():
        high = max(1.3 * float(np.quantile(ticks[told], 0.99)), 2.0)
        axes.set_ylim(max(min(0.0, 1.1 * float(ticks[told].min())), -high), high)
    axes.set_ylabel("spread, ticks")


def _shade_halts(axes: Axes, day: MarketDay) -> None:
    """Shade the time from each halt to the resumption of trading, or to the end of the day."""
    begun = None
    for second, code in _control(day):
        if code == Code.HALT and begun is None:
            begun = second
        elif code == Code.RESUME_TRADE and begun is not None:
            axes.axvspan(begun, second, color=_HALTED, alpha=0.6, lw=0)
            begun = None
    if begun is not None:
        axes.axvspan(begun, axes.get_xlim()[1], color=_HALTED, alpha=0.6, lw=0)


def _control(day: MarketDay) -> list[tuple[float, int]]:
    """Return the CONTROL events as (seconds since midnight, code)."""
    events, found = day.events, []
    for first in range(0, len(events), _RUN_EVENTS):
        for row in first + np.flatnonzero(events.kind[first : first + _RUN_EVENTS] == Kind.CONTROL):
            second = (int(events.time_ns[row]) - day.instrument.midnight_ns()) / NS_PER_SECOND
            found.append((second, int(events.code[row])))
    return found


def _set_clock(panels: np.ndarray, moments: Moments, instrument: Instrument) -> None:
    """Label the x axis with the local time of the venue."""
    low, high = float(moments.seconds[0]), float(moments.seconds[-1])
    step = next((step for step in _CLOCK_STEPS if high - low <= 12 * step), None)
    digits = 3 if step is not None and step < 1 else 0

    def text(second: float, _: int) -> str:
        whole, thousandths = divmod(round(second * 1000), 1000)
        fraction = f".{thousandths:03d}" if digits else ""
        return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{fraction}"

    for axes in panels:
        axes.set_xlim(low, high)
    panels[-1].xaxis.set_major_locator(MultipleLocator(step) if step else MaxNLocator(8))
    panels[-1].xaxis.set_major_formatter(FuncFormatter(text))
    panels[-1].set_xlabel(f"time, {instrument.time_zone}")


def _name(instrument: Instrument) -> str:
    return f"{instrument.symbol}, {instrument.venue}, {instrument.trading_day}"


def save(figure: Figure, path: pathlib.Path) -> None:
    """Write a figure as PNG, atomically."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        partial = pathlib.Path(folder) / path.name
        figure.savefig(partial, format="png")
        partial.replace(path)

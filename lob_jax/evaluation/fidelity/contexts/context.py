"""`Context`: the state of the market before a message, in groups whose edges are fitted on real flow alone."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from lob_jax.evaluation.fidelity.score import Need
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import earlier, is_first, mid_ticks, place, spread_ticks
from lob_jax.statistics.recent import recent_volatility

HALF_HOUR_NS = 1800 * NS_PER_SECOND
LEAST_SEQUENCES = 10  # real ones that begin in a group of half hours: a half of real flow then has about five
LEAST_MOVES = 10  # of the mid that volatility takes

Edges = tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Series:
    """A quantity of the state after each message, and how it is cut into bins.

    Attributes:
      name: its key in JSON.
      unit: its unit.
      values: flow -> float64 [E], NaN where it is not defined.
      edges: (real flow, the quantity before each message, float64 [N] finite) -> ascending edges of bins; a value on an
        edge belongs to the bin above it.
    """

    name: str
    unit: str
    values: Callable[[Flow], np.ndarray]
    edges: Callable[[Flow, np.ndarray], np.ndarray]

    def before(self, flow: Flow) -> np.ndarray:
        """Return the quantity before each message, float64 [E]; NaN for the first message of a sequence."""
        return earlier(flow, self.values(flow), 1)


@dataclasses.dataclass(frozen=True)
class Context:
    """A state of the market that is known before a message: one quantity, or the combination of several.

    Attributes:
      name: its key in JSON.
      label: its name in tables.
      series: the quantities.
      needs: what a flow must have, see `score.lacking`.
    """

    name: str
    label: str
    series: tuple[Series, ...]
    needs: frozenset[Need] = frozenset()


def fit(context: Context, real: Flow) -> tuple[Edges, ...]:
    """Return the edges of a context's bins in real flow, one tuple for each of its series."""
    found = []
    for series in context.series:
        before = series.before(real)
        before = before[np.isfinite(before)]
        found.append(tuple(series.edges(real, before).tolist()) if len(before) else ())
    return tuple(found)


def groups_of(context: Context, edges: tuple[Edges, ...], flow: Flow) -> np.ndarray:
    """Return the group of the state before each message, float64 [E] with whole numbers from 0; NaN if unknown."""
    group = np.zeros(flow.edges[-1])
    for series, bounds in zip(context.series, edges, strict=True):
        before = series.before(flow)
        number = np.searchsorted(bounds, before, side="right")
        group = group * (len(bounds) + 1) + np.where(np.isfinite(before), number, np.nan)
    return group


def volatility(flow: Flow) -> np.ndarray:
    """Return the volatility of the mid after each message, see `recent_volatility`, ticks per message, float64 [E].

    A move from or to a book with an empty side counts as zero. NaN after fewer than `LEAST_MOVES` moves.
    """
    middle, since = mid_ticks(flow), place(flow)
    moves = np.diff(middle, prepend=np.nan)
    moves = np.where(np.isfinite(moves) & ~is_first(flow), moves, 0.0)
    # The first message of a sequence makes no move: it adds 0, and is left out of the count.
    return np.where(since >= LEAST_MOVES, recent_volatility(moves, np.maximum(since - 1, 0)), np.nan)


def last_spread(flow: Flow) -> np.ndarray:
    """Return the spread after each message, ticks, float64 [E]: the last known one, NaN before one is."""
    spread = spread_ticks(flow)
    known = np.maximum.accumulate(np.where(np.isfinite(spread), np.arange(len(spread)), -1))
    first = np.arange(len(spread)) - place(flow)
    return np.where(known >= first, spread[np.maximum(known, 0)], np.nan) if len(spread) else spread


def time_of_day(flow: Flow) -> np.ndarray:
    """Return the time of day of each message, ns, float64 [E]."""
    return (flow.time_ns % NS_PER_DAY).astype(np.float64)


def half_hours(real: Flow, before: np.ndarray) -> np.ndarray:
    """Return full and half hours that part the real sequences, at least `LEAST_SEQUENCES` begin between two of them."""
    begins = real.time_ns[real.edges[:-1][np.diff(real.edges) > 0]] % NS_PER_DAY
    edges, since = [], 0
    for slot, count in zip(*np.unique(begins // HALF_HOUR_NS, return_counts=True), strict=True):
        if since >= LEAST_SEQUENCES:
            edges.append(float(slot * HALF_HOUR_NS))
            since = 0
        since += count
    return np.array(edges[:-1] if since < LEAST_SEQUENCES else edges)


def quantile_edges(real: Flow, before: np.ndarray, *, bins: int) -> np.ndarray:
    """Return the edges of bins with about as many messages each, at quantiles.

    Many messages may have the value of a quantile. All of them lie above its edge or, if this parts the messages more
    evenly, below it: the edge is then the next larger number.
    """
    value, edges = np.sort(before), set()
    for share in np.arange(1, bins) / bins:
        quantile = np.quantile(value, share)
        below, up_to = (np.searchsorted(value, quantile, side=side) / len(value) for side in ("left", "right"))
        edges.add(float(quantile if share - below <= up_to - share else np.nextafter(quantile, np.inf)))
    return np.array(sorted(edges))


def _series(name: str, unit: str, values: Callable[[Flow], np.ndarray], bins: int) -> Series:
    return Series(name, unit, values, functools.partial(quantile_edges, bins=bins))


VOLATILITY = _series("volatility", "ticks per message", volatility, 3)

# A regime is what it is in `data.labels.regimes`, with as many bins as by default: volatility by spread.
CONTEXTS = (
    Context("time", "time of day", (Series("time", "ns", time_of_day, half_hours),), frozenset({Need.TIMES})),
    Context("volatility", "volatility", (VOLATILITY,)),
    Context("spread", "spread", (_series("spread", "ticks", last_spread, 3),)),
    Context("regime", "regime", (VOLATILITY, _series("spread", "ticks", last_spread, 2))),
)

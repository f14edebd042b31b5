"""`CompactBins`: the bins of the compact tokenizer, and fitting them to events."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.tokens.seen import Seen

PRICE_BINS, SIZE_BINS, GAP_BINS = 10, 10, 5
KINDS = 6  # kinds of events with a price and a size
MOST_DISTANCE = 2**30 - 1  # from the reference, in ticks or quanta: fits the device's int32 with a margin for sums
MOST_LOTS = 2**31 - 2  # at one level, for the same reason
MOST_GAP = 10**15 - 1  # ns, eleven days
MISS = 0.5  # additional cost, in units of sign(x) log(1 + |x|), of a price or a size that is not reproduced exactly
CANDIDATES = 250  # maximum number of groups of values that bins are built from: the fit is quadratic in it

Row = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class CompactBins:
    """Bins of integers, each with a representative value.

    Bin j of ascending edges contains edges[j] .. edges[j + 1] - 1.

    Attributes:
      price_edges: for each kind ADD .. CROSS, PRICE_BINS + 1 edges of the distance from the reference, positive deeper;
        in ticks, or in price quanta for hidden executions and crosses.
      price_values: for each kind, the representative distance of each bin.
      size_edges: for each kind, SIZE_BINS + 1 edges, in lots.
      size_values: for each kind, the representative size of each bin.
      gap_edges: GAP_BINS + 1 edges of the time since the previous event, ns, for all kinds.
      gap_values: for each kind ADD .. CONTROL, the representative gap of each bin: its mean, so that decoded clocks do
        not drift.
    """

    price_edges: tuple[Row, ...]
    price_values: tuple[Row, ...]
    size_edges: tuple[Row, ...]
    size_values: tuple[Row, ...]
    gap_edges: Row
    gap_values: tuple[Row, ...]

    def __post_init__(self) -> None:
        tables = [
            ("price", self.price_edges, self.price_values, PRICE_BINS, KINDS),
            ("size", self.size_edges, self.size_values, SIZE_BINS, KINDS),
            ("gap", [self.gap_edges] * len(self.gap_values), self.gap_values, GAP_BINS, KINDS + 1),
        ]
        for name, edges, values, bins, kinds in tables:
            fits = len(edges) == len(values) == kinds and all(
                len(row) == bins + 1 and len(inside) == bins and _inside(row, inside)
                for row, inside in zip(edges, values, strict=True)
            )
            if not fits:
                raise InputError(
                    "invalid bins",
                    where=f"the {name} bins of the vocabulary",
                    expected=f"{bins} ascending bins for each of {kinds} kinds, each containing its value",
                    was=(edges, values),
                    remedy="fit them again: prepare the records in a new folder",
                )

    @classmethod
    def from_json(cls, content: object) -> "CompactBins":
        """Construct bins from the output of `dataclasses.asdict`, directly or after a round trip through JSON.

        Raises:
          InputError: there are no bins, or invalid ones.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(content, Mapping) or sorted(content) != sorted(names):
            raise InputError(
                "the bins of the compact tokens are missing or incomplete",
                where="the bins of the vocabulary",
                expected=names,
                was=sorted(content) if isinstance(content, Mapping) else content,
                remedy="fit bins with lob_jax.tokens.bins.fit_bins: prepare the records in a new folder",
            )

        def rows(value: Any) -> Any:
            return tuple(rows(part) for part in value) if isinstance(value, list) else value

        return cls(**{name: rows(content[name]) for name in names})


def _inside(edges: Row, values: Row) -> bool:
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    return bool((low < high).all() and (low <= values).all() and (np.array(values) < high).all())


def fit_bins(seen: Seen) -> CompactBins:
    """Fit bins to events, which must come from training days only.

    For each kind, the edges of each variable minimise the mean distance to the medians of the bins, measured in
    sign(x) log(1 + |x|) (one-dimensional k-medians, by dynamic programming). The most frequent value of a bin
    represents it, and every other price or size costs MISS in addition, so that frequent values get bins of one value
    where that lowers the total cost.
    """
    prices, sizes = [], []
    for kind in range(1, KINDS + 1):
        mine = seen.kind == kind
        prices.append(_fit(seen.distance[mine], PRICE_BINS, low=-MOST_DISTANCE, high=MOST_DISTANCE, miss=MISS))
        sizes.append(_fit(np.maximum(seen.size[mine], 1), SIZE_BINS, low=1, high=MOST_LOTS, miss=MISS))
    gaps = np.clip(seen.gap, 0, MOST_GAP)
    gap_edges, _ = _fit(gaps, GAP_BINS, low=0, high=MOST_GAP, miss=0.0)
    common = _means(gaps, gap_edges, gap_edges[:-1])
    by_kind = [_means(gaps[seen.kind == kind], gap_edges, common) for kind in range(1, KINDS + 2)]
    return CompactBins(
        price_edges=tuple(edges for edges, _ in prices),
        price_values=tuple(values for _, values in prices),
        size_edges=tuple(edges for edges, _ in sizes),
        size_values=tuple(values for _, values in sizes),
        gap_edges=gap_edges,
        gap_values=tuple(by_kind),
    )


def _means(gaps: np.ndarray, edges: Row, otherwise: Row) -> Row:
    """Return the mean gap of each bin, and the value of `otherwise` for a bin without gaps."""
    parts = [gaps[(gaps >= low) & (gaps < high)] for low, high in itertools.pairwise(edges)]
    return tuple(round(float(part.mean())) if len(part) else int(o) for part, o in zip(parts, otherwise, strict=True))


def _fit(values: np.ndarray, bins: int, *, low: int, high: int, miss: float) -> tuple[Row, Row]:
    """Return edges from `low` to `high` + 1, and the representative value of each bin."""
    numbers, counts = np.unique(np.clip(values, low, high).astype(np.int64), return_counts=True)
    inner = _cuts(numbers, counts, bins, miss) if len(numbers) else []
    edges = _filled([low, *inner, high + 1], bins)
    values_of = []
    for first, last in itertools.pairwise(edges):
        inside = slice(*np.searchsorted(numbers, (first, last)))
        empty = inside.start == inside.stop
        # argmax takes the first of equal counts, the smallest value: the fit is the same on every machine.
        common = min(max(0, first), last - 1) if empty else numbers[inside][np.argmax(counts[inside])]
        values_of.append(int(common))
    return tuple(edges), tuple(values_of)


def _filled(edges: list[int], bins: int) -> list[int]:
    """Split bins until there are as many as wanted, which is needed if events have fewer distinct values."""
    edges = [int(edge) for edge in edges]
    while len(edges) <= bins:
        # Split the bin that is widest on this scale, in the middle of the scale; a bin of one value cannot be split.
        scale = _scale(np.array(edges, float))
        wide = [b - a if y - x > 1 else -1.0 for a, b, x, y in zip(scale, scale[1:], edges, edges[1:], strict=False)]
        at = int(np.argmax(wide))
        middle = (scale[at] + scale[at + 1]) / 2
        cut = round(np.sign(middle) * np.expm1(abs(middle)))
        edges.insert(at + 1, min(max(cut, edges[at] + 1), edges[at + 1] - 1))
    return edges


def _scale(numbers: np.ndarray) -> np.ndarray:
    return np.sign(numbers) * np.log1p(np.abs(numbers))


def _cuts(numbers: np.ndarray, counts: np.ndarray, bins: int, miss: float) -> list[int]:
    """Return the first value of each bin except the first bin, for at most `bins` bins.

    If there are more than CANDIDATES distinct values, neighbouring ones are grouped first, by quantiles, so that groups
    have about the same number of events. A value that is not the most frequent one of its bin costs `miss` in addition
    to its distance.
    """
    total = np.cumsum(counts)
    run = np.unique(np.searchsorted(total, np.linspace(0, total[-1], CANDIDATES, endpoint=False), side="right"))
    first = run if len(numbers) > CANDIDATES else np.arange(len(numbers))
    weight = np.add.reduceat(counts, first).astype(float)
    x = np.add.reduceat(counts * _scale(numbers.astype(float)), first) / weight
    cost = _costs(x, weight) + miss * _others(weight, np.maximum.reduceat(counts, first).astype(float))
    K = len(first)
    best = np.full((bins + 1, K + 1), np.inf)
    came = np.zeros((bins + 1, K + 1), np.int64)
    best[0, 0] = 0.0
    for b in range(1, bins + 1):
        for end in range(1, K + 1):
            options = best[b - 1, :end] + cost[:end, end - 1]
            came[b, end] = np.argmin(options)
            best[b, end] = options[came[b, end]]
    b = int(np.argmin(best[:, K]))
    ends, end = [], K
    while b > 0:
        end = int(came[b, end])
        ends.append(end)
        b -= 1
    return [int(numbers[first[start]]) for start in reversed(ends) if start > 0]


def _others(weight: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return, for candidates i..j, their weight minus that of their most frequent value, float64 [K, K]."""
    upto = np.concatenate([[0.0], np.cumsum(weight)])
    others = [upto[i + 1 :] - upto[i] - np.maximum.accumulate(top[i:]) for i in range(len(weight))]
    return np.stack([np.concatenate([np.zeros(i), row]) for i, row in enumerate(others)])


def _costs(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return, for candidates i..j, the sum of weighted distances to their weighted median, float64 [K, K]."""
    K = len(x)
    upto, moment = (np.concatenate([[0.0], np.cumsum(part)]) for part in (weight, weight * x))
    cost = np.full((K, K), np.inf)
    for i in range(K):
        half = upto[i] + (upto[i + 1 :] - upto[i]) / 2
        m = np.maximum(np.searchsorted(upto, half, side="left") - 1, i)
        below = x[m] * (upto[m + 1] - upto[i]) - (moment[m + 1] - moment[i])
        above = (moment[i + 1 :] - moment[m + 1]) - x[m] * (upto[i + 1 :] - upto[m + 1])
        cost[i, i:] = below + above
    return cost

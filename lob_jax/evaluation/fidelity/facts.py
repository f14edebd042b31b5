"""Eleven stylised facts of returns, each with an interval and a verdict: it holds, it does not, or nobody can tell.

The list is that of MarS (Li et al., 2024), after Cont, 2001. Returns are moves of the mid in ticks over steps of a few
messages, within sequences. Each fact is a figure and the bounds within which it holds; if the bootstrap interval of the
figure contains a bound, the sample is too small to decide.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.evaluation.fidelity.measure import number
from lob_jax.evaluation.fidelity.measures.kinds import TRADES
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import mid_ticks, pairs
from lob_jax.statistics.flow_sums import (
    MOMENTS,
    PAIR,
    correlation,
    excess_kurtosis,
    lagged_sums,
    moment_sums,
    pair_sums,
    ratio,
    skewness,
    totals,
)

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecidable at this sample size"
STEP = 10  # messages of a return
BLOCK = 50  # returns; longer sequences are resampled in blocks of so many
LAGS = tuple(range(1, 11))  # returns
SLOW_LAGS = tuple(range(1, 21))
COARSE = 5  # returns of a coarse one
LOCAL = 10  # returns over which local volatility is measured
EXTREME = 0.95  # quantile of absolute returns above which they are extreme
LEAST_RETURNS = 100
LEAST_POSITIVE = 0.75  # of the lags: a power law has no fit where autocorrelations are negative
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Returns:
    """Returns of a flow over equal steps; B blocks, each a part of one sequence.

    Attributes:
      value: float64 [N], ticks, NaN where a side of the book is empty at either end.
      volume: float64 [N], traded during each.
      block: int64 [N], ascending.
      count: B.
    """

    value: np.ndarray
    volume: np.ndarray
    block: np.ndarray
    count: int


@dataclasses.dataclass(frozen=True)
class Fact:
    """A stylised fact.

    Attributes:
      name: its key in JSON.
      label: its name in tables.
      figure: what is measured.
      low, high: the figures with which it holds.
      sums: returns -> float64 [B, K].
      estimate: float64 [D, K], totals -> float64 [D], NaN if undefined.
    """

    name: str
    label: str
    figure: str
    low: float
    high: float
    sums: Callable[[Returns], np.ndarray]
    estimate: Callable[[np.ndarray], np.ndarray]


def returns_of(flow: Flow, *, step: int = STEP) -> Returns:
    """Cut a flow into returns.

    Args:
      flow: the flow.
      step: messages per return. What remains at the end of a sequence is left out.
    """
    sequence, mid = flow.sequence(), mid_ticks(flow)
    place = np.arange(len(sequence)) - flow.edges[:-1][sequence]
    first = pairs(sequence, step)
    first = first[place[first] % step == 0]
    traded = np.where(np.isin(flow.kind, TRADES), flow.size, 0) / flow.instrument.lot_scale
    before = np.concatenate([[0.0], np.cumsum(traded)])
    key = sequence[first] * (len(sequence) + 1) + place[first] // (step * BLOCK)
    _, block = np.unique(key, return_inverse=True)
    count = int(block[-1]) + 1 if len(block) else 0
    return Returns(mid[first + step] - mid[first], before[first + step + 1] - before[first + 1], block, count)


def _autocorrelation_sums(returns: Returns, *, absolute: bool, lags: tuple[int, ...] = LAGS) -> np.ndarray:
    value = np.abs(returns.value) if absolute else returns.value
    return lagged_sums(value, returns.block, count=returns.count, lags=lags).reshape(returns.count, len(lags) * PAIR)


def _mean_correlation(total: np.ndarray) -> np.ndarray:
    by_lag = correlation(total.reshape(len(total), -1, PAIR))
    known = np.isfinite(by_lag)
    return ratio(np.where(known, by_lag, 0).sum(axis=1), known.sum(axis=1))


def _moment_sums(returns: Returns) -> np.ndarray:
    return moment_sums(returns.value, returns.block, returns.count)


def _windows(returns: Returns, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return groups of `width` successive returns of a block, [W, width], none unknown, and the block of each, [W]."""
    start = np.searchsorted(returns.block, returns.block)
    first = pairs(returns.block, width - 1) if width > 1 else np.arange(len(returns.block))
    first = first[(first - start[first]) % width == 0]
    rows = first[:, None] + np.arange(width)
    known = np.isfinite(returns.value[rows]).all(axis=1)
    return rows[known], returns.block[first[known]]


def _aggregated_sums(returns: Returns) -> np.ndarray:
    rows, block = _windows(returns, COARSE)
    coarse = moment_sums(returns.value[rows].sum(axis=1), block, returns.count)
    return np.hstack([_moment_sums(returns), coarse])


def _kurtosis_fall(total: np.ndarray) -> np.ndarray:
    return excess_kurtosis(total[:, :MOMENTS]) - excess_kurtosis(total[:, MOMENTS:])


def _extreme_sums(returns: Returns) -> np.ndarray:
    size = np.abs(returns.value)
    rows, block = _windows(returns, LOCAL)
    bound = np.nanquantile(size, EXTREME) if np.isfinite(size).any() else np.inf
    return moment_sums((size[rows] > bound).sum(axis=1).astype(np.float64), block, returns.count)


def _fano(total: np.ndarray) -> np.ndarray:
    mean = ratio(total[:, 1], total[:, 0])
    return ratio(ratio(total[:, 2], total[:, 0]) - mean**2, mean)


def _conditional_sums(returns: Returns) -> np.ndarray:
    """Return the sums of the fourth powers of returns over the root mean square of their window."""
    rows, block = _windows(returns, LOCAL)
    square = returns.value[rows] ** 2
    local = square.mean(axis=1)
    moving = local > 0
    fourth = (square[moving] ** 2).mean(axis=1) / local[moving] ** 2
    return totals(np.stack([np.ones(len(fourth)), fourth], axis=1), block[moving], returns.count)


def _conditional_kurtosis(total: np.ndarray) -> np.ndarray:
    # Normal returns of one variance have E u^4 = 3 w / (w + 2) once divided by the root mean square of their w values.
    return ratio(total[:, 1], total[:, 0]) - 3 * LOCAL / (LOCAL + 2)


def _decay_exponent(total: np.ndarray) -> np.ndarray:
    """Return minus the slope of ln autocorrelation over ln lag, by least squares over the lags where it is positive."""
    by_lag = correlation(total.reshape(len(total), -1, PAIR))
    x = np.log(SLOW_LAGS)[None]
    positive = by_lag > 0  # NaN is not
    y = np.log(np.where(positive, by_lag, 1))
    count = positive.sum(axis=1, keepdims=True)
    mean_x, mean_y = (ratio((positive * part).sum(axis=1, keepdims=True), count) for part in (x, y))
    slope = ratio((positive * (x - mean_x) * (y - mean_y)).sum(axis=1), (positive * (x - mean_x) ** 2).sum(axis=1))
    return np.where(count[:, 0] >= LEAST_POSITIVE * len(SLOW_LAGS), -slope, np.nan)


def _leverage_sums(returns: Returns) -> np.ndarray:
    parts = []
    for lag in LAGS:
        row = pairs(returns.block, lag)
        later = returns.value[row + lag] ** 2
        parts.append(pair_sums(returns.value[row], later, sequence=returns.block[row], count=returns.count))
    return np.hstack(parts)


def _volume_sums(returns: Returns) -> np.ndarray:
    return pair_sums(returns.volume, np.abs(returns.value), sequence=returns.block, count=returns.count)


def _coarse_fine_sums(returns: Returns) -> np.ndarray:
    """Return the sums of two correlations: of coarse volatility with fine volatility a window later, and earlier."""
    rows, block = _windows(returns, COARSE)
    value = returns.value[rows]
    coarse, fine = np.abs(value.sum(axis=1)), np.abs(value).sum(axis=1)
    row = pairs(block, 1)
    row = row[rows[row + 1, 0] == rows[row, -1] + 1]  # a window without unknown returns between the two
    arguments: dict[str, Any] = {"sequence": block[row], "count": returns.count}
    return np.hstack(
        [pair_sums(coarse[row], fine[row + 1], **arguments), pair_sums(fine[row], coarse[row + 1], **arguments)]
    )


def _coarse_fine(total: np.ndarray) -> np.ndarray:
    return correlation(total[:, :PAIR]) - correlation(total[:, PAIR:])


_ALL = float("inf")
_SLOW_SUMS = functools.partial(_autocorrelation_sums, absolute=True, lags=SLOW_LAGS)

FACTS = (
    Fact(
        "autocorrelation",
        "no autocorrelation of returns",
        "autocorrelation of r",
        -0.05,
        0.05,
        functools.partial(_autocorrelation_sums, absolute=False),
        _mean_correlation,
    ),
    Fact("heavy_tails", "heavy tails", "excess kurtosis", 0.5, _ALL, _moment_sums, excess_kurtosis),
    Fact("asymmetry", "gain/loss asymmetry", "skewness", -_ALL, 0.0, _moment_sums, skewness),
    Fact(
        "aggregation",
        "aggregational normality",
        f"fall of kurtosis, 1 to {COARSE} steps",
        0.0,
        _ALL,
        _aggregated_sums,
        _kurtosis_fall,
    ),
    Fact("intermittency", "intermittency", "Fano factor of extremes", 1.1, _ALL, _extreme_sums, _fano),
    Fact(
        "clustering",
        "volatility clustering",
        "autocorrelation of |r|",
        0.05,
        _ALL,
        functools.partial(_autocorrelation_sums, absolute=True),
        _mean_correlation,
    ),
    Fact(
        "conditional_tails",
        "conditional heavy tails",
        "kurtosis over local volatility",
        0.1,
        _ALL,
        _conditional_sums,
        _conditional_kurtosis,
    ),
    Fact(
        "slow_decay",
        "slow decay of clustering",
        "exponent of autocorrelation of |r|",
        0.0,
        1.0,
        _SLOW_SUMS,
        _decay_exponent,
    ),
    Fact(
        "leverage",
        "leverage effect",
        "correlation of r and later r²",
        -_ALL,
        -0.01,
        _leverage_sums,
        _mean_correlation,
    ),
    Fact("volume", "volume and volatility", "correlation of both", 0.05, _ALL, _volume_sums, correlation),
    Fact(
        "coarse_fine",
        "coarse volatility foretells fine",
        "difference of lagged correlations",
        0.0,
        _ALL,
        _coarse_fine_sums,
        _coarse_fine,
    ),
)


def verdict(low: float, high: float, fact: Fact) -> str:
    """Return whether a fact holds, from the interval of its figure."""
    if fact.low < low and high < fact.high:
        return HOLDS
    return FAILS if high < fact.low or low > fact.high else UNDECIDED


def measure_facts(flow: Flow, *, step: int = STEP, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Measure the stylised facts of a flow.

    Args:
      flow: the flow.
      step: messages per return.
      draws: bootstrap draws of whole blocks: sequences, or parts of 50 returns of longer ones.
      seed: the seed of the draws.

    Returns:
      Plain values as in JSON: step, returns (how many), blocks, facts by name: value, low, high (95 %) and verdict.
    """
    returns = returns_of(flow, step=step)
    known = int(np.isfinite(returns.value).sum())
    facts = {fact.name: _unknown() for fact in FACTS}
    if known >= LEAST_RETURNS and returns.count > 1:
        rng = np.random.default_rng(seed)
        times = rng.multinomial(returns.count, np.full(returns.count, 1 / returns.count), size=draws)
        facts = {fact.name: _measured(fact, returns, times) for fact in FACTS}
    return {"step": step, "returns": known, "blocks": returns.count, "facts": facts}


def _unknown() -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "verdict": UNDECIDED}


def _measured(fact: Fact, returns: Returns, times: np.ndarray) -> dict[str, Any]:
    sums = fact.sums(returns)
    value = fact.estimate(sums.sum(axis=0, keepdims=True))[0]
    drawn = fact.estimate(times @ sums)
    if not np.isfinite(value) or np.isfinite(drawn).mean() < CONFIDENCE:
        return {**_unknown(), "value": float(value) if np.isfinite(value) else None}
    tail = 50 * (1 - CONFIDENCE)
    low, high = (float(bound) for bound in np.nanpercentile(drawn, [tail, 100 - tail]))
    return {"value": float(value), "low": low, "high": high, "verdict": verdict(low, high, fact)}


def compare_facts(
    real: Flow, generated: Mapping[str, Flow], *, step: int = STEP, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure the stylised facts of real and generated flows, see `measure_facts`.

    Returns:
      Plain values as in JSON: step, draws, seed; facts: by name label, figure, low, high (where it holds; None for no
      bound); flows: by name ("real" first) what `measure_facts` returns; agree: by model, how many facts have the
      verdict that they have in real flow.
    """
    flows = {
        name: measure_facts(flow, step=step, draws=draws, seed=seed)
        for name, flow in {"real": real, **generated}.items()
    }
    verdicts = {name: [fact["verdict"] for fact in flow["facts"].values()] for name, flow in flows.items()}
    described = {
        fact.name: {"label": fact.label, "figure": fact.figure, "low": _bound(fact.low), "high": _bound(fact.high)}
        for fact in FACTS
    }
    agree = {
        name: sum(one == other for one, other in zip(verdicts[name], verdicts["real"], strict=True))
        for name in generated
    }
    return {"step": step, "draws": draws, "seed": seed, "facts": described, "flows": flows, "agree": agree}


def _bound(value: float) -> float | None:
    return value if np.isfinite(value) else None


def facts_table(result: dict[str, Any], model: str) -> Table:
    """Return a rich table of `compare_facts`: real flow and one model."""
    real, other = result["flows"]["real"], result["flows"][model]
    table = Table(
        title=f"Stylised facts: real and {model}",
        caption=f"moves of the mid over {result['step']} messages, {real['returns']:,} real and {other['returns']:,} "
        f"generated; correlations over time are means of lags 1 to 10; undecidable: at this sample size",
    )
    for heading in ("fact", "holds", "flow", "value", "95 %", "verdict"):
        table.add_column(heading, justify="right" if heading in ("value", "95 %") else "left")
    for name, fact in result["facts"].items():
        first = (fact["label"], _region(fact["low"], fact["high"]))
        for cells, (of, flow) in zip(
            (first, (f"  {fact['figure']}", "")), (("real", real), (model, other)), strict=True
        ):
            row = flow["facts"][name]
            held = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
            table.add_row(*cells, of, number(row["value"]), held, row["verdict"].removesuffix(" at this sample size"))
    return table


def _region(low: float | None, high: float | None) -> str:
    if low is None:
        return f"< {high:g}"
    return f"> {low:g}" if high is None else f"{low:g} to {high:g}"

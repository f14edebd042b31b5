"""Price impact: the response of the mid to six kinds of events, and to the imbalance of a sequence's trades.

The response function is that of LOB-Bench (Nagy et al., 2025) after Eisler, Bouchaud and Kockelkoren, 2012. Only rows
that change a best price or its size count. An event is a trade (MO), an added order (LO) or a removed one (CA), and
moves a best price (1) or not (0). R(l) is the mean of the event's sign times the move of the mid in ticks, from before
the event to l - 1 counted rows after it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.evaluation.fidelity.measure import draw_halves, number
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import mid_ticks, pressure
from lob_jax.statistics.flow_sums import ratio, totals

CLASSES = ("MO0", "MO1", "LO0", "LO1", "CA0", "CA1")
LAGS = tuple(int(10 ** (0.1 * power)) for power in range(3, 24))  # 1 to 199 counted rows
MERGED_NS = 1000  # executions of one order follow one another within so much
BINS = 10  # of the participation, for the macro impact
CONFIDENCE = 0.99


@dataclasses.dataclass(frozen=True, eq=False)
class Responses:
    """Sums of responses by sequence, class and lag, float64 [S, 6, L] each.

    Attributes:
      total: of the responses, ticks.
      count: how many.
    """

    total: np.ndarray
    count: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Counted:
    """The rows of a flow that count, merged executions being one; R rows.

    Attributes:
      row: int64 [R], the message; of merged executions the last.
      sequence: int64 [R].
      label: int64 [R], index into `CLASSES`; -1 for the first row of a sequence, which has none before it, and without
        a message.
      sign: int8 [R], the direction in which the event presses the price.
      mid: float64 [R], ticks, after the row; NaN where a side is empty.
    """

    row: np.ndarray
    sequence: np.ndarray
    label: np.ndarray
    sign: np.ndarray
    mid: np.ndarray


def counted_rows(flow: Flow) -> Counted:
    """Return the rows that change a best price or its size, with their classes."""
    sequence = flow.sequence()
    best = np.concatenate([flow.book_price[:, :, 0], flow.book_size[:, :, 0]], axis=1)
    begins = np.ones(len(sequence), bool)
    begins[1:] = sequence[1:] != sequence[:-1]
    changes = begins.copy()
    changes[1:] |= (best[1:] != best[:-1]).any(axis=1)
    kept = np.flatnonzero(changes)
    kept = kept[_ends_of_merged(flow, kept)]
    moved = np.zeros(len(kept), bool)
    moved[1:] = (best[kept[1:], :2] != best[kept[:-1], :2]).any(axis=1)
    group = np.select(
        [np.isin(flow.kind[kept], (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)), flow.kind[kept] == Kind.ADD], [0, 1], 2
    )
    first = np.ones(len(kept), bool)
    first[1:] = sequence[kept[1:]] != sequence[kept[:-1]]
    label = np.where(first | (flow.kind[kept] == 0), -1, 2 * group + moved)
    return Counted(kept, sequence[kept], label, pressure(flow)[kept], mid_ticks(flow)[kept])


def _ends_of_merged(flow: Flow, kept: np.ndarray) -> np.ndarray:
    """Return which rows are not followed by another execution of the same order, bool [R]."""
    if not len(kept):
        return np.zeros(0, bool)
    one, other = kept[:-1], kept[1:]
    sequence, executes = flow.sequence(), flow.kind == Kind.EXECUTE
    together = executes[one] & executes[other] & (sequence[one] == sequence[other])
    together &= (flow.side[one] == flow.side[other]) & (flow.price[one] == flow.price[other])
    together &= flow.time_ns[other] - flow.time_ns[one] <= MERGED_NS
    return np.concatenate([~together, [True]])


def response_sums(flow: Flow) -> Responses:
    """Return the sums of the responses of a flow by sequence."""
    rows = counted_rows(flow)
    cells = len(flow) * len(CLASSES)
    parts = []
    for lag in LAGS:
        # The row before the event, and the one lag - 1 rows after it: `lag` rows apart.
        before = (
            np.flatnonzero(rows.sequence[lag:] == rows.sequence[:-lag]) if lag < len(rows.row) else np.zeros(0, int)
        )
        event = before + 1
        response = rows.sign[event] * (rows.mid[before + lag] - rows.mid[before])
        known = np.isfinite(response) & (rows.label[event] >= 0)
        cell = (rows.sequence[event] * len(CLASSES) + rows.label[event])[known]
        parts.append(totals(np.stack([response[known], np.ones(known.sum())], axis=1), cell, cells))
    sums = np.stack(parts, axis=1).reshape(len(flow), len(CLASSES), len(LAGS), 2)
    return Responses(sums[..., 0], sums[..., 1])


def mean_responses(weights: np.ndarray, sums: Responses) -> np.ndarray:
    """Return the responses of D selections of sequences, float64 [D, 6, L], from weights [D, S]."""
    total, count = (np.tensordot(weights, part, axes=1) for part in (sums.total, sums.count))
    return ratio(total, count)


def response_scores(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the scores of the classes and their mean, float64 [D, 7], NaN for a class that one of both lacks.

    A score is the sum over lags of the absolute difference of two responses, [D, 6, L] each.
    """
    apart = np.abs(one - other)
    known = np.isfinite(apart)
    # Lags that only some rows reach are left out, as long as the shortest one is known.
    by_class = np.where(known[..., 0], np.where(known, apart, 0).sum(axis=-1), np.nan)
    there = np.isfinite(by_class)
    headline = ratio(np.where(there, by_class, 0).sum(axis=1), there.sum(axis=1))
    return np.concatenate([by_class, headline[:, None]], axis=1)


def compare_impact(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    splits: int = 50,
    resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Compare the responses of the mid in generated and real flow.

    Args:
      real: held-out real flow.
      generated: flows by name.
      splits: random splits of the real sequences into halves, for the floor.
      resamples: bootstrap resamples of whole sequences of both sides, for the intervals.
      seed: the seed of splits and resamples.
      on_progress: called with what is being done, the number of steps that are done and that of all.

    Returns:
      Plain values as in JSON, None for what is not defined: classes, lags, unit; `real`: responses [6][21] and counts
      [6]; models: by name the same, and scores: by class and "mean" `value` (sum over lags of the absolute difference),
      `low`, `high` (99 %, basic bootstrap, not below 0), `half` and `floor` (means over splits of half A of real v half
      B of the flow, and of real) and `ratio`; and macro: see `macro_impact`.
    """
    sums = response_sums(real)
    result: dict[str, Any] = {"classes": list(CLASSES), "lags": list(LAGS), "unit": "ticks", "real": _described(sums)}
    macro_real = sequence_impacts(real)
    models = {}
    for done, (name, flow) in enumerate(generated.items()):
        if on_progress:
            on_progress(f"impact of {name}", done, len(generated))
        other = response_sums(flow)
        scores = _compared(sums, other, splits=splits, resamples=resamples, seed=seed)
        models[name] = {
            **_described(other),
            "scores": scores,
            "macro": macro_impact(macro_real, sequence_impacts(flow)),
        }
    if on_progress:
        on_progress("impact", len(generated), len(generated))
    return {**result, "confidence": CONFIDENCE, "models": models}


def _described(sums: Responses) -> dict[str, Any]:
    mean = mean_responses(np.ones((1, len(sums.total))), sums)[0]
    return {
        "responses": [[float(value) if np.isfinite(value) else None for value in row] for row in mean],
        "counts": sums.count[:, :, 0].sum(axis=0).astype(int).tolist(),
    }


def _compared(
    real: Responses, other: Responses, *, splits: int, resamples: int, seed: int
) -> dict[str, dict[str, float | None]]:
    rng, sizes = np.random.default_rng(seed), (len(real.total), len(other.total))
    labels, undefined = (*CLASSES, "mean"), np.full(len(CLASSES) + 1, np.nan)
    if min(sizes) == 0:
        return {label: dict.fromkeys(("value", "low", "high", "half", "floor", "ratio")) for label in labels}
    whole = [mean_responses(np.ones((1, size)), sums) for size, sums in zip(sizes, (real, other), strict=True)]
    value = response_scores(*whole)[0]
    drawn = [rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(float) for size in sizes]
    resampled = response_scores(mean_responses(drawn[0], real), mean_responses(drawn[1], other))
    low, high = _basic_interval(value, resampled)
    half, floor = undefined, undefined
    halves = draw_halves(sizes[0], splits=splits, rng=rng, most=sizes[1])
    if halves.size:
        weights = halves.second if sizes[0] == sizes[1] else draw_halves(sizes[1], splits=splits, rng=rng).first
        half = _mean_of_known(response_scores(mean_responses(halves.first, real), mean_responses(weights, other)))
        floor = _mean_of_known(response_scores(mean_responses(halves.first, real), mean_responses(halves.second, real)))
    columns = {"value": value, "low": low, "high": high, "half": half, "floor": floor, "ratio": ratio(half, floor)}
    return {
        label: {name: float(column[at]) if np.isfinite(column[at]) else None for name, column in columns.items()}
        for at, label in enumerate(labels)
    }


def _basic_interval(value: np.ndarray, resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return twice the value less the upper and the lower quantile of the resamples: the basic bootstrap interval."""
    known = np.isfinite(resampled).all(axis=0)
    tail = 50 * (1 - CONFIDENCE)
    quantiles = np.percentile(np.where(known, resampled, 0), [100 - tail, tail], axis=0)
    low, high = np.where(known, np.maximum(2 * value - quantiles, 0), np.nan)
    return low, high


def _mean_of_known(scores: np.ndarray) -> np.ndarray:
    known = np.isfinite(scores)
    return ratio(np.where(known, scores, 0).sum(axis=0), known.sum(axis=0))


def sequence_impacts(flow: Flow) -> np.ndarray:
    """Return participation and move of each sequence, float64 [S, 2]; NaN without trades or a mid at both ends.

    The participation is |volume sold - volume bought| over the volume of both; the move is that of the mid in ticks in
    the direction of the larger volume, from the first message to the last.
    """
    trades = flow.kind == Kind.EXECUTE
    signed = totals(
        np.stack([flow.size, flow.size * pressure(flow).astype(np.int64)], axis=1)[trades],
        flow.sequence()[trades],
        len(flow),
    )
    lasting = np.flatnonzero((np.diff(flow.edges) > 0) & (signed[:, 0] > 0))
    mid = mid_ticks(flow)
    move = mid[flow.edges[1:][lasting] - 1] - mid[flow.edges[:-1][lasting]]
    share = signed[lasting, 1] / signed[lasting, 0]
    result = np.full((len(flow), 2), np.nan)
    result[lasting] = np.where(np.isfinite(move)[:, None], np.stack([np.abs(share), np.sign(share) * move], 1), np.nan)
    return result


def participation_edges(impacts: np.ndarray) -> np.ndarray:
    """Return the edges of ten bins of equal width over the participation of some sequences, float64 [11]."""
    share = impacts[np.isfinite(impacts[:, 0]), 0]
    return np.linspace(share.min(), max(share.max(), share.min() + 1e-9), BINS + 1)


def macro_sums(impacts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the move of each sequence and 1 in its bin of participation, float64 [S, 10, 2]; 0 elsewhere."""
    known = np.flatnonzero(np.isfinite(impacts[:, 0]))
    bins = np.clip(np.searchsorted(edges, impacts[known, 0], side="right") - 1, 0, BINS - 1)
    result = np.zeros((len(impacts), BINS, 2))
    result[known, bins] = np.stack([impacts[known, 1], np.ones(len(known))], axis=1)
    return result


def macro_impact(real: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Return the mean move by participation in real and generated sequences.

    Args:
      real, other: float64 [S, 2], see `sequence_impacts`.

    Returns:
      edges of ten bins of equal width over the real participation; `real` and `generated`: the mean move of each bin in
      ticks (None if empty), and their counts; `score`: the mean absolute difference over the bins that both have.
    """
    if not np.isfinite(real).any():
        return {"edges": [], "real": [], "generated": [], "real_counts": [], "generated_counts": [], "score": None}
    edges = participation_edges(real)
    sums = [macro_sums(part, edges).sum(axis=0) for part in (real, other)]
    means = [ratio(part[:, 0], part[:, 1]) for part in sums]
    apart = np.abs(means[0] - means[1])
    listed = [[float(value) if np.isfinite(value) else None for value in mean] for mean in means]
    return {
        "edges": edges.tolist(),
        "real": listed[0],
        "generated": listed[1],
        "real_counts": sums[0][:, 1].astype(int).tolist(),
        "generated_counts": sums[1][:, 1].astype(int).tolist(),
        "score": float(np.nanmean(apart)) if np.isfinite(apart).any() else None,
    }


def impact_table(result: dict[str, Any]) -> Table:
    """Return a rich table of `compare_impact`: the scores of each model, and their floors."""
    table = Table(
        title="Price impact: sum over lags of the difference of responses, ticks",
        caption="99 % bootstrap of sequences; half: half of real v half of the model; floor: halves of real",
    )
    for heading in ("model", "event", "value", "99 %", "half", "floor", "half / floor"):
        table.add_column(heading, justify="left" if heading in ("model", "event") else "right")
    for name, model in result["models"].items():
        for label, row in model["scores"].items():
            held = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
            cells = (number(row[column]) for column in ("half", "floor", "ratio"))
            table.add_row(name if label == CLASSES[0] else "", label, number(row["value"]), held, *cells)
    return table

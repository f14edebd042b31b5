"""`Measure`: figures of a flow beside its distributions, such as shares and autocorrelations; modules of `measures/`.

A figure of generated flow is compared with its 95 % range in real flow. A difference between tables, such as that of
transitions, is compared with the difference between two halves of real flow.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.evaluation.fidelity.score import Need, lacking
from lob_jax.registry import Registry
from lob_jax.statistics.flow import Flow

COVERAGE = 0.95  # of the ranges
LEAST_KNOWN = 0.5  # share of the halves that must have a figure for it to have a range

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Measure:
    """Figures of a flow that are functions of sums over its sequences.

    Attributes:
      name: its key in JSON.
      label: its name in tables.
      unit: the unit of its figures; empty if they have none.
      sums: flow -> float64 [S, K], what each sequence adds.
      figures: float64 [D, K], totals of D selections of sequences -> figures by label, float64 [D], NaN if undefined.
      distance: (real [D, K], other [D, K]) -> how different D selections of each are, from 0 to 1; None if the figures
        say it all.
      needs: what a flow must have.
      version: number of the definition, increased whenever the figures change.
    """

    name: str
    label: str
    unit: str
    sums: Callable[[Flow], np.ndarray]
    figures: Callable[[np.ndarray], dict[str, np.ndarray]]
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    needs: frozenset[Need] = frozenset({Need.MESSAGES})
    version: int = 1

    def compute(self, flow: Flow) -> dict[str, float]:
        """Return the figures of all of a flow, NaN where they are not defined."""
        total = self.sums(flow).sum(axis=0, keepdims=True)
        return {label: float(value[0]) for label, value in self.figures(total).items()}


REGISTRY: Registry[tuple] = Registry(
    "fidelity measure",
    files="evaluation/fidelity/measures/*.py",
    attribute="MEASURES",
    of=tuple,
    where="lob_jax/evaluation/fidelity/measures",
    first=("kinds", "transitions", "signs", "autocorrelation", "orders", "book"),
)


def all_measures() -> tuple[Measure, ...]:
    """Return all measures in the order of tables."""
    return tuple(measure for _, measures in REGISTRY.items() for measure in measures)


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Random halves of the sequences, as weights of their sums: float64 [D, S], 1 for a sequence that is drawn.

    Attributes:
      first, second: two disjoint sets of `size` real sequences.
      size: sequences in each.
    """

    first: np.ndarray
    second: np.ndarray
    size: int


def draw_halves(sequences: int, *, splits: int, rng: np.random.Generator, most: int | None = None) -> Halves:
    """Draw halves of some sequences.

    Args:
      sequences: how many there are.
      splits: D, how often they are split.
      rng: source of the draws.
      most: the largest size of a half; None for half of the sequences.
    """
    size = min(sequences // 2, sequences if most is None else most)
    order = rng.permuted(np.tile(np.arange(sequences), (splits, 1)), axis=1)
    return Halves(_weights(order[:, :size], sequences), _weights(order[:, size : 2 * size], sequences), size)


def _weights(chosen: np.ndarray, sequences: int) -> np.ndarray:
    weights = np.zeros((len(chosen), sequences))
    np.put_along_axis(weights, chosen, 1.0, axis=1)
    return weights


def compare_measures(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    splits: int = 200,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare the measures of generated flows with their ranges in real flow.

    The halves of N real sequences vary around all of them as N independent sequences vary around the truth. If M
    generated sequences have the same distribution, they vary around the real ones sqrt(1 + N / M) times as much: the
    range of a figure is that of the halves, widened by this factor, so that it holds 95 % of such flows.

    Where few sequences decide a figure, as they do for variances, the halves show too little of its range (up to 35 %
    of real flow lay outside). The p-value holds there too: of a permutation test that exchanges real and generated
    sequences.

    Args:
      real: held-out real flow.
      generated: the flows to compare with it, by name. One of as many sequences as `real` continues the same prompts,
        sequence by sequence: distances are then taken between different prompts.
      splits: random splits of the real sequences into halves.
      seed: the seed of the splits.
      on_progress: called with what is being done, the number of steps that are done and that of all.

    Returns:
      Plain values as in JSON, None for what is not defined:
      * splits, seed, coverage, sequences (by flow), orders ("by id", or "by rule" if a flow has no ids: then the ids of
        none are read).
      * measures: by name: label, unit, version, figures and distance. `figures` has, by label, real and models; by
        model `value`, `low`, `high`, `inside` and `p`. `distance` is None or has by model `value` (mean over splits of
        half A of real v half B of the flow), `floor` and `floor_high` (mean and 95 % quantile of half A v half B of
        real), `ratio` and `inside`.
      * summary: by model: `figures` (how many have a range), `outside` (it), `apart` (p at most 5 %), and the same for
        distances (`distances`, `distances_outside`).
    """
    flows, by_id = same_knowledge({"real": real, **generated})
    measures = all_measures()
    result = {}
    for done, measure in enumerate(measures):
        if on_progress:
            on_progress(measure.label, done, len(measures))
        result[measure.name] = _compared(measure, flows, splits=splits, seed=seed)
    if on_progress:
        on_progress("measures", len(measures), len(measures))
    return {
        "splits": splits,
        "seed": seed,
        "coverage": COVERAGE,
        "sequences": {name: len(flow) for name, flow in flows.items()},
        "orders": "by id" if by_id else "by rule",
        "measures": result,
        "summary": {name: _summary(result, name) for name in generated},
    }


def same_knowledge(flows: dict[str, Flow]) -> tuple[dict[str, Flow], bool]:
    """Cut flows to what all of them have: levels, and order ids or none."""
    by_id = all(np.any(flow.order_id) for flow in flows.values())
    levels = min(flow.levels for flow in flows.values())
    cut = {
        name: dataclasses.replace(
            flow,
            order_id=flow.order_id if by_id else np.zeros_like(flow.order_id),
            book_price=flow.book_price[:, :, :levels],
            book_size=flow.book_size[:, :, :levels],
        )
        for name, flow in flows.items()
    }
    return cut, by_id


def _compared(measure: Measure, flows: dict[str, Flow], *, splits: int, seed: int) -> dict[str, Any]:
    able = {name: flow for name, flow in flows.items() if flow.edges[-1] > 0 and lacking(measure.needs, flow) is None}
    sums = {name: measure.sums(flow) for name, flow in able.items()}
    described = {"label": measure.label, "unit": measure.unit, "version": measure.version}
    real, others = sums.pop("real", None), {name: sums.get(name) for name in flows if name != "real"}
    rng = np.random.default_rng(seed)  # the same splits for every measure
    halves = draw_halves(len(flows["real"]), splits=splits, rng=rng)
    figures = _figures(measure, real, others, halves)
    for name, other in others.items():
        tested = {} if real is None or other is None else _permuted(measure, real, other, draws=splits, seed=seed)
        for label, figure in figures.items():
            figure["models"][name]["p"] = tested.get(label)
    distance = None
    if measure.distance is not None:
        distance = {name: _distance(measure, real, other, splits=splits, seed=seed) for name, other in others.items()}
    return {**described, "figures": figures, "distance": distance}


def _figures(
    measure: Measure, real: np.ndarray | None, others: dict[str, np.ndarray | None], halves: Halves
) -> dict[str, Any]:
    of_models = {name: _pooled(measure, other) for name, other in others.items()}
    of_real = _pooled(measure, real)
    labels = next((list(figures) for figures in (of_real, *of_models.values()) if figures), [])
    of_halves = measure.figures(np.concatenate([halves.first, halves.second]) @ real) if real is not None else {}
    result = {}
    for label in labels:
        spread = _range(of_halves.get(label), of_real.get(label))
        models = {
            name: _verdict(
                figures.get(label),
                of_real.get(label),
                spread=spread,
                wider=np.sqrt(1 + (len(real) if real is not None else 0) / max(_count(others[name]), 1)),
            )
            for name, figures in of_models.items()
        }
        result[label] = {"real": of_real.get(label), "models": models}
    return result


def _permuted(
    measure: Measure, real: np.ndarray, other: np.ndarray, *, draws: int, seed: int
) -> dict[str, float | None]:
    """Return the p-value of each figure's difference: how often one by chance is as large."""
    rng, both = np.random.default_rng(seed), np.concatenate([real, other])
    if len(real) == len(other):  # sequence by sequence: both continue one prompt
        stays = rng.random((draws, len(real))) < 0.5
        first = np.hstack([stays, ~stays])
    else:
        first = rng.permuted(np.tile(np.arange(len(both)), (draws, 1)), axis=1) < len(real)
    observed = np.arange(len(both))[None] < len(real)
    first = np.concatenate([observed, first]).astype(np.float64)
    one, two = measure.figures(first @ both), measure.figures((1 - first) @ both)
    return {label: _p_value(np.abs(one[label] - two[label])) for label in one}


def _p_value(apart: np.ndarray) -> float | None:
    """Return the share of differences, of which the first is the observed one, that are at least as large as it."""
    known = apart[np.isfinite(apart)]
    if not np.isfinite(apart[0]) or len(known) < LEAST_KNOWN * len(apart):
        return None
    return float(np.mean(known >= apart[0] * (1 - 1e-9)))


def _count(sums: np.ndarray | None) -> int:
    return 0 if sums is None else len(sums)


def _pooled(measure: Measure, sums: np.ndarray | None) -> dict[str, float | None]:
    if sums is None:
        return {}
    return {label: _finite(value[0]) for label, value in measure.figures(sums.sum(axis=0, keepdims=True)).items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _range(halves: np.ndarray | None, centre: float | None) -> tuple[float, float] | None:
    """Return the deviations below and above a figure that hold `COVERAGE` of the halves; None if too few have one."""
    if halves is None or centre is None or not len(halves) or np.isfinite(halves).mean() < LEAST_KNOWN:
        return None
    tail = 50 * (1 - COVERAGE)
    low, high = np.nanpercentile(halves, [tail, 100 - tail]) - centre
    return min(float(low), 0.0), max(float(high), 0.0)


def _verdict(
    value: float | None, centre: float | None, *, spread: tuple[float, float] | None, wider: float
) -> dict[str, Any]:
    if centre is None or spread is None:
        return {"value": value, "low": None, "high": None, "inside": None}
    low, high = centre + wider * spread[0], centre + wider * spread[1]
    slack = 1e-9 * max(abs(centre), 1)  # of rounding: where all halves agree, the range is a point
    return {
        "value": value,
        "low": float(low),
        "high": float(high),
        "inside": None if value is None else bool(low - slack <= value <= high + slack),
    }


def _distance(
    measure: Measure, real: np.ndarray | None, other: np.ndarray | None, *, splits: int, seed: int
) -> dict[str, Any]:
    undefined = dict.fromkeys(("value", "floor", "floor_high", "ratio", "inside"))
    if measure.distance is None or real is None or other is None or min(len(real) // 2, len(other)) == 0:
        return undefined
    rng = np.random.default_rng(seed)
    halves = draw_halves(len(real), splits=splits, rng=rng, most=len(other))
    drawn = halves.second
    if len(other) != len(real):
        order = rng.permuted(np.tile(np.arange(len(other)), (splits, 1)), axis=1)
        drawn = _weights(order[:, : halves.size], len(other))
    values = measure.distance(halves.first @ real, drawn @ other)
    floors = measure.distance(halves.first @ real, halves.second @ real)
    if not (np.isfinite(values).any() and np.isfinite(floors).any()):
        return undefined
    value, floor, high = np.nanmean(values), float(np.nanmean(floors)), float(np.nanpercentile(floors, 100 * COVERAGE))
    return {
        "value": float(value),
        "floor": floor,
        "floor_high": high,
        "ratio": float(value) / floor if floor > 0 else None,
        "inside": bool(value <= high),
    }


def _summary(measures: dict[str, Any], model: str) -> dict[str, int]:
    figures = [figure["models"][model] for one in measures.values() for figure in one["figures"].values()]
    distances = [one["distance"][model] for one in measures.values() if one["distance"]]
    return {
        "figures": sum(figure["inside"] is not None for figure in figures),
        "outside": sum(figure["inside"] is False for figure in figures),
        "apart": sum(figure["p"] is not None and figure["p"] <= 1 - COVERAGE for figure in figures),
        "distances": sum(distance["inside"] is not None for distance in distances),
        "distances_outside": sum(distance["inside"] is False for distance in distances),
    }


def measure_table(result: dict[str, Any], model: str) -> Table:
    """Return a rich table of one model of `compare_measures`: its figures beside the real ones and their range."""
    counts = result["summary"][model]
    chance = counts["figures"] * (1 - result["coverage"])
    table = Table(
        title=f"Measures of {model}",
        caption=f"Of {counts['figures']} figures, {counts['outside']} lie outside the range of real flow, and "
        f"{counts['apart']} differ with p of at most 5 %; by chance {chance:.0f}. Orders {result['orders']}.",
    )
    for heading in ("measure", "figure", "generated", "real", "95 % range", "", "p"):
        table.add_column(heading, justify="left" if heading in ("measure", "figure", "") else "right")
    for measure in result["measures"].values():
        name = f"{measure['label']}, {measure['unit']}" if measure["unit"] else measure["label"]
        for label, figure in measure["figures"].items():
            row = figure["models"][model]
            held = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
            mark, p = _mark(row["inside"]), "" if row["p"] is None else f"{row['p']:.3f}"
            table.add_row(name, label, number(row["value"]), number(figure["real"]), held, mark, p)
            name = ""
        if measure["distance"]:
            row = measure["distance"][model]
            held = "" if row["floor_high"] is None else f"up to {number(row['floor_high'])}"
            table.add_row(name, "distance", number(row["value"]), number(row["floor"]), held, _mark(row["inside"]), "")
    return table


def number(value: float | None) -> str:
    """Return a figure for a table, n/a for None."""
    if value is None:
        return "n/a"
    if value and abs(value) < 0.001:
        return f"{value:.0e}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _mark(inside: bool | None) -> str:
    return "outside" if inside is False else ""

"""Can a classifier tell generated sequences from real ones? A two-sample test (C2ST) with AUC, interval and p-value.

The classifier reads some hundred statistics of each sequence, see `fidelity.features`. It adds two scores:
kernel ridge regression of the label, which sees many small differences and changes of spread, and a sum of the
statistics weighted by the cube of their correlation with the label, which sees few large ones. Both are matrix
products in the labels, so that the permutation test refits all folds for every permutation. Sequences are scored by a
fit without their fold, and sequences that continue the same prompt are in one fold. (Lopez-Paz and Oquab, 2017; Kim et
al., 2021, for the permutation test.)
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.evaluation.fidelity.features import sequence_features
from lob_jax.evaluation.fidelity.measure import number
from lob_jax.statistics.flow import Flow

FOLDS = 10
LEAST = 10  # sequences of each side
RIDGE = 0.001  # times the trace of the kernel
SHOWN = 10  # features listed
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Folds:
    """Which fold each of N sequences is in, and how its label may change by chance.

    Attributes:
      fold: int64 [N].
      paired: whether sequence i of real and of generated flow, rows i and N / 2 + i, continue one prompt.
    """

    fold: np.ndarray
    paired: bool


def assign_folds(real: int, generated: int, *, folds: int, rng: np.random.Generator) -> Folds:
    """Assign sequences to folds, each side in equal parts; pairs stay together if both sides have as many."""
    sides = [rng.permutation(np.arange(count) % folds) for count in (real, generated)]
    paired = real == generated
    return Folds(np.concatenate([sides[0], sides[0] if paired else sides[1]]), paired)


def permuted_labels(label: np.ndarray, folds: Folds, *, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return labels exchanged by chance, float64 [draws, N]: within pairs, or within folds."""
    if folds.paired:
        half = len(label) // 2
        swap = rng.random((draws, half)) < 0.5
        return np.where(np.hstack([swap, swap]), -label, label)
    result = np.tile(label, (draws, 1))
    for fold in np.unique(folds.fold):
        rows = np.flatnonzero(folds.fold == fold)
        result[:, rows] = rng.permuted(result[:, rows], axis=1)
    return result


def held_out_scores(feature: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    """Return the scores of sequences by fits without their fold, float64 [D, N].

    Args:
      feature: float64 [N, F].
      labels: float64 [D, N], +1 generated and -1 real, D sets of labels.
      folds: the fold of each sequence.
    """
    ridge, screened = scores_by_fold(feature, labels, folds)
    # A score that is the same for all, where no label depends on any feature, stays so.
    scales = [np.maximum(part.std(axis=1, keepdims=True), 1e-300) for part in (ridge, screened)]
    return ridge / scales[0] + screened / scales[1]


def scores_by_fold(feature: np.ndarray, labels: np.ndarray, folds: Folds) -> tuple[np.ndarray, np.ndarray]:
    """Return the two scores that `held_out_scores` adds, float64 [D, N] each: of the ridge, and of the sum."""
    kernel = _kernel(feature)
    ridge, screened = np.zeros_like(labels), np.zeros_like(labels)
    for fold in np.unique(folds.fold):
        test, train = np.flatnonzero(folds.fold == fold), np.flatnonzero(folds.fold != fold)
        centred = labels[:, train] - labels[:, train].mean(axis=1, keepdims=True)
        inner = kernel[np.ix_(train, train)]
        penalty = RIDGE * np.trace(inner) * np.eye(len(train))
        ridge[:, test] = centred @ np.linalg.solve(inner + penalty, kernel[np.ix_(train, test)])
        weight = (centred @ feature[train] / len(train)) ** 3
        screened[:, test] = weight @ feature[test].T / np.maximum(np.linalg.norm(weight, axis=1, keepdims=True), 1e-300)
    return ridge, screened


def _kernel(feature: np.ndarray) -> np.ndarray:
    """Return the sum of a linear and a Gaussian kernel, float64 [N, N]: shifts, and changes of spread."""
    linear = feature @ feature.T / max(feature.shape[1], 1)
    square = np.diag(linear)
    distance = np.maximum(square[:, None] + square[None] - 2 * linear, 0)
    width = np.median(distance[~np.eye(len(distance), dtype=bool)])
    return linear + np.exp(-distance / max(width, 1e-12))


def auc(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return how often a generated sequence (+1) scores above a real one (-1), ties as one half, float64 [D]."""
    order = np.argsort(score, axis=1, kind="stable")
    rank = np.empty(score.shape)
    np.put_along_axis(rank, order, np.arange(1.0, score.shape[1] + 1)[None], axis=1)
    in_order = np.take_along_axis(score, order, axis=1)
    for row in np.flatnonzero((np.diff(in_order, axis=1) == 0).any(axis=1)):
        _, group = np.unique(score[row], return_inverse=True)
        rank[row] = (np.bincount(group, rank[row]) / np.bincount(group))[group]
    positive = label > 0
    n = positive.sum(axis=1)
    return ((rank * positive).sum(axis=1) - n * (n + 1) / 2) / (n * (score.shape[1] - n))


def discriminate(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    permutations: int = 999,
    draws: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Test whether generated sequences can be told from real ones.

    Args:
      real: held-out real flow.
      generated: flows by name. One of as many sequences as `real` continues the same prompts, sequence by sequence.
      permutations: of the labels.
      draws: bootstrap draws of sequences for the interval of the AUC.
      seed: the seed of folds, permutations and draws.
      on_progress: called with what is being done, the number of steps that are done and that of all.

    Returns:
      Plain values as in JSON: permutations, folds, confidence, seed; models: by name `reason` (why there is no test, or
      None), sequences (real, generated), features (how many), `auc` (.5: not to be told apart), `low`, `high` (95 %),
      `p`, `accuracy` and `f1` (of the generated class, at the threshold of 0), and `apart`: the features that separate
      the two best, as (label, AUC of the feature alone).
    """
    models = {}
    for done, (name, flow) in enumerate(generated.items()):
        if on_progress:
            on_progress(f"discriminator of {name}", done, len(generated))
        models[name] = _tested(real, flow, permutations=permutations, draws=draws, seed=seed)
    if on_progress:
        on_progress("discriminator", len(generated), len(generated))
    return {"permutations": permutations, "folds": FOLDS, "confidence": CONFIDENCE, "seed": seed, "models": models}


def _tested(real: Flow, other: Flow, *, permutations: int, draws: int, seed: int) -> dict[str, Any]:
    sizes = (len(real), len(other))
    result: dict[str, Any] = {"sequences": list(sizes), "reason": None, "apart": []}
    undefined = dict.fromkeys(("features", "auc", "low", "high", "p", "accuracy", "f1"))
    if min(sizes) < LEAST:
        return {**result, **undefined, "reason": f"fewer than {LEAST} sequences"}
    features = sequence_features({"real": real, "generated": other})
    if not features.names:
        return {**result, **undefined, "reason": "no statistic differs between sequences"}
    rng = np.random.default_rng(seed)
    table = np.concatenate([features.value["real"], features.value["generated"]])
    label = np.repeat([-1.0, 1.0], sizes)
    folds = assign_folds(*sizes, folds=FOLDS, rng=rng)
    labels = np.concatenate([label[None], permuted_labels(label, folds, draws=permutations, rng=rng)])
    scores = held_out_scores(table, labels, folds)
    areas = auc(scores, labels)
    low, high = auc_interval(scores[0], sizes, paired=folds.paired, draws=draws, rng=rng)
    said, true = scores[0] > 0, label > 0
    return {
        **result,
        "features": len(features.names),
        "auc": float(areas[0]),
        "low": low,
        "high": high,
        "p": float(np.mean(areas >= areas[0] - 1e-12)),
        "accuracy": float(np.mean(said == true)),
        "f1": float(2 * (said & true).sum() / max(said.sum() + true.sum(), 1)),
        "apart": _telling(features.names, table, label),
    }


def auc_interval(
    score: np.ndarray, sizes: tuple[int, int], *, paired: bool, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of the AUC of one set of scores, by a bootstrap of sequences.

    Args:
      score: float64 [N], of the real sequences and then of the generated ones.
      sizes: how many there are of each.
      paired: whether both continue the same prompts, one by one.
      draws: bootstrap draws.
      rng: source of the draws.
    """
    real, other = score[: sizes[0]], score[sizes[0] :]
    above = (other[:, None] > real[None]) + 0.5 * (other[:, None] == real[None])
    times = [rng.multinomial(size, np.full(size, 1 / size), size=draws) for size in sizes]
    times = [times[0], times[0] if paired else times[1]]
    areas = ((times[1] @ above) * times[0]).sum(axis=1) / (sizes[0] * sizes[1])
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(areas, [tail, 100 - tail])
    return float(low), float(high)


def _telling(names: tuple[str, ...], table: np.ndarray, label: np.ndarray) -> list[list[Any]]:
    alone = auc(table.T, np.tile(label, (table.shape[1], 1)))
    order = np.argsort(-np.abs(alone - 0.5), kind="stable")[:SHOWN]
    return [[names[at], float(alone[at])] for at in order]


def discriminator_table(result: dict[str, Any]) -> Table:
    """Return a rich table of `discriminate`."""
    table = Table(
        title="Discriminator: can generated sequences be told from real ones?",
        caption=f"AUC .5: no; {result['folds']} folds, 95 % bootstrap, p of {result['permutations']:,} permutations",
    )
    for heading in ("model", "AUC", "95 %", "p", "accuracy", "F1", "what tells them apart"):
        table.add_column(heading, justify="left" if heading in ("model", "what tells them apart") else "right")
    for name, row in result["models"].items():
        held = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        cells = [number(row[column]) for column in ("auc", "p", "accuracy", "f1")]
        why = row["reason"] or "\n".join(f"{feature} ({number(area)})" for feature, area in row["apart"][:3])
        table.add_row(name, cells[0], held, *cells[1:], why)
    return table

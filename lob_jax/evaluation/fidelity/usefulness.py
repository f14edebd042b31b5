"""Train on synthetic, test on real: are predictors fitted on generated flow as good as those fitted on real flow?

Two linear predictors read the book and the last messages: a logistic regression of the direction of the mid, and a
Huber regression of its move, both over the next messages. Every real sequence is tested once, by predictors that were
fitted on other real sequences and by predictors fitted on as many generated ones. Linear predictors are convex, so a
difference is one of the data and not of an optimiser's luck, and take a second; the field's predictive score, of an
LSTM of 2 × 128, is in `networks.predictor`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from rich.table import Table

from lob_jax.evaluation.fidelity.measure import number
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import mid_ticks, pairs, pressure, spread_ticks
from lob_jax.statistics.flow_sums import ratio, totals

HORIZON = 10  # messages
PAST = (1, 2, 5, 10, 20)  # messages
CLASSES = 3  # down, flat, up
PENALTY = 1e-3  # of squared weights, per example
LEAST = 4  # sequences on each side
CLIP = 5.0  # standard deviations
CONFIDENCE = 0.95
SCORES = ("macro_f1", "mcc", "mae")


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and targets of N messages.

    Attributes:
      inputs: float64 [N, F], see `examples_of`; what happened up to the message.
      move: float64 [N], of the mid over the next messages, ticks.
      sequence: int64 [N].
    """

    inputs: np.ndarray
    move: np.ndarray
    sequence: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Linear predictors of direction and move.

    Attributes:
      centre, scale: float64 [F], of the training inputs.
      direction: float64 [F + 1, 3], weights of the logits; the last row is the bias.
      move: float64 [F + 1].
    """

    centre: np.ndarray
    scale: np.ndarray
    direction: np.ndarray
    move: np.ndarray


def examples_of(flow: Flow, *, horizon: int = HORIZON) -> Examples:
    """Return the examples of a flow: messages with `PAST` messages before them and `horizon` after, mids all known.

    The inputs are the imbalance at the best and of all levels, the log spread, past moves of the mid and their sizes,
    the pressure of past adds, removals and trades, and the last message's own.
    """
    sequence, mid, size = flow.sequence(), mid_ticks(flow), flow.book_size.astype(np.float64)
    press = pressure(flow).astype(np.float64)
    groups = [flow.kind == Kind.ADD, np.isin(flow.kind, (Kind.CANCEL, Kind.DELETE)), flow.kind == Kind.EXECUTE]
    inputs = [imbalance(size[:, :, 0]), imbalance(size.sum(axis=2)), np.log(np.maximum(spread_ticks(flow), 0.5))]
    for past in PAST:
        move = np.full(len(mid), np.nan)
        move[past:] = mid[past:] - mid[:-past]
        inputs += [np.sign(move) * np.log1p(np.abs(move)), np.log1p(np.abs(move))]
        for group in groups:
            total = np.concatenate([[0.0], np.cumsum(np.where(group, press, 0))])
            pressed = np.zeros(len(mid))
            pressed[past - 1 :] = total[past:] - total[:-past]
            inputs.append(pressed)
    table = np.stack(inputs, axis=1)
    row = pairs(sequence, PAST[-1] + horizon) + PAST[-1]
    move = mid[row + horizon] - mid[row]
    known = np.isfinite(table[row]).all(axis=1) & np.isfinite(move)
    return Examples(table[row[known]], move[known], sequence[row[known]])


def imbalance(size: np.ndarray) -> np.ndarray:
    """Return the size of the bid less that of the ask, over both, float64 [N], from sizes [N, 2]."""
    return ratio(size[:, 0] - size[:, 1], size.sum(axis=1))


def fit(examples: Examples) -> Predictor:
    """Fit both predictors; rare directions weigh as much as frequent ones."""
    centre, scale = examples.inputs.mean(axis=0), examples.inputs.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    inputs = _standardised(examples.inputs, centre, scale)
    return Predictor(centre, scale, _fit_direction(inputs, direction(examples.move)), _fit_move(inputs, examples.move))


def _standardised(inputs: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.hstack([np.clip((inputs - centre) / scale, -CLIP, CLIP), np.ones((len(inputs), 1))])


def direction(move: np.ndarray) -> np.ndarray:
    """Return 0 for a fall of the mid, 1 for none and 2 for a rise."""
    return np.sign(move).astype(np.int64) + 1


def _fit_direction(inputs: np.ndarray, label: np.ndarray) -> np.ndarray:
    count = np.bincount(label, minlength=CLASSES)
    weight = (1 / np.maximum(count, 1) / np.count_nonzero(count))[label]
    rows = np.arange(len(label))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(-1, CLASSES)
        log_probability = scipy.special.log_softmax(inputs @ weights, axis=1)
        error = np.exp(log_probability)
        error[rows, label] -= 1
        gradient = inputs.T @ (error * weight[:, None]) + PENALTY * weights
        value = -(weight * log_probability[rows, label]).sum() + PENALTY / 2 * (weights**2).sum()
        return float(value), gradient.ravel()

    start = np.zeros(inputs.shape[1] * CLASSES)
    return scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(-1, CLASSES)


def _fit_move(inputs: np.ndarray, move: np.ndarray) -> np.ndarray:
    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        error = inputs @ weights - move
        gradient = inputs.T @ np.clip(error, -1, 1) / len(move) + PENALTY * weights
        return float(scipy.special.huber(1.0, error).mean() + PENALTY / 2 * (weights**2).sum()), gradient

    return scipy.optimize.minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x


def tested(predictor: Predictor, examples: Examples, sequences: int) -> np.ndarray:
    """Return what a test adds up to by sequence, float64 [S, 11].

    The confusion matrix (true, said) of directions, the absolute errors of the move, and the number of examples.
    """
    inputs = _standardised(examples.inputs, predictor.centre, predictor.scale)
    said = (inputs @ predictor.direction).argmax(axis=1)
    cell = np.zeros((len(said), CLASSES**2))
    cell[np.arange(len(said)), CLASSES * direction(examples.move) + said] = 1
    error = np.abs(inputs @ predictor.move - examples.move)
    return totals(np.column_stack([cell, error, np.ones(len(error))]), examples.sequence, sequences)


def scores(total: np.ndarray) -> dict[str, np.ndarray]:
    """Return macro F1, MCC and the mean absolute error of D totals of `tested`, float64 [D] each, NaN if undefined."""
    confusion = total[:, : CLASSES**2].reshape(-1, CLASSES, CLASSES)
    right, came, said = np.einsum("dcc->dc", confusion), confusion.sum(axis=2), confusion.sum(axis=1)
    f1 = np.where(came > 0, ratio(2 * right, came + said), 0).sum(axis=1)
    count = confusion.sum(axis=(1, 2))
    covariance = right.sum(axis=1) * count - (came * said).sum(axis=1)
    scale = np.sqrt((count**2 - (came**2).sum(axis=1)) * (count**2 - (said**2).sum(axis=1)))
    return {
        "macro_f1": ratio(f1, (came > 0).sum(axis=1)),
        "mcc": ratio(covariance, scale),
        "mae": ratio(total[:, -2], total[:, -1]),
    }


def measure_usefulness(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    horizon: int = HORIZON,
    draws: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Test on real flow what predictors learn from generated and from real flow.

    Args:
      real: held-out real flow; each half tests predictors of the other half, and of as many generated sequences.
      generated: flows by name. Of one with as many sequences as `real`, the sequences of the same prompts as the real
        training half are read.
      horizon: messages that are predicted.
      draws: bootstrap draws of the tested sequences, the same for all predictors.
      seed: the seed of halves and draws.
      on_progress: called with what is being done, the number of steps that are done and that of all.

    Returns:
      Plain values as in JSON, None for what is not defined: horizon, `examples` (tested), `unchanged` (mean absolute
      error of predicting no move); flows: by name, "real" first: `macro_f1`, `mcc` and `mae`, each with value,
      low, high (95 %) and, of generated flows, `difference`, `difference_low` and `difference_high`: this value
      less that of real.
    """
    rng = np.random.default_rng(seed)
    half, sources = drawn_half(len(real), rng), {"real": real, **generated}
    examples = {name: examples_of(flow, horizon=horizon) for name, flow in sources.items()}
    sums = {}
    for done, name in enumerate(sources):
        if on_progress:
            on_progress(f"usefulness of {name}", done, len(sources))
        sums[name] = _crossed(examples[name], examples["real"], half=half, sequences=len(sources[name]), rng=rng)
    if on_progress:
        on_progress("usefulness", len(sources), len(sources))
    times = rng.multinomial(len(real), np.full(len(real), 1 / max(len(real), 1)), size=draws) if len(real) else None
    move = examples["real"].move
    return {
        "horizon": horizon,
        "examples": len(move),
        "unchanged": float(np.abs(move).mean()) if len(move) else None,
        "confidence": CONFIDENCE,
        "flows": {
            name: described(sums[name], sums["real"], times, scores=scores, names=SCORES, compared=name != "real")
            for name in sources
        },
    }


def drawn_half(sequences: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random half of each sequence, int64 [S], 0 or 1."""
    half = np.zeros(sequences, np.int64)
    half[rng.permutation(sequences)[: sequences // 2]] = 1
    return half


def learnt_from(half: np.ndarray, tested_half: int, *, sequences: int, rng: np.random.Generator) -> np.ndarray:
    """Return the sequences of a source that train what is tested on one half of the real ones, int64.

    They are as many as in the other half of the real ones; the very same, if the source has as many sequences as real.
    """
    wanted = np.flatnonzero(half != tested_half)
    return wanted if sequences == len(half) else rng.permutation(sequences)[: len(wanted)]


def _crossed(
    source: Examples, real: Examples, *, half: np.ndarray, sequences: int, rng: np.random.Generator
) -> np.ndarray | None:
    """Fit on a source and test on real, each half once; None with too few sequences, or none with a move."""
    total = np.zeros((len(half), CLASSES**2 + 2))
    for tested_half in (0, 1):
        wanted = learnt_from(half, tested_half, sequences=sequences, rng=rng)
        training = _of(source, np.isin(source.sequence, wanted))
        if len(np.unique(training.sequence)) < LEAST or not training.move.any():
            return None
        test = _of(real, half[real.sequence] == tested_half)
        total += tested(fit(training), test, len(half))
    return total


def _of(examples: Examples, rows: np.ndarray) -> Examples:
    return Examples(examples.inputs[rows], examples.move[rows], examples.sequence[rows])


def described(
    sums: np.ndarray | None,
    real: np.ndarray | None,
    times: np.ndarray | None,
    *,
    scores: Callable[[np.ndarray], dict[str, np.ndarray]],
    names: Sequence[str],
    compared: bool,
) -> dict[str, dict[str, float | None]]:
    """Return the scores of a test with their bootstrap intervals, and their differences from those of real flow.

    Args:
      sums: float64 [S, K], what the test adds up to by tested sequence; None if there is none.
      real: the same of what learnt from real flow.
      times: float64 [D, S], how often each draw has each sequence; None without sequences.
      scores: totals [D, K] -> float64 [D] by name, NaN if undefined.
      names: of the scores.
      compared: whether the differences are wanted.
    """
    columns = ["value", "low", "high", *(["difference", "difference_low", "difference_high"] if compared else [])]
    if sums is None or times is None:
        return {name: dict.fromkeys(columns) for name in names}
    value, drawn = scores(sums.sum(axis=0, keepdims=True)), scores(times @ sums)
    found = {name: [value[name][0], *_interval(drawn[name])] for name in names}
    if compared:
        of_real = {name: np.full(1, np.nan) for name in names}, {name: np.full(len(times), np.nan) for name in names}
        if real is not None:
            of_real = scores(real.sum(axis=0, keepdims=True)), scores(times @ real)
        for name, row in found.items():
            row += [value[name][0] - of_real[0][name][0], *_interval(drawn[name] - of_real[1][name])]
    return {
        name: {column: float(x) if np.isfinite(x) else None for column, x in zip(columns, row, strict=True)}
        for name, row in found.items()
    }


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    if not np.isfinite(drawn).any():
        return np.nan, np.nan
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def usefulness_table(result: dict[str, Any]) -> Table:
    """Return a rich table of `measure_usefulness`."""
    table = Table(
        title=f"Trained on each flow, tested on {result['examples']:,} real messages, {result['horizon']} ahead",
        caption=f"95 % bootstrap of sequences; the error of no move is {number(result['unchanged'])} ticks",
    )
    for heading in ("trained on", "macro F1", "less real", "MCC", "error, ticks", "less real"):
        table.add_column(heading, justify="left" if heading == "trained on" else "right")
    for name, flow in result["flows"].items():
        cells = []
        for score in SCORES:
            row = flow[score]
            cells.append(number(row["value"]))
            if score != "mcc":
                low, high = row.get("difference_low"), row.get("difference_high")
                cells.append("" if low is None else f"{number(low)} to {number(high)}")
        table.add_row(name, *cells)
    return table

"""Compare runs: their likelihood, fidelity and direction side by side, with intervals of the differences."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.evaluation.likelihood.bootstrap import RESAMPLES, Blocks, block_length
from lob_jax.evaluation.likelihood.bootstrap import interval as percentiles
from lob_jax.evaluation.metric import rows
from lob_jax.evaluation.table import figure
from lob_jax.report.material import Material
from lob_jax.report.parts.data import digest
from lob_jax.report.parts.fidelity import DISTANCES, headline, model_names
from lob_jax.report.parts.likelihood import BITS, interval_of
from lob_jax.report.parts.order_forecasts import ALL, CELLS, PATHS
from lob_jax.report.parts.order_forecasts import FILE as ORDERS
from lob_jax.report.parts.settings import shape_of

IDENTITY = ("days", "train_fraction", "validation_fraction", "embargo_events", "inputs")  # of the test events


@dataclasses.dataclass(frozen=True, eq=False)
class RunResults:
    """The results of one run.

    Attributes:
      label: its name in the comparison, unique there.
      material: what its folder holds.
      bits: float64 [E], bits of each test event under the model, in the order of the events; None if not stored.
    """

    label: str
    material: Material
    bits: np.ndarray | None


def compare_runs(runs: Sequence[RunResults], *, seed: int = 0) -> dict[str, Any]:
    """Compare runs, the first of which is the reference.

    Args:
      runs: at least two.
      seed: the seed of the bootstrap.

    Returns:
      Plain values as in JSON, None for what a run does not have:
      * runs: by label: model (its shape in words), version, step, validation_loss, and data, which identifies the
        test events.
      * same_data: whether the test events of all runs are the same, without which bits cannot be compared.
      * likelihood: by figure of evaluation.json: label, form, and runs: value, low, high.
      * differences: by label, bits per event more than the reference: value, low, high (95 %) and how: "paired" (block
        bootstrap of the differences event by event), "unpaired" (from the two intervals, as if independent), or "none".
      * fidelity: by "run: flow": by distance the mean of LOB-Bench's scores, its floor and their ratio.
      * direction: by label, the scores of the model.
      * fills: by label, what becomes of resting orders within the longest horizon in events: horizon, orders, and
        outcomes: by outcome, happened (share), brier (of the paths) and skill over the climatology: value, low, high.
    """
    by_label = {run.label: run for run in runs}
    identities = {label: test_identity(run.material) for label, run in by_label.items()}
    same = len({identity for identity in identities.values()}) == 1 and None not in identities.values()
    reference = runs[0]
    return {
        "reference": reference.label,
        "runs": {label: _about(run.material, identities[label]) for label, run in by_label.items()},
        "same_data": same,
        "likelihood": _likelihood(by_label),
        "differences": {run.label: difference(run, reference, same_data=same, seed=seed) for run in runs[1:]},
        "fidelity": _fidelity(by_label),
        "direction": {label: _direction(run.material) for label, run in by_label.items()},
        "fills": {label: _fills(run.material) for label, run in by_label.items()},
    }


def test_identity(material: Material) -> str | None:
    """Return a digest of what determines a run's test events; None if the run has no records."""
    manifest = material.get("records/records.json")
    if manifest is None:
        return None
    fingerprint = manifest["fingerprint"]
    identity = {name: fingerprint.get(name) for name in IDENTITY}
    return digest({**identity, "events": manifest["splits"]["test"]["events"]})


def _about(material: Material, identity: str | None) -> dict[str, Any]:
    config = material.get("config.json")
    checks = [line for line in material.get("metrics.jsonl") or [] if "validation_loss" in line]
    best = min(checks, key=lambda line: line["validation_loss"]) if checks else {}
    return {
        "model": shape_of(config) if config else None,
        "version": (config or {}).get("version"),
        "step": best.get("step"),
        "validation_loss": best.get("validation_loss"),
        "data": identity,
    }


def _metrics(run: RunResults) -> Mapping[str, Any]:
    result = run.material.get("evaluation.json") or {}
    return (result.get("likelihood") or {}).get("model") or {}


def _likelihood(by_label: Mapping[str, RunResults]) -> dict[str, Any]:
    found = {}
    for row in rows():
        values = {label: _value(_metrics(run), row.key) for label, run in by_label.items()}
        if any(one["value"] is not None for one in values.values()):
            found[row.key] = {"label": row.label, "form": row.form, "runs": values}
    return found


def _value(metrics: Mapping[str, Any], key: str) -> dict[str, float | None]:
    value = figure(metrics, key)
    low, high = interval_of(metrics, key)
    return {"value": None if value is None else float(value), "low": low, "high": high}


def difference(run: RunResults, reference: RunResults, *, same_data: bool, seed: int) -> dict[str, Any]:
    """Return how many bits per event a run needs more than the reference, with an interval; see `compare_runs`."""
    one, other = (_value(_metrics(each), BITS) for each in (run, reference))
    if one["value"] is None or other["value"] is None or not same_data:
        return {"value": None, "low": None, "high": None, "how": "none"}
    if run.bits is not None and reference.bits is not None and len(run.bits) == len(reference.bits):
        return paired_difference(run.bits, reference.bits, seed=seed)
    value, widths = one["value"] - other["value"], [_width(one), _width(other)]
    if None in widths:
        return {"value": value, "low": None, "high": None, "how": "none"}
    half = math.hypot(*(width or 0.0 for width in widths)) / 2
    return {"value": value, "low": value - half, "high": value + half, "how": "unpaired"}


def _width(one: Mapping[str, float | None]) -> float | None:
    low, high = one["low"], one["high"]
    return None if low is None or high is None else high - low


def paired_difference(
    bits: np.ndarray, reference: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Return the mean difference of two series over the same events with its 95 % interval.

    Blocks of consecutive differences are drawn: what makes an event hard for both models cancels in its difference.

    Args:
      bits: float64 [E], of a run.
      reference: float64 [E], of the reference.
      resamples: bootstrap resamples.
      seed: their seed.
    """
    series = np.asarray(bits, np.float64) - np.asarray(reference, np.float64)
    length = block_length(series)
    blocks = Blocks.draw(len(series), length, resamples=resamples, rng=np.random.default_rng(seed))
    low, high = percentiles(blocks.sums(series[:, None])[:, 0] / blocks.drawn)
    return {"value": float(series.mean()), "low": low, "high": high, "how": "paired", "block": length}


def _fidelity(by_label: Mapping[str, RunResults]) -> dict[str, Any]:
    found = {}
    for label, run in by_label.items():
        result = run.material.get("fidelity.json") or run.material.get("score.json")
        for model in model_names(result) if result else []:
            scores = {distance: _of_distance(headline(result, model, distance)) for distance in DISTANCES}
            found[f"{label}: {model}"] = scores
    return found


def _of_distance(one: Mapping[str, Any]) -> dict[str, Any]:
    mean = one.get("mean")
    mean = mean if isinstance(mean, Mapping) else {"value": mean}
    ends = {name: mean.get(name) for name in ("value", "low", "high")}
    return {**ends, **{name: one.get(name) for name in ("half", "floor", "ratio")}}


def _direction(material: Material) -> dict[str, Any] | None:
    return ((material.get("evaluation.json") or {}).get("direction") or {}).get("model")


def _fills(material: Material) -> dict[str, Any] | None:
    found = (material.generated.get(ORDERS) or {}).get("events")
    if not found:
        return None
    outcomes = {
        name: {
            "happened": one["happened"][-1],
            "brier": one["forecasts"][PATHS]["brier"][-1],
            "skill": one["skill"][CELLS][-1],
        }
        for name, one in found["buckets"][ALL].items()
    }
    return {"horizon": found["horizons"][-1], "orders": found["orders"][-1], "outcomes": outcomes}

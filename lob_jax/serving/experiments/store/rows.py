"""What is in the rows of the tables: arrays as bytes, plain data as JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from lob_jax.serving.experiments.experiment import Experiment, experiment_of
from lob_jax.serving.experiments.results import Assignment, Decision, Outcome, Recorded, Requests

STORED = "<f8"  # float64, little-endian, whatever the machine


def packed(values: Any) -> bytes:
    """Return floats as they are stored."""
    return np.ascontiguousarray(values, dtype=STORED).tobytes()


def unpacked(stored: bytes, *, rows: int) -> np.ndarray:
    """Return stored floats as float64 [rows, ...]."""
    return np.frombuffer(stored, dtype=STORED).astype(np.float64).reshape(rows, -1)


def by_arm(stored: bytes, arms: Sequence[str]) -> dict[str, np.ndarray]:
    """Return stored floats by arm."""
    return dict(zip(arms, unpacked(stored, rows=len(arms)), strict=True))


def to_text(plain: Any) -> str:
    """Return JSON as text."""
    return json.dumps(plain, allow_nan=False)


def experiment_row(experiment: Experiment) -> dict[str, Any]:
    """Return the row of an experiment."""
    text = to_text(experiment.to_json())
    return {"name": experiment.name, "created_s": float(experiment.created_s), "experiment": text}


def to_experiment(text: str) -> Experiment:
    """Return the experiment of its stored JSON."""
    return experiment_of(json.loads(text))


def to_assignment(row: sa.Row[Any]) -> Assignment:
    """Return the assignment of a row of units."""
    return Assignment(**_parts(Assignment, row))


def outcome_row(outcome: Outcome, arms: Sequence[str]) -> dict[str, Any]:
    """Return what a row of outcomes holds of the outcome itself, with its arrays in an order of arms."""
    nats, brier = (np.stack([scores[arm] for arm in arms]) for scores in (outcome.nats, outcome.brier))
    return {
        "outcome": outcome.outcome,
        "digest": outcome.digest,
        "events": nats.shape[1],
        "arms": to_text(list(arms)),
        "nats": packed(nats),
        "brier": packed(brier),
        "mean_nats": packed(nats.mean(axis=1)),
        "mean_brier": packed(brier.mean(axis=1)),
        "seconds": packed([outcome.seconds[arm] for arm in arms]),
    }


def to_recorded(row: Mapping[str, Any], unit: str, *, before: bool) -> Recorded:
    """Return the record of a row of outcomes."""
    arms = json.loads(row["arms"])
    nats, brier = ({arm: float(mean[0]) for arm, mean in by_arm(row[key], arms).items()} for key in MEANS)
    parts = {key: row[key] for key in ("outcome", "events", "first")}
    return Recorded(unit=unit, before=before, nats=nats, brier=brier, **parts)


MEANS = ("mean_nats", "mean_brier")


def decision_row(decision: Decision) -> dict[str, Any]:
    """Return the row of a decision."""
    return {**dataclasses.asdict(decision), "known": to_text(dict(decision.known))}


def to_decision(row: sa.Row[Any]) -> Decision:
    """Return the decision of a row."""
    return Decision(**{**_parts(Decision, row), "known": json.loads(row.known)})


def to_requests(row: sa.Row[Any]) -> Requests:
    """Return the sums of a row of requests."""
    return Requests(**_parts(Requests, row))


def _parts(of: type[Any], row: sa.Row[Any]) -> dict[str, Any]:
    """Return the columns of a row that are named as the fields of a dataclass."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(of)}

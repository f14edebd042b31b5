"""Experiments and outcomes for tests of the database."""

import dataclasses

import numpy as np

from lob_jax.serving.experiments.experiment import Arm, Experiment
from lob_jax.serving.experiments.results import Outcome

ARMS = (Arm("control", "old"), Arm("new", "tiny"), Arm("wide", "wider", weight=2.0))
EXPERIMENT = Experiment(
    name="trial", design="paired", arms=ARMS, salt="salt", created_s=1_000.5, block=10, gap=3, clip_nats=0.75
)
SPLIT = dataclasses.replace(EXPERIMENT, name="split", design="split")


def outcome(name, *, unit="AAPL 1", events=4, arms=("control", "new", "wide"), digest=None):
    """Return an outcome whose scores follow from its name and unit."""
    random = np.random.default_rng(list(f"{unit} {name}".encode()))
    nats = {arm: -random.exponential(3.0, events) for arm in arms}
    brier = {arm: random.uniform(0.0, 2.0, events) for arm in arms}
    seconds = {arm: float(random.uniform()) for arm in arms}
    return Outcome(unit=unit, outcome=name, digest=digest or f"sha256:{name}", nats=nats, brier=brier, seconds=seconds)


def same(one, other):
    """Return whether two of what statistics need are equal, bit for bit."""
    arrays = [(getattr(one, key), getattr(other, key)) for key in ("unit_B", "nats_BA", "brier_BA")]
    return (one.units, one.requests) == (other.units, other.requests) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in arrays
    )

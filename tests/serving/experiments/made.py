"""Experiments and what is kept of them, for tests."""

import numpy as np

from lob_jax.serving.experiments.experiment import Arm, Experiment
from lob_jax.serving.experiments.results import Assignment, Kept


def experiment(design="paired", arms=2, weights=None, **changed):
    """Return an experiment with arms a, b, c, ..."""
    names = "abcdefgh"[:arms]
    weights = weights or [1.0] * arms
    made = tuple(Arm(name, f"model-{name}", weight) for name, weight in zip(names, weights, strict=True))
    return Experiment("trial", design, made, **{"salt": "s-1", "created_s": 1000.0, **changed})


def kept_paired(columns, requests=None, units=3):
    """Return what is kept of a paired experiment, by the differences of nats of its challengers: a list of [B]."""
    nats = np.stack([np.zeros(len(columns[0])), *columns], axis=1)
    enrolled = tuple(Assignment(f"u{number}", "a", True, 1.0) for number in range(units))
    return Kept(enrolled, np.arange(len(nats)) % units, nats, -nats / 4, requests or {})


def kept_split(arm, score, shares=(0.5, 0.5), requests=None):
    """Return what is kept of a split experiment in which each unit has one block; by arms' indices and scores [N]."""
    names = "abcdefgh"
    units = tuple(Assignment(f"u{number}", names[k], True, shares[k]) for number, k in enumerate(arm))
    nats = np.full((len(arm), len(shares)), np.nan)
    nats[np.arange(len(arm)), arm] = score
    brier = np.clip(-nats / 10, 0, 2)
    return Kept(units, np.arange(len(arm)), nats, brier, requests or {})

"""Distances of facts, price impact and sequences' features between many pairs of selections of sequences."""

import dataclasses

import numpy as np

from lob_jax.evaluation.fidelity.discriminator import FOLDS, LEAST, assign_folds, auc, held_out_scores
from lob_jax.evaluation.fidelity.facts import STEP, Fact, Returns, returns_of
from lob_jax.evaluation.fidelity.faults.counted import Statistic
from lob_jax.evaluation.fidelity.features import normal_scores, sequence_statistics, varying
from lob_jax.evaluation.fidelity.impact import (
    macro_sums,
    mean_responses,
    participation_edges,
    response_scores,
    response_sums,
    sequence_impacts,
)
from lob_jax.evaluation.fidelity.measure import COVERAGE, LEAST_KNOWN
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import pairs, place
from lob_jax.statistics.flow_sums import ratio


def of_fact(fact: Fact, real: Flow, planted: Flow) -> dict[str, Statistic]:
    """Return how far a fact's figure lies outside its 95 % range in real selections.

    Where the figure is not defined the distance is infinite: a fault that takes the figure away raises an alarm, unless
    real selections often lack it, too.
    """
    sums = [fact.sums(_returns(flow)) for flow in (real, planted)]

    def outside(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        held, found = fact.estimate(one @ sums[0]), fact.estimate(other @ sums[int(faulty)])
        known = held[np.isfinite(held)]
        if len(known) < LEAST_KNOWN * len(held) or not len(held):
            return np.full(len(held), np.nan)
        tail = 50 * (1 - COVERAGE)
        low, high = np.percentile(known, [tail, 100 - tail])
        return np.where(np.isfinite(found), np.maximum(np.maximum(low - found, found - high), 0), np.inf)

    return {"outside": outside}


def _returns(flow: Flow) -> Returns:
    """Return the returns of a flow with its sequences as the blocks, of which there may be some without a return."""
    sequence = flow.sequence()
    first = pairs(sequence, STEP)
    first = first[place(flow)[first] % STEP == 0]
    return dataclasses.replace(returns_of(flow), block=sequence[first], count=len(flow))


def of_impact(real: Flow, planted: Flow) -> dict[str, Statistic]:
    """Return the difference of the responses of the mid in ticks, summed over lags, mean over the classes of events."""
    sums = [response_sums(flow) for flow in (real, planted)]

    def l1(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        return response_scores(mean_responses(one, sums[0]), mean_responses(other, sums[int(faulty)]))[:, -1]

    return {"l1": l1}


def of_macro_impact(real: Flow, planted: Flow) -> dict[str, Statistic]:
    """Return the difference of the mean moves by participation, mean over the bins that both have, in ticks."""
    impacts = [sequence_impacts(flow) for flow in (real, planted)]
    if not np.isfinite(impacts[0]).any():
        return {"l1": lambda one, other, faulty: np.full(len(one), np.nan)}
    edges = participation_edges(impacts[0])
    sums = [macro_sums(part, edges) for part in impacts]

    def l1(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        totals = [np.tensordot(one, sums[0], axes=1), np.tensordot(other, sums[int(faulty)], axes=1)]
        apart = np.abs(ratio(totals[0][..., 0], totals[0][..., 1]) - ratio(totals[1][..., 0], totals[1][..., 1]))
        known = np.isfinite(apart)
        return ratio(np.where(known, apart, 0).sum(axis=1), known.sum(axis=1))

    return {"l1": l1}


def of_discriminator(real: Flow, planted: Flow) -> dict[str, Statistic]:
    """Return the AUC of the discriminator on each pair of selections, fitted to it alone; NaN with too few sequences.

    The draws of real flow take the place of the permutations of the labels: both tell which AUC is one of chance.
    """
    tables = sequence_statistics({"real": real, "planted": planted}).value

    def area(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        source = tables["planted" if faulty else "real"]
        return np.array(
            [_auc(tables["real"][first > 0], source[second > 0]) for first, second in zip(one, other, strict=True)]
        )

    return {"auc": area}


def _auc(first: np.ndarray, second: np.ndarray) -> float:
    table = np.concatenate([first, second])
    kept = varying(table)
    if min(len(first), len(second)) < LEAST or not kept.any():
        return np.nan
    label = np.repeat([-1.0, 1.0], [len(first), len(second)])
    folds = assign_folds(len(first), len(second), folds=FOLDS, rng=np.random.default_rng(0))
    return float(auc(held_out_scores(normal_scores(table[:, kept]), label[None], folds), label[None])[0])

"""Whether something happens more often than it is tolerated, at any time."""

import numpy as np
from scipy.special import betaincc, betaln

from lob_jax.serving.experiments.results import Guard

REQUESTS = 10.0  # the alternative is the part above p_0 of a Beta distribution with 10 p_0 and 10 as its parameters


def guard(count: int, total: int, *, tolerated: float, alpha: float) -> Guard:
    """Return how a guard stands: whether a share of requests is known to be above the tolerated one.

    Args:
      count: requests that were slow, failed or were refused.
      total: all requests.
      tolerated: the share that is tolerated.
      alpha: how likely the guard may ever trip although no more than that happens.
    """
    evidence = share_evidence(count, total, tolerated=tolerated)
    share = count / total if total else float("nan")
    return Guard(share=share, tolerated=tolerated, evidence=evidence, tripped=evidence >= 1 / alpha)


def share_evidence(count: int, total: int, *, tolerated: float) -> float:
    """Return the e-value against a share of at most the tolerated one.

    It is the likelihood of the counts, averaged over shares p by the part of a Beta distribution above the tolerated
    share p_0, divided by that at p_0. Let q be the probability of the next request given those before. For each p the
    mean factor of that request is q p / p_0 + (1 - q) (1 - p) / (1 - p_0). It is 1 at q = p_0 and does not fall in q,
    since p >= p_0; so it is at most 1 for all q up to p_0. The average over p is then a supermartingale, whatever q is
    from request to request, as long as it stays at or below p_0. It ever reaches 1 / alpha with a probability of at
    most alpha.

    Args:
      count: how often it has happened.
      total: how often it might have.
      tolerated: p_0, above 0 and below 1.
    """
    first, second = REQUESTS * tolerated, REQUESTS
    above = betaincc(first + count, second + total - count, tolerated)
    if above == 0:
        return 0.0  # below what a float64 holds
    mixture = betaln(first + count, second + total - count) + np.log(above)
    mixture -= betaln(first, second) + np.log(betaincc(first, second, tolerated))
    null = count * np.log(tolerated) + (total - count) * np.log1p(-tolerated)
    return float(np.exp(min(mixture - null, 700.0)))

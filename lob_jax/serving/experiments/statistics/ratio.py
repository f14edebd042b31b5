"""Whether units have got their arms with the chances that were meant, at any time."""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

BROKEN = 1000.0
UNITS = 30.0  # how many units the prior is worth: its shares lie about .1 from those that were meant


def ratio_evidence(counts: Sequence[int], shares: Sequence[float], *, log_chance: float) -> float:
    """Return the e-value against units having got their arms with their chances.

    The alternative is a mixture of multinomials by a Dirichlet distribution about the shares (Lindon and Malek,
    Anytime-Valid Inference for Multinomial Count Data, NeurIPS 2022). Given the units before, it gives the next one
    probabilities that sum to 1, and the e-value is the product over units of that of the unit's arm divided by its
    chance. So its mean given the past does not change where the chances are right, also where they differ from unit to
    unit; it ever reaches 1000 with a probability of at most .001.

    Args:
      counts: units by arm.
      shares: of the arms, which sum to 1: about these the alternative lies.
      log_chance: the sum over units of the natural logarithm of the chance of the arm that it got.
    """
    count, prior = np.asarray(counts, np.float64), UNITS * np.asarray(shares, np.float64)
    mixture = gammaln(prior + count).sum() - gammaln(prior).sum() + gammaln(UNITS) - gammaln(UNITS + count.sum())
    return float(np.exp(np.clip(mixture - log_chance, -700.0, 700.0)))

"""Score ensembles of forecasts against what happened: CRPS, energy score, PIT, quantiles, coverage and pinball loss.

An ensemble is P draws from a forecast of one number, or of a vector. The scores are unbiased for those of the
distribution that the draws are from, whatever P is, so that ensembles of unequal sizes may be compared (Ferro, 2014).
"""

import numpy as np

BANDS = (0.5, 0.8, 0.95)  # nominal coverage of central bands
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantile levels of the pinball loss


def crps(draws_NP: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of each forecast, float64 [N], in its own unit; 0 is best.

    E|X - y| - E|X - X'| / 2, the second mean over pairs of different draws (Gneiting and Raftery, 2007; Ferro, 2014).

    Args:
      draws_NP: P >= 2 draws of each of N forecasts.
      truth_N: what happened.
    """
    P = draws_NP.shape[1]
    # The sum of |x_i - x_j| over pairs: sorted draw i occurs i times with a plus and P - 1 - i times with a minus.
    weights_P = 2 * np.arange(P) - (P - 1)
    between_N = np.sort(draws_NP, axis=1) @ weights_P / (P * (P - 1))
    return np.abs(draws_NP - truth_N[:, None]).mean(1) - between_N


def energy_score(draws_NPH: np.ndarray, truth_NH: np.ndarray) -> np.ndarray:
    """Return the energy score of each forecast of a vector, float64 [N]: the CRPS with Euclidean distances.

    Args:
      draws_NPH: P >= 2 draws of each of N forecasts of H numbers in comparable units.
      truth_NH: what happened.
    """
    P, found = draws_NPH.shape[1], []
    for draws_PH, truth_H in zip(draws_NPH, truth_NH, strict=True):
        away = np.linalg.norm(draws_PH - truth_H, axis=1).mean()
        squares_P = np.square(draws_PH).sum(1)
        squared_PP = squares_P[:, None] + squares_P - 2 * draws_PH @ draws_PH.T
        np.fill_diagonal(squared_PP, 0)
        between = np.sqrt(np.maximum(squared_PP, 0)).sum() / (P * (P - 1))  # rounding may leave less than 0
        found.append(away - between / 2)
    return np.array(found)


def pit(draws_NP: np.ndarray, truth_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the randomised probability integral transform of each forecast, float64 [N].

    The rank of what happened among the draws, ties in random order, plus a uniform number, over P + 1. It is uniform on
    0..1 if draws and truth are exchangeable, for discrete numbers too (Czado, Gneiting and Held, 2009).

    Args:
      draws_NP: P draws of each of N forecasts.
      truth_N: what happened.
      rng: source of the random numbers.
    """
    below_N = (draws_NP < truth_N[:, None]).sum(1)
    equal_N = (draws_NP == truth_N[:, None]).sum(1)
    return (below_N + rng.random(len(truth_N)) * (equal_N + 1)) / (draws_NP.shape[1] + 1)


def quantiles(draws_NP: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return quantiles of each forecast, float64 [N, Q].

    The i-th smallest draw is the quantile at level i / (P + 1), since a further draw is below it with exactly that
    probability; other levels are interpolated. Levels beyond the outermost draws get those, see `fewest_draws`.
    """
    return np.quantile(draws_NP, levels, axis=1, method="weibull").T


def fewest_draws(band: float) -> int:
    """Return how many draws a central band of this coverage needs: with fewer, its ends lie beyond all of them."""
    return int(np.ceil(2 / (1 - band) - 1e-9)) - 1


def covered(draws_NP: np.ndarray, truth_N: np.ndarray, band: float) -> np.ndarray:
    """Return whether what happened is within the central band of each forecast, ends included, bool [N]."""
    low_N, high_N = quantiles(draws_NP, ((1 - band) / 2, (1 + band) / 2)).T
    return (low_N <= truth_N) & (truth_N <= high_N)


def pinball(quantile_NQ: np.ndarray, truth_N: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return the pinball loss of quantile forecasts, float64 [N, Q]: (y - q) (level - 1[y < q]); 0 is best."""
    off_NQ = truth_N[:, None] - quantile_NQ
    return np.maximum(np.array(levels) * off_NQ, (np.array(levels) - 1) * off_NQ)

"""Confidence sequences for a mean: bounds that hold at all times at once, so that looking costs nothing.

For observations x_1, x_2, ... and a supposed mean mu, let S_n be the sum of x_i - mu and V_n the sum of their squares.
The evidence against mu is a mixture of exp(l S_n - l^2 V_n / 2) over l, normal with mean 0 and variance 1 / rho:

    E_n(mu) = sqrt(rho / (rho + V_n)) * exp(S_n^2 / (2 * (rho + V_n)))

* It is exact where x_i - mu is symmetric about 0 given all observations before it: exp(l S_n - l^2 V_n / 2) is then a
  supermartingale for every l (de la Pena, Annals of Probability 27:537, 1999), and so is the mixture, which begins at
  1. By Ville's inequality E_n(mu) ever reaches 1 / alpha with a probability of at most alpha. No moments are needed, so
  that heavy tails do no harm.
* It is asymptotic otherwise: for observations with mean mu given those before, the bounds approach those of a Brownian
  motion (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics 52:2613, 2024), and the probability is
  alpha up to an error that vanishes as the first look moves away from the start. The moments that this needs exist,
  since scores are clipped.
* Where the mean given the past changes, the bounds are for the average of these means so far, asymptotically, and wider
  than necessary: V_n then holds the spread of the means too. Bounds of earlier times are therefore not intersected with
  later ones: they were about another average.
* Observations of one unit may be alike, in a way that nobody knows beforehand. So V_n is enlarged to what the sums of
  units vary by, if that is more, see `by_unit`. The evidence only falls, so that it stays exact where it was; and with
  some dozens of units, the bounds also hold, approximately, for the mean over units like these.
"""

import dataclasses

import numpy as np

STEPS = 8  # of Newton's method, from a bound that is close: more than float64 needs


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """What the evidence depends on; scalars, or arrays of one shape.

    Attributes:
      count: how many observations there are.
      mean: their mean; 0 for none.
      squares: the sum of their squared deviations from it, or more.
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


def sums(x: np.ndarray) -> Sums:
    """Return the sums of observations, float64 [..., N], over the last axis."""
    count = x.shape[-1]
    mean = x.mean(axis=-1) if count else np.zeros(x.shape[:-1])
    return Sums(np.full_like(mean, count), mean, ((x - mean[..., None]) ** 2).sum(axis=-1))


def running(x: np.ndarray) -> Sums:
    """Return the sums after each observation, [..., N], for observations float64 [..., N]."""
    count = np.broadcast_to(np.arange(1.0, x.shape[-1] + 1), x.shape)
    mean = np.cumsum(x, axis=-1) / count
    return Sums(count, mean, np.maximum(np.cumsum(x * x, axis=-1) - count * mean * mean, 0.0))


def by_unit(x: np.ndarray, unit: np.ndarray) -> Sums:
    """Return the sums of observations of several units, with squares of whichever is larger.

    They are the squared deviations of observations, or those of the sums of units, times G / (G - 1) for G units: what
    a mean varies by where observations of a unit depend on each other. One unit alone says nothing about that.

    Args:
      x: float64 [N].
      unit: int64 [N], the unit of each.
    """
    found, (_, place) = sums(x), np.unique(unit, return_inverse=True)
    totals = np.bincount(place, x - found.mean)
    squares = (totals**2).sum() * len(totals) / max(len(totals) - 1, 1)
    return Sums(found.count, found.mean, np.maximum(found.squares, squares))


def running_by_unit(x: np.ndarray, unit: np.ndarray) -> Sums:
    """Return what `by_unit` returns, after each observation: [N]."""
    found, order = running(x), np.argsort(unit, kind="stable")
    _, first, place = np.unique(unit[order], return_index=True, return_inverse=True)
    count, total = np.empty(len(x)), np.empty(len(x))  # of the unit's observations before each one
    ahead = np.cumsum(x[order]) - x[order]
    count[order], total[order] = np.arange(len(x)) - first[place], ahead - ahead[first[place]]
    units = np.cumsum(count == 0)
    totals = np.cumsum(2 * total * x + x * x)  # the sum over units of their squared sums, and so on
    products, counts = np.cumsum(count * x + total + x), np.cumsum(2 * count + 1)
    squares = (totals - 2 * found.mean * products + found.mean**2 * counts) * units / np.maximum(units - 1, 1)
    return Sums(found.count, found.mean, np.maximum(found.squares, squares))


def log_evidence(found: Sums, mu: float, *, rho: float) -> np.ndarray:
    """Return the natural logarithm of the evidence against a mean, E_n(mu).

    Args:
      found: the sums of the observations.
      mu: the supposed mean.
      rho: see `rho_for`; chosen before the observations.
    """
    away = mu - found.mean
    spread = rho + found.squares + found.count * away**2
    return 0.5 * np.log(rho / spread) + (found.count * away) ** 2 / (2 * spread)


def bounds(found: Sums, *, rho: float, alpha: float, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest mean against which the evidence is below 1 / alpha.

    Along mu the evidence rises from the observations' mean to both sides, and far away it falls again, since no sum of
    few observations can speak against every mean. So means beyond a limit have to be impossible: if the evidence
    against the limit itself is too low, nothing can be said on that side.

    With u = rho + V_n(mu) and u_0 its least value, the logarithm of the evidence is (n + log(rho / u) - n u_0 / u) / 2.
    It reaches log(1 / alpha) where v = n u_0 / u solves v - log(v) = n - log(n u_0 / rho) - 2 log(1 / alpha), v > 1.

    Args:
      found: the sums of the observations.
      rho: see `rho_for`.
      alpha: how likely the bounds may ever miss the mean.
      limit: the mean lies between -limit and limit.

    Returns:
      The two bounds, of the shape of the sums; infinite where nothing can be said.
    """
    count, least, level = np.maximum(found.count, 1.0), rho + found.squares, -2 * np.log(alpha)
    v = _root(np.maximum(count - np.log(count * least / rho) - level, 1.0))
    away = np.sqrt(least * np.maximum(level + np.log(count / v * least / rho), 0.0) / (v * count))
    low, high = (np.clip(found.mean + side * away, -limit, limit) for side in (-1, 1))
    below, above = (log_evidence(found, side * limit, rho=rho) >= level / 2 for side in (-1, 1))
    return np.where(below, low, -np.inf), np.where(above, high, np.inf)


def rho_for(sd: float, difference: float) -> float:
    """Return a rho with which a difference is found soon, by observations of about this standard deviation.

    With alpha = .05 that takes about n = 9 sd^2 / difference^2 observations; the bounds are narrowest at V_n = n sd^2
    for rho = V_n / 9. Any rho gives valid bounds, as long as the observations at hand do not decide about it. In
    simulations, a tenth of the best takes about a sixth more observations, ten times the best half as many again.
    """
    return sd**4 / difference**2


def _root(k: np.ndarray) -> np.ndarray:
    """Solve v - log(v) = k for v >= 1, k >= 1, by Newton's method from above, where it cannot overshoot."""
    v = k + np.sqrt(2 * (k - 1))  # v is at most this (Chatzigeorgiou, IEEE Communications Letters 17:1505, 2013)
    for _ in range(STEPS):
        v = np.where(v > 1, v - (v - np.log(v) - k) * v / np.maximum(v - 1, 1e-300), v)
    return np.maximum(v, 1.0)

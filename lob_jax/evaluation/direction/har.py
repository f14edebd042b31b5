"""A baseline of volatility: a linear regression on realised volatility over several past spans (HAR: Corsi, 2009)."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Har:
    """A fitted regression.

    Attributes:
      weights: float64 [S+1], of the S past volatilities and of a constant.
      least: the smallest realised volatility of the training split, below which no forecast is.
    """

    weights: np.ndarray
    least: float


def fit_har(past: np.ndarray, realised: np.ndarray) -> Har:
    """Fit by least squares on the training split.

    Args:
      past: float [N, S], realised volatilities over S spans that end at the forecast.
      realised: float [N], realised volatility after it, at least one.
    """
    weights, *_ = np.linalg.lstsq(_with_constant(past), realised, rcond=None)
    return Har(weights, float(realised.min()))


def har_forecast(har: Har, past: np.ndarray) -> np.ndarray:
    """Return forecast volatilities, float64 [N], from past ones [N, S]."""
    return np.maximum(_with_constant(past) @ har.weights, har.least)


def _with_constant(past: np.ndarray) -> np.ndarray:
    return np.concatenate([past, np.ones((len(past), 1))], axis=1)

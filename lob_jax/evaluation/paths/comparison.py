"""Compare two forecasts by their losses: the test of Diebold and Mariano, and an interval from a block bootstrap."""

import dataclasses

import numpy as np
import scipy.stats

from lob_jax.errors import InputError

COVERAGE = 0.95  # of the interval
DRAWS = 1000  # bootstrap draws


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The mean difference of two losses.

    Attributes:
      difference: mean of the first loss minus the second; negative if the first forecast is better.
      low: lower end of the 95 % interval of the block bootstrap.
      high: its upper end.
      statistic: the statistic of Diebold and Mariano; NaN if the difference never varies.
      p: its two-sided p-value.
      lags: autocovariances in its variance.
      block: forecasts per block of the bootstrap.
    """

    difference: float
    low: float
    high: float
    statistic: float
    p: float
    lags: int
    block: int

    def to_json(self) -> dict[str, float | None]:
        """Return JSON-serialisable values, None for NaN."""
        return {name: value if np.isfinite(value) else None for name, value in dataclasses.asdict(self).items()}


def compare_losses(first_N: np.ndarray, second_N: np.ndarray, *, lags: int | None = None, seed: int = 0) -> Comparison:
    """Compare the losses of two forecasts of the same N events, in the order of time.

    Args:
      first_N: losses of one forecast.
      second_N: losses of the other.
      lags: autocovariances in the variance of the mean; None for 4 (N / 100)^(2/9) (Newey and West, 1994).
      seed: seed of the bootstrap.

    Raises:
      InputError: there are fewer than three forecasts, or unequally many.
    """
    if len(first_N) != len(second_N) or len(first_N) < 3:
        raise InputError(
            "too few losses to compare",
            where="compare_losses",
            expected="at least three, as many of either forecast",
            was=f"{len(first_N)} and {len(second_N)}",
            remedy="forecast from more prompts (--config.generate.prompts=64)",
        )
    off_N = np.asarray(first_N, float) - np.asarray(second_N, float)
    N = len(off_N)
    lags = min(int(4 * (N / 100) ** (2 / 9)) if lags is None else lags, N - 2)
    statistic, p = diebold_mariano(off_N, lags=lags)
    block = max(lags + 1, round(N ** (1 / 3)))
    low, high = bootstrap_interval(off_N, block=block, rng=np.random.default_rng(seed))
    return Comparison(float(off_N.mean()), low, high, statistic, p, lags, block)


def diebold_mariano(off_N: np.ndarray, *, lags: int) -> tuple[float, float]:
    """Return the statistic of Diebold and Mariano (1995) and its two-sided p-value; NaN if the variance is 0.

    The variance has Bartlett weights (Newey and West, 1987), which keep it from being negative. The statistic has the
    small-sample factor of Harvey, Leybourne and Newbold (1997) for a horizon of lags + 1, and is compared with
    Student's t of N - 1 degrees of freedom.

    Args:
      off_N: differences of losses, in the order of time.
      lags: autocovariances in the variance.
    """
    N, centred_N = len(off_N), off_N - off_N.mean()
    covariance = [centred_N[lag:] @ centred_N[: N - lag] / N for lag in range(lags + 1)]
    long_run = covariance[0] + 2 * sum((1 - lag / (lags + 1)) * covariance[lag] for lag in range(1, lags + 1))
    if long_run <= 1e-12 * np.square(off_N).mean():  # what rounding leaves of differences that are all the same
        return float("nan"), float("nan")
    h = lags + 1
    factor = np.sqrt(max(N + 1 - 2 * h + h * (h - 1) / N, 0) / N)
    statistic = float(factor * off_N.mean() / np.sqrt(long_run / N))
    return statistic, float(2 * scipy.stats.t.sf(abs(statistic), N - 1))


def bootstrap_interval(off_N: np.ndarray, *, block: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of a mean by the circular block bootstrap (Politis and Romano, 1992).

    Args:
      off_N: values in the order of time.
      block: consecutive values that are drawn together; after the last value comes the first.
      rng: source of the random numbers.
    """
    N = len(off_N)
    starts = rng.integers(N, size=(DRAWS, -(-N // block)))
    rows = (starts[..., None] + np.arange(block)).reshape(DRAWS, -1)[:, :N] % N
    ends = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
    low, high = np.quantile(off_N[rows].mean(1), ends)
    return float(low), float(high)

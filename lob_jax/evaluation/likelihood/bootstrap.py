"""Confidence intervals of figures of a time series: the circular block bootstrap, with an automatic block length."""

import dataclasses
import math

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Resamples of a series: each is a sequence of blocks of consecutive observations (Politis and Romano, 1992).

    The series is closed to a circle, so that every observation is in as many blocks as any other.

    Attributes:
      length: L, observations per block.
      starts: int64 [R, B], the first observation of each block of each resample.
      observations: N, length of the series.
    """

    length: int
    starts: np.ndarray
    observations: int

    @classmethod
    def draw(cls, observations: int, length: int, *, resamples: int, rng: np.random.Generator) -> "Blocks":
        """Draw resamples of about N observations: the whole blocks that fit into N, at least one."""
        length = min(length, observations)
        return cls(length, rng.integers(observations, size=(resamples, max(1, observations // length))), observations)

    @property
    def drawn(self) -> int:
        """Return how many observations a resample has."""
        return self.length * self.starts.shape[1]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over each resample, float64 [R, K], of values [N, K]."""
        total = np.cumsum(np.concatenate([values, values[: self.length]], dtype=np.float64), axis=0)
        total = np.concatenate([np.zeros((1, values.shape[1])), total])
        of_block = total[self.length : self.length + self.observations] - total[: self.observations]
        return np.stack([of_block[starts].sum(0) for starts in self.starts])


def interval(resampled: np.ndarray, *, level: float = LEVEL) -> list[float]:
    """Return the percentile interval [low, high] of a figure's values in all resamples."""
    tail = (1 - level) / 2
    return np.quantile(resampled, [tail, 1 - tail]).tolist()


def block_length(series: np.ndarray) -> int:
    """Return the block length that minimises the asymptotic mean squared error of the variance of a series' mean.

    The rule is that of Politis and White (2004), as corrected by Patton, Politis and White (2009), for the circular
    block bootstrap. Autocovariances count up to twice the lag that begins the first max(5, log10 N) autocorrelations in
    a row within 2 sqrt(log10 N / N) of 0.

    Args:
      series: float [N].
    """
    centred = np.asarray(series, np.float64) - np.mean(series)
    count = len(centred)
    if count < 4 or not centred.any():
        return 1
    run = max(5, int(math.log10(count)))
    most = min(math.ceil(math.sqrt(count)) + run, count - 1)
    covariance = _autocovariance(centred, most)
    significant = np.abs(covariance / covariance[0]) >= 2 * math.sqrt(math.log10(count) / count)
    first = _first_insignificant(significant, run)
    reach = most if first is None else min(2 * first, most)
    lag = np.arange(1, reach + 1)
    weight = np.minimum(1, 2 * (1 - lag / reach))  # the flat-top window
    spectrum = covariance[0] + 2 * (weight * covariance[1 : reach + 1]).sum()
    slope = 2 * (weight * lag * covariance[1 : reach + 1]).sum()
    if spectrum <= 0:
        return 1
    length = (1.5 * slope**2 / spectrum**2) ** (1 / 3) * count ** (1 / 3)
    bound = math.ceil(min(3 * math.sqrt(count), count / 3))
    return max(1, min(math.ceil(length), bound))


def _autocovariance(centred: np.ndarray, most: int) -> np.ndarray:
    """Return the autocovariances at lags 0..most, each divided by N."""
    size = 1 << (len(centred) + most).bit_length()
    power = np.square(np.abs(np.fft.rfft(centred, size)))
    return np.fft.irfft(power, size)[: most + 1] / len(centred)


def _first_insignificant(significant: np.ndarray, run: int) -> int | None:
    """Return the first of `run` insignificant lags in a row; None if there are none."""
    quiet = 0
    for lag in range(1, len(significant)):
        quiet = 0 if significant[lag] else quiet + 1
        if quiet == run:
            return lag - run + 1
    return None

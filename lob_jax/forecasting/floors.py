"""Model-free baselines: class frequencies of the training split, overall and given how the mid has just moved."""

from typing import Protocol

import numpy as np

from lob_jax.forecasting.examples import ForecastExamples, past_lean

CLASSES = 3
BUCKETS = 15  # buckets of the lean, separated at training quantiles
PRIOR_WEIGHT = 3.0  # weight of the overall frequencies in each bucket, in examples


class Labelled(Protocol):
    """Numbered examples with labels, see `lob_jax.forecasting.examples.ForecastExamples`."""

    direction: np.ndarray

    def __len__(self) -> int: ...

    def blocks(self, events: int) -> np.ndarray: ...


def majority(train: Labelled, examples: Labelled) -> np.ndarray:
    """Return the training class frequencies for every example, float64 [N, K, 3], which always predict the majority."""
    frequency = np.stack([_frequency(label) for label in train.direction.T])
    return np.broadcast_to(frequency, (len(examples), *frequency.shape))


def lean_table(train: ForecastExamples, examples: ForecastExamples) -> np.ndarray:
    """Return the training class frequencies given the lean (m_t - m-) / |m-|, float64 [N, K, 3].

    The smoothed label compares the future with an average of the past, so a mid that has moved and then stays already
    implies a label. This baseline sees only that one number, bucketed by quantiles of the training split.
    """
    horizons, columns = train.layout.horizons, []
    fitted = past_lean(train.tape.mid2, train.rows, horizons)
    asked = past_lean(examples.tape.mid2, examples.rows, horizons)
    for k in range(len(horizons)):
        edges = np.quantile(fitted[:, k], np.arange(1, BUCKETS) / BUCKETS)
        bucket = np.searchsorted(edges, fitted[:, k])
        table = smoothed_frequencies(bucket, train.direction[:, k], buckets=BUCKETS)
        columns.append(table[np.searchsorted(edges, asked[:, k])])
    return np.stack(columns, axis=1)


def smoothed_frequencies(bucket: np.ndarray, label: np.ndarray, *, buckets: int) -> np.ndarray:
    """Return the frequencies of the classes in each bucket, float64 [buckets, 3], smoothed by those over all of them.

    Args:
      bucket: int [N], bucket of each training example.
      label: int [N], its class.
      buckets: number of buckets.
    """
    count = np.bincount(CLASSES * bucket + label, minlength=CLASSES * buckets).reshape(buckets, CLASSES)
    smoothed = count + PRIOR_WEIGHT * _frequency(label)
    return smoothed / smoothed.sum(1, keepdims=True)


def _frequency(label: np.ndarray) -> np.ndarray:
    count = np.bincount(label, minlength=CLASSES) + 1.0
    return count / count.sum()

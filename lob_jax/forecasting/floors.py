"""Model-free baselines: class frequencies of the training split, overall and given how the mid has just moved."""

import numpy as np

from lob_jax.forecasting.examples import ForecastExamples, past_lean

CLASSES = 3
BUCKETS = 15  # buckets of the lean, separated at training quantiles
PRIOR_WEIGHT = 3.0  # weight of the overall frequencies in each bucket, in examples


def majority(train: ForecastExamples, examples: ForecastExamples) -> np.ndarray:
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
        label, prior = train.direction[:, k], _frequency(train.direction[:, k])
        bucket = np.searchsorted(edges, fitted[:, k])
        count = np.bincount(CLASSES * bucket + label, minlength=CLASSES * BUCKETS).reshape(BUCKETS, CLASSES)
        smoothed = count + PRIOR_WEIGHT * prior
        table = smoothed / smoothed.sum(1, keepdims=True)
        columns.append(table[np.searchsorted(edges, asked[:, k])])
    return np.stack(columns, axis=1)


def _frequency(label: np.ndarray) -> np.ndarray:
    count = np.bincount(label, minlength=CLASSES) + 1.0
    return count / count.sum()

"""Volatility over the last few moves of the mid."""

import numpy as np

LOOK_BACK = 50  # moves


def recent_volatility(move: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the root mean square of the last `LOOK_BACK` moves up to and including each, or of as many as there are.

    Args:
      move: float64 [N], finite.
      before: int64 [N], how many moves precede each one in its sequence.
    """
    squares = np.concatenate([[0.0], np.cumsum(np.square(move))])
    last = np.arange(1, len(move) + 1)
    count = np.minimum(before + 1, LOOK_BACK)
    # Rounding can make a difference of cumulative sums slightly negative.
    return np.sqrt(np.maximum(squares[last] - squares[last - count], 0) / count)

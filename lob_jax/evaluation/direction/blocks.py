"""The block bootstrap over time: intervals for scores of predictions that are not independent of each other.

Predictions at neighbouring times share most of their past and, at horizons beyond the next event, of their future. The
bootstrap therefore resamples blocks of consecutive events, at least as long as the longest horizon (Carlstein, 1986;
Künsch, 1989, lets the blocks overlap).
"""

import numpy as np

COVERAGE = 0.95  # coverage of an interval
DRAWS = 1000  # bootstrap draws
LEAST_BLOCKS = 2  # from a single block every draw is the same, and the interval would be a point


def blocks_of(sequence: np.ndarray, position: np.ndarray, *, length: int) -> np.ndarray:
    """Return the block of each example, int64 [N]; blocks are numbered without gaps.

    Args:
      sequence: int [N], number of the stretch of time that an example belongs to; no block spans two of them.
      position: int [N], position of the example within its stretch, in events.
      length: events per block.
    """
    place = np.stack([sequence, position // length])
    return np.unique(place, axis=1, return_inverse=True)[1].reshape(-1)


def draw_blocks(blocks: int, *, draws: int, seed: int) -> np.ndarray:
    """Return how often each block is drawn, float64 [draws, blocks].

    Each draw takes `blocks` blocks with replacement.
    """
    if not blocks:
        return np.zeros((draws, 0))
    random = np.random.default_rng(seed)
    return random.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(np.float64)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """Return the percentiles between which COVERAGE of the draws lies.

    Draws in which a score is undefined (NaN) are left out; if these are more than half, the interval is (NaN, NaN).
    """
    defined = drawn[np.isfinite(drawn)]
    if 2 * len(defined) <= len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def number(value: float) -> float | None:
    """Return a score as in JSON: None for one that is undefined (NaN)."""
    return float(value) if np.isfinite(value) else None

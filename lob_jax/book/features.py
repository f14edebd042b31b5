"""Book features for a model: sizes, distances, spread and imbalance of the best levels.

The same code runs on NumPy and on JAX arrays: pass the array module as `xp`.
"""

from types import ModuleType
from typing import Any

import numpy as np

SPREAD = -2  # the column of the spread, for any number of levels
LEAST_DEVIATION = 1e-3  # of a feature that is not taken to be constant


def feature_names(levels: int) -> list[str]:
    """Return the names of the 4P features of P levels, in the order of `book_features`."""
    sizes = [f"{side}_size_{k}" for side in ("bid", "ask") for k in range(1, levels + 1)]
    distances = [f"{side}_distance_{k}" for side in ("bid", "ask") for k in range(2, levels + 1)]
    return [*sizes, *distances, "spread", "imbalance"]


def feature_moments(features_KF: np.ndarray) -> np.ndarray:
    """Return the mean and the standard deviation of each feature, float32 [2, F]; a constant has a deviation of 1."""
    every_KF = features_KF.astype(np.float64)
    deviation_F = every_KF.std(0)
    return np.stack([every_KF.mean(0), np.where(deviation_F > LEAST_DEVIATION, deviation_F, 1)]).astype(np.float32)


def spread_ticks(features_EF: np.ndarray) -> np.ndarray:
    """Return the spread of books in ticks from their features, int64 [E]; 0 where a side is empty."""
    return np.rint(np.expm1(features_EF[:, SPREAD].astype(np.float64))).astype(np.int64)


def best_sizes(features_EF: np.ndarray) -> np.ndarray:
    """Return log(1 + lots) at the best bid and ask of books from their features, float32 [2, E]."""
    return features_EF[:, [0, features_EF.shape[1] // 4]].T


def book_features(price: Any, size: Any, *, tick: int, xp: ModuleType = np) -> Any:
    """Return features of books, float32 [..., 4P], named by `feature_names`.

    Sizes are log(1 + lots), distances log(1 + ticks behind the best price of the side), the spread is
    log(1 + ticks), or 0 if the book is locked or crossed, and the imbalance is (bid - ask) / (bid + ask) of the
    best sizes. Every feature that involves an empty level is 0, except the imbalance: it is +1 or -1 if only
    one side is empty.

    Args:
      price: integers [..., 2, P], price quanta, bid then ask, best first.
      size: integers [..., 2, P], lots, 0 for an empty level.
      tick: price quanta per tick.
      xp: the array module, `numpy` or `jax.numpy`.
    """
    lots = size.astype(np.float32)
    # Subtract prices as integers: float32 has 24 bits, too few for a price in quanta, and would lose the ticks.
    behind = xp.where(size > 0, xp.abs(price - price[..., :1]), 0).astype(np.float32) / tick
    both = (size[..., 0, 0] > 0) & (size[..., 1, 0] > 0)
    spread = xp.where(both, xp.maximum(price[..., 1, 0] - price[..., 0, 0], 0), 0).astype(np.float32) / tick
    bid, ask = lots[..., 0, 0], lots[..., 1, 0]
    imbalance = (bid - ask) / xp.maximum(bid + ask, 1)
    sizes, distances = xp.log1p(lots), xp.log1p(behind[..., 1:])
    parts = [sizes[..., 0, :], sizes[..., 1, :], distances[..., 0, :], distances[..., 1, :]]
    parts += [xp.log1p(spread)[..., None], imbalance[..., None]]
    return xp.concatenate(parts, axis=-1).astype(np.float32)

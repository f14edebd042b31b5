"""Numbers that describe a book to a model: sizes, distances, spread and imbalance of its best levels.

The same code runs on NumPy arrays and on `jax.numpy` ones: pass the module as `xp`.
"""

from types import ModuleType
from typing import Any

import numpy as np


def feature_names(levels: int) -> list[str]:
    """Return the names of the 4P features of P levels, in order."""
    sizes = [f"{side}_size_{k}" for side in ("bid", "ask") for k in range(1, levels + 1)]
    distances = [f"{side}_distance_{k}" for side in ("bid", "ask") for k in range(2, levels + 1)]
    return [*sizes, *distances, "spread", "imbalance"]


def book_features(price: Any, size: Any, *, tick: int, xp: ModuleType = np) -> Any:
    """Return features of books, float32 [..., 4P], named by `feature_names`.

    Sizes are log(1 + lots), distances log(1 + ticks behind the side's best), the spread
    log(1 + ticks) and 0 if the book is locked or crossed, the imbalance (bid - ask) / (bid + ask) of the
    best sizes. Whatever an empty level has part in is 0, but for the imbalance, which is then +1 or -1
    if the other side has a best.

    Args:
      price: integers [..., 2, P], price quanta, bid then ask, best first.
      size: integers [..., 2, P], lots, 0 for an empty level.
      tick: price quanta a tick.
      xp: the array module, `numpy` or `jax.numpy`.
    """
    lots = size.astype(np.float32)
    # Prices are subtracted as integers: float32 has not the digits of a price.
    behind = xp.where(size > 0, xp.abs(price - price[..., :1]), 0).astype(np.float32) / tick
    both = (size[..., 0, 0] > 0) & (size[..., 1, 0] > 0)
    spread = xp.where(both, xp.maximum(price[..., 1, 0] - price[..., 0, 0], 0), 0).astype(np.float32) / tick
    bid, ask = lots[..., 0, 0], lots[..., 1, 0]
    imbalance = (bid - ask) / xp.maximum(bid + ask, 1)
    sizes, distances = xp.log1p(lots), xp.log1p(behind[..., 1:])
    parts = [sizes[..., 0, :], sizes[..., 1, :], distances[..., 0, :], distances[..., 1, :]]
    parts += [xp.log1p(spread)[..., None], imbalance[..., None]]
    return xp.concatenate(parts, axis=-1).astype(np.float32)

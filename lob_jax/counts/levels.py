"""Count codes in hashed contexts of one length, and smooth the counts with contexts one item shorter."""

import dataclasses
from typing import NamedTuple

import numpy as np

DISCOUNTS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # candidates for D, in addition to the one estimated from the counts
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # candidates for w


class Smoothing(NamedTuple):
    """The probability that a context passes on to the context one item shorter.

    Attributes:
      once, twice, more: discounts of counts of 1, 2, and 3 or more.
      share: share of the total probability that is passed on regardless of the counts.
    """

    once: float
    twice: float
    more: float
    share: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """The counts of the contexts of one length.

    Attributes:
      context: uint64 [C], hashes, ascending.
      total: float64 [C], n(h).
      types: float64 [C, 3], numbers of codes seen once, twice, and more often in the context.
      pair: uint64 [M], hashes of context and code, ascending.
      count: int64 [M], n(h, c).
      sample: int64 [M], index of a training sample with that pair.
      of_pair: int64 [M], index of the pair's context.
    """

    context: np.ndarray
    total: np.ndarray
    types: np.ndarray
    pair: np.ndarray
    count: np.ndarray
    sample: np.ndarray
    of_pair: np.ndarray

    @classmethod
    def counted(cls, context: np.ndarray, symbol: np.ndarray) -> "Level":
        """Count contexts (hashes [N]) and the codes [N] that came in them."""
        pair, sample, count = np.unique(mix(context, symbol), return_index=True, return_counts=True)
        found, of_pair = np.unique(context[sample], return_inverse=True)
        total = np.bincount(of_pair, weights=count, minlength=len(found))
        types = np.bincount(of_pair * 3 + np.minimum(count, 3) - 1, minlength=3 * len(found)).reshape(-1, 3)
        types = types.astype(np.float64)
        return cls(context=found, total=total, types=types, pair=pair, count=count, sample=sample, of_pair=of_pair)

    def look_up(self, context: np.ndarray, symbol: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of each context, -1 if unseen, and the count of its code, 0 if unseen."""
        pair = find(self.pair, mix(context, symbol))
        return find(self.context, context), np.where(pair >= 0, self.count[pair], 0)

    def given_up(self, index: np.ndarray, smoothing: Smoothing) -> np.ndarray:
        """Return the factor of P(c | h') in the contexts at these indices."""
        by_discount = self.types[index] @ np.array(smoothing[:3]) / self.total[index]
        return (1 - smoothing.share) * by_discount + smoothing.share

    def interpolate(self, index: np.ndarray, count: np.ndarray, lower: np.ndarray, smoothing: Smoothing) -> np.ndarray:
        """Return P(c | h) for the results of `look_up`, given P(c | h'); P(c | h') itself if h is unseen."""
        off = np.array([0.0, *smoothing[:3]])[np.minimum(count, 3)]
        own = (1 - smoothing.share) * (count - off) / self.total[index]
        return np.where(index >= 0, own + self.given_up(index, smoothing) * lower, lower)

    def estimated_discounts(self) -> tuple[float, float, float] | None:
        """Return Chen and Goodman's closed-form discounts (eq. 17); None if too few counts occur to estimate them."""
        n1, n2, n3, n4 = ((self.count == times).sum() for times in (1, 2, 3, 4))
        if not (n1 and n2 and n3):
            return None
        y = n1 / (n1 + 2 * n2)
        values = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        once, twice, more = (float(np.clip(value, 0.01, most)) for value, most in zip(values, (1, 2, 3), strict=True))
        return once, twice, more


def mix(hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Extend hashes by values, uint64: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014) of their sum."""
    z = hashes * np.uint64(0x9E3779B97F4A7C15) + np.asarray(values).astype(np.uint64) + np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def find(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the index of each value in an ascending array, -1 where it is absent."""
    if not len(ordered):
        return np.full(len(values), -1)
    index = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.where(ordered[index] == values, index, -1)

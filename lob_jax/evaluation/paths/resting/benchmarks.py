"""Benchmarks for what becomes of resting orders: frequencies of the training split, and the touch by a random walk."""

import dataclasses

import numpy as np
import scipy.stats

from lob_jax.evaluation.paths.resting.orders import Resting
from lob_jax.evaluation.paths.resting.outcomes import Known

FIRST_DISTANCE = (1, 2, 4, 6, 11, 21)  # ticks from the best price at which the cells of a distance begin, after 0
WEIGHT = 20  # orders that the frequency of a coarser cell counts for in a finer one
AHEAD_CELLS = 3  # nothing, up to the median of training, more


@dataclasses.dataclass(frozen=True, eq=False)
class Climatology:
    """How often, in training, orders met an outcome within a horizon, by distance and queue position.

    The frequency of a cell is shrunk to that of its distance, which is shrunk to that of all orders.

    Attributes:
      history: orders of training moments with their fates.
      median: lots that are in front of half of the orders with any in front.
    """

    history: Known
    median: float

    def probability(self, orders: Resting, unit: str, outcome: int, horizon: float) -> np.ndarray:
        """Return the probability of an outcome for each order, float64 [O].

        Training orders count whose moment is followed for the whole horizon.

        Args:
          orders: the orders.
          unit: "events" or "seconds".
          outcome: index in `fates.OUTCOMES`.
          horizon: in the unit.
        """
        history = self.history
        counts = (history.reach[unit] >= horizon)[history.moment_O]
        came = history.truth[unit][counts, outcome] <= horizon
        cells = len(FIRST_DISTANCE) + 1, AHEAD_CELLS
        seen, hits = np.zeros(cells), np.zeros(cells)
        at = tuple(axis[counts] for axis in self._cells(history.orders))
        np.add.at(seen, at, 1)
        np.add.at(hits, at, came)
        overall = (hits.sum() + 0.5) / (seen.sum() + 1)
        of_distance = (hits.sum(1) + WEIGHT * overall) / (seen.sum(1) + WEIGHT)
        of_cell = (hits + WEIGHT * of_distance[:, None]) / (seen + WEIGHT)
        return of_cell[self._cells(orders)]

    def overall(self, unit: str, outcome: int, horizon: float) -> float:
        """Return the share of all training orders that met an outcome within a horizon."""
        history = self.history
        counts = (history.reach[unit] >= horizon)[history.moment_O]
        return float(((history.truth[unit][counts, outcome] <= horizon).sum() + 0.5) / (counts.sum() + 1))

    def _cells(self, orders: Resting) -> tuple[np.ndarray, np.ndarray]:
        return np.digitize(orders.distance_O, FIRST_DISTANCE), np.digitize(orders.ahead_O, (1, self.median + 1))


def fit_climatology(history: Known) -> Climatology:
    """Fit the frequencies to orders of the training split."""
    ahead = history.orders.ahead_O
    return Climatology(history, float(np.median(ahead[ahead > 0])) if (ahead > 0).any() else 0.0)


def touch_probability(barrier_O: np.ndarray, scale: float) -> np.ndarray:
    """Return the probability that a random walk without drift reaches the price of each order, float64 [O].

    By the reflection principle it is 2 Phi(-b / s) for a barrier at distance b and a standard deviation s at the
    horizon. Queues play no part in it, nor cancels. NaN distances give 1/2.

    Args:
      barrier_O: ticks from the mid to the price.
      scale: root mean square move of the mid at the horizon, ticks.
    """
    if scale <= 0:
        return np.where(np.isnan(barrier_O), 0.5, barrier_O <= 0).astype(float)
    touched = np.minimum(2 * scipy.stats.norm.cdf(-np.asarray(barrier_O, float) / scale), 1.0)
    return np.where(np.isnan(barrier_O), 0.5, touched)

"""Quantiles of arbitrarily many integers in constant memory: weights are binned by a number's first four digits."""

from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_EXACT = 10_000  # each integer below it has its own bin
_BAND = 9_000  # bins for each further digit: first four digits 1000..9999
_HALF = _EXACT + 15 * _BAND  # an int64 has 19 digits


class Histogram(NamedTuple):
    """Weights of integers; those of five or more digits count as their first four digits followed by zeros.

    Attributes:
      weight: int64 [2, _HALF], of the numbers from 0 upwards and of those below 0.
      extremes: int64 [2], the exact smallest and largest number; undefined while nothing has weight.
      moment: float64 [1], sum of weight x number.
    """

    weight: np.ndarray
    extremes: np.ndarray
    moment: np.ndarray


def new_histogram() -> Histogram:
    """Return an empty histogram."""
    limits = np.iinfo(np.int64)
    return Histogram(np.zeros((2, _HALF), np.int64), np.array([limits.max, limits.min]), np.zeros(1))


@in_place
def note(histogram: Histogram, value: int, weight: int) -> None:
    """Add a number with a weight, both int64; a weight of 0 or less is ignored."""
    if weight <= 0:
        return
    place, band = abs(value), 0
    while place >= _EXACT:
        place //= 10
        band += 1
    if band > 0:
        place += _EXACT - 1000 + (band - 1) * _BAND
    histogram.weight[1 if value < 0 else 0, place] += weight
    histogram.extremes[0] = min(histogram.extremes[0], value)
    histogram.extremes[1] = max(histogram.extremes[1], value)
    histogram.moment[0] += np.float64(value) * weight


@in_place
def note_all(histogram: Histogram, values: np.ndarray) -> None:
    """Add each number of an int64 array with weight 1."""
    for value in values:
        note(histogram, value, 1)


def summarize(histogram: Histogram, unit: float = 1.0) -> dict[str, float]:
    """Return mean, quantiles and extremes in units of `unit`; an empty dictionary if nothing has weight.

    The quantile q is the smallest number such that it and all smaller ones have at least a share q of the weight. It
    is exact up to four digits, and truncated to four otherwise.
    """
    below, above = histogram.weight[1], histogram.weight[0]
    places = np.concatenate([-1 - np.flatnonzero(below)[::-1], np.flatnonzero(above)])
    weight = np.concatenate([below[below > 0][::-1], above[above > 0]])
    if not len(places):
        return {}
    reached = np.cumsum(weight)
    total = int(reached[-1])
    smallest, largest = histogram.extremes.tolist()
    found = {"mean": float(histogram.moment[0]) / total / unit, "min": smallest / unit}
    for q in QUANTILES:
        place = int(places[min(np.searchsorted(reached, q * total), len(places) - 1)])
        value = _number_at(place) if place >= 0 else -_number_at(-1 - place)
        found[f"q{q:g}"] = min(max(value, smallest), largest) / unit
    return {**found, "max": largest / unit}


def _number_at(place: int) -> int:
    """Return the smallest magnitude that falls into a bin."""
    if place < _EXACT:
        return place
    band, digits = divmod(place - _EXACT, _BAND)
    return (digits + 1000) * 10 ** (band + 1)

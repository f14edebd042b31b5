"""Time warping: the gaps between events, stretched and squeezed by a smooth random curve."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.windows.augment.altered import Proposal

REACH = 3  # half-width of the kernel, in units of its own; what lies outside is .3 % of its mass


@dataclasses.dataclass(frozen=True)
class Warp:
    """The alteration that multiplies each gap by a factor which changes slowly from event to event.

    Attributes:
      deviation: standard deviation of the log of the factor, the same at every event.
      events: events over which the factor changes, the width of the kernel in `smooth_noise`.
    """

    deviation: float
    events: int

    def __call__(self, day: MarketDay, first: int, random: np.random.Generator) -> Proposal:
        """Return a proposal, see `augment.altered`."""
        count = len(day.events)
        factor = np.exp(self.deviation * smooth_noise(count - first, self.events, random))
        return Proposal(day.events.replace(time_ns=warped(day.events.time_ns, first, factor)), np.arange(count))


def smooth_noise(count: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Return a smooth Gaussian random curve at `count` events, of mean 0 and variance 1 at each, float64 [count].

    It is white noise under a Gaussian kernel exp(-d² / 2 w²) at a distance of d events, so that two events are
    correlated by exp(-d² / 4 w²).

    Args:
      count: number of events.
      width: w, in events.
      random: source of the noise.
    """
    distance = np.arange(-REACH * width, REACH * width + 1)
    kernel = np.exp(-0.5 * (distance / width) ** 2)
    noise = random.standard_normal(count + len(kernel) - 1)
    return np.convolve(noise, kernel / np.sqrt(np.sum(kernel**2)), mode="valid")[:count]


def warped(time_ns: np.ndarray, first: int, factor: np.ndarray) -> np.ndarray:
    """Return times whose gaps from event `first` on, at least 1, are multiplied by factors, in whole ns, int64 [E].

    A gap above 0 keeps at least 1 ns, so that the order of events by time does not change; events at the same time stay
    so, and a clock that has jumped back jumps as far.
    """
    gap_ns = np.diff(time_ns[first - 1 :])
    stretched = np.where(gap_ns > 0, np.maximum(np.rint(gap_ns * factor).astype(np.int64), 1), gap_ns)
    return np.concatenate([time_ns[:first], time_ns[first - 1] + np.cumsum(stretched)])

"""Self-exciting arrivals: a Hawkes process with exponential kernels on many time scales and an intraday profile.

The simulation is exact and treats each component separately: the waiting time of a decaying intensity r·exp(-b·s) has
a closed form (Dassios and Zhao, Exact simulation of Hawkes process with exponentially decaying intensity, 2013); the
slowly varying base rate is thinned.
"""

import math
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, njit


class Arrivals(NamedTuple):
    """A Hawkes process; times in ns, rates per ns.

    Attributes:
      decay: float64 [K], 1 / time scale of each kernel.
      offspring: float64 [K], expected number of events that one event triggers through each kernel; sums to below 1.
      base: float64 [I], rate of events that no event triggered, in equal intervals of the session.
      span: float64 [1], length of the session.
      excited: float64 [K], what each kernel currently adds to the rate. Changed in place.
    """

    decay: np.ndarray
    offspring: np.ndarray
    base: np.ndarray
    span: np.ndarray
    excited: np.ndarray


def new_arrivals(
    *,
    scales_ns: tuple[float, ...],
    offspring: tuple[float, ...],
    shape: tuple[float, ...],
    span_ns: float,
    count: float,
) -> Arrivals:
    """Return a process with `count` expected events per session.

    Args:
      scales_ns: time scale of each kernel.
      offspring: expected number of events that one event triggers through each kernel.
      shape: relative activity in equal intervals of the session.
      span_ns: length of the session.
      count: expected number of events.
    """
    relative = np.asarray(shape, np.float64)
    immigrants = count * (1.0 - sum(offspring))
    return Arrivals(
        decay=1.0 / np.asarray(scales_ns, np.float64),
        offspring=np.asarray(offspring, np.float64),
        base=immigrants / span_ns * relative / relative.mean(),
        span=np.array([span_ns], np.float64),
        excited=np.zeros(len(scales_ns)),
    )


@njit
def wait(arrivals: Arrivals, now: int, rng: np.random.Generator) -> int:
    """Return the ns, at least 1, from `now` (ns since the open) to the next event, and add its excitation."""
    # The next event is the earliest of K + 1 competing candidates; the base candidate is drawn at the maximum rate
    # and thinned. A rejected candidate still advances time and decays the kernels, which keeps the simulation exact.
    elapsed = 0.0
    ceiling = arrivals.base.max()
    while True:
        step = -math.log(1.0 - rng.random()) / ceiling
        from_base = True
        for k in range(len(arrivals.decay)):
            # 1 - random() lies in (0, 1]: the logarithm of random() itself could be that of 0.
            drawn = -math.log(1.0 - rng.random()) * arrivals.decay[k]
            if drawn < arrivals.excited[k]:  # otherwise the kernel decays away without another event
                candidate = -math.log(1.0 - drawn / arrivals.excited[k]) / arrivals.decay[k]
                if candidate < step:
                    step, from_base = candidate, False
        elapsed += step
        for k in range(len(arrivals.decay)):
            arrivals.excited[k] *= math.exp(-arrivals.decay[k] * step)
        if not from_base or rng.random() * ceiling < base_rate(arrivals, now + elapsed):
            break
    for k in range(len(arrivals.decay)):
        arrivals.excited[k] += arrivals.offspring[k] * arrivals.decay[k]
    return max(1, round(elapsed))


@in_place
def base_rate(arrivals: Arrivals, now: float) -> float:
    """Return the base rate at `now` (ns since the open); after the session's end, that of the last interval."""
    interval = int(now / arrivals.span[0] * len(arrivals.base))
    return arrivals.base[min(interval, len(arrivals.base) - 1)]

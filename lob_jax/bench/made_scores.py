"""Scores of two arms as experiments may see them at their worst: autocorrelated, heavy-tailed, alike within a unit."""

import dataclasses

import numpy as np
from scipy.signal import lfilter

NOISES = ("heavy", "skewed")
LEVEL = -6.0  # nats of an ordinary event


@dataclasses.dataclass(frozen=True)
class Made:
    """How scores are made; standard deviations in nats.

    Attributes:
      phi: correlation of an arm's own noise from one event of a market to the next.
      sd: of an arm's own noise.
      between: of units: some are harder to predict than others, for both arms.
      own: of the difference of the two arms from unit to unit, which has mean 0.
      noise: "heavy": Student's t with three degrees of freedom; "skewed": exponential for the challenger, heavy for the
        control.
    """

    phi: float = 0.9
    sd: float = 0.14
    between: float = 0.1
    own: float = 0.0
    noise: str = "heavy"


def own_noise(rng: np.random.Generator, made: Made, shape: tuple[int, ...], *, is_challenger: bool) -> np.ndarray:
    """Return an arm's own noise, float64 of some shape, autocorrelated along the last axis.

    Its first values are as variable as its last ones.
    """
    if made.noise == "skewed" and is_challenger:
        steps = rng.standard_exponential(shape) - 1.0
    else:
        steps = rng.standard_t(3, shape) / 3**0.5
    steps[..., 1:] *= (1 - made.phi**2) ** 0.5
    return made.sd * lfilter([1.0], [1.0, -made.phi], steps, axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Shared:
    """Events that both arms have scored: markets side by side, in each of which one unit follows another.

    Attributes:
      scores: float64 [2, M, T]: of the control and the challenger, by market. Events take turns: the first of each
        market, the second of each market, and so on.
      units: (market, first event, event after the last) of each unit.
    """

    scores: np.ndarray
    units: tuple[tuple[int, int, int], ...]


def shared_units(rng: np.random.Generator, made: Made, *, markets: int, events: int, unit: int) -> Shared:
    """Return scores of equal arms on the same units.

    Args:
      rng: source of random numbers.
      made: how scores are made.
      markets: how many go on at the same time.
      events: of each market.
      unit: mean events of a unit; they vary as waiting times do.
    """
    shape = (markets, events)
    scores = np.stack([own_noise(rng, made, shape, is_challenger=arm == 1) for arm in range(2)]) + LEVEL
    units = []
    for market in range(markets):
        first = 0
        while first < events:
            last = min(first + 1 + int(rng.exponential(unit)), events)
            scores[:, market, first:last] += rng.normal(0, made.between)
            scores[1, market, first:last] += rng.normal(0, made.own)
            units.append((market, first, last))
            first = last
    return Shared(scores, tuple(units))


@dataclasses.dataclass(frozen=True, eq=False)
class Own:
    """Units each of which one arm has answered and scored, one after another.

    Attributes:
      scores: float64 [U, T], of which each unit has the first `lengths`.
      lengths: int64 [U].
      is_challenger: bool [U], the arm of each.
    """

    scores: np.ndarray
    lengths: np.ndarray
    is_challenger: np.ndarray


def own_units(rng: np.random.Generator, made: Made, *, units: int, shortest: int, longest: int) -> Own:
    """Return scores of equal arms, each on its own units.

    Args:
      rng: source of random numbers.
      made: how scores are made; `own` adds to the differences between units of the challenger.
      units: how many.
      shortest, longest: events of a unit; all lengths from one to the other are as likely.
    """
    is_challenger = rng.random(units) < 0.5
    scores = np.empty((units, longest))
    for arm in range(2):
        mine = is_challenger == (arm == 1)
        scores[mine] = own_noise(rng, made, (int(mine.sum()), longest), is_challenger=arm == 1)
    ability = rng.normal(0, made.between, units) + is_challenger * rng.normal(0, made.own, units)
    return Own(scores + LEVEL + ability[:, None], rng.integers(shortest, longest + 1, units), is_challenger)

"""`FlowParameters`: the parameters of the simulated order flow, fitted to one day of a wide-spread NASDAQ stock."""

import dataclasses

import numpy as np

from lob_jax.errors import InputError

FEW_LEVELS = 11  # a side with at most this many levels loses none, so that ten are always visible
ACTIONS = ("add", "delete", "replace", "market")  # a participant's actions, in the order of every action table


@dataclasses.dataclass(frozen=True)
class Distribution:
    """A distribution given by quantiles, linear between (probability, value) points; equal values form an atom.

    Attributes:
      probability: strictly increasing from 0 to 1.
      value: the quantiles, non-decreasing.
    """

    probability: tuple[float, ...]
    value: tuple[float, ...]

    def __post_init__(self):
        rising = all(a < b for a, b in zip(self.probability, self.probability[1:], strict=False))
        ends = self.probability[:1] == (0,) and self.probability[-1:] == (1,)
        paired = len(self.probability) == len(self.value)
        if not (rising and ends and paired and list(self.value) == sorted(self.value)):
            raise InputError(
                "a Distribution is not a table of quantiles",
                where="Distribution",
                expected="probabilities increasing from 0 to 1 and as many non-decreasing values",
                was=(self.probability, self.value),
                remedy="sort the points, and let the probabilities start at 0 and end at 1",
            )

    def table(self) -> np.ndarray:
        """Return the points as float64 [2, N]."""
        return np.array([self.probability, self.value], np.float64)


ADD_SIZE = Distribution(
    (
        0,
        0.01,
        0.02,
        0.05,
        0.08,
        0.11,
        0.15,
        0.2,
        0.25,
        0.3,
        0.35,
        0.38,
        0.4,
        0.42,
        0.44,
        0.46,
        0.49,
        0.5,
        0.95,
        0.96,
        0.97,
        0.975,
        0.988,
        0.992,
        0.998,
        1,
    ),
    (1, 2, 3, 5, 7, 8, 9, 10, 10, 11, 11, 12, 13, 14, 15, 26, 90, 100, 100, 100, 120, 200, 200, 300, 800, 2300),
)
MARKET_SIZE = Distribution(
    (
        0,
        0.0025,
        0.0102,
        0.0295,
        0.0549,
        0.0852,
        0.1199,
        0.1584,
        0.2006,
        0.2461,
        0.2947,
        0.3462,
        0.3569,
        0.7798,
        0.8949,
        0.9245,
        0.9545,
        0.9696,
        0.9847,
        0.9969,
        1,
    ),
    (1, 1, 2, 5, 9, 11, 19, 27, 40, 53, 71, 91, 100, 100, 200, 200, 283, 300, 414, 974, 1773),
)
HIDDEN_SIZE = Distribution(
    (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.66, 0.94, 0.95, 0.97, 0.98, 0.99, 0.998, 1),
    (1, 2, 2, 2, 3, 4, 4, 7, 11, 20, 33, 70, 100, 100, 125, 200, 200, 286, 430, 1200),
)
IMPROVEMENT = Distribution(
    (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.998, 1),
    (0.4, 1.19, 1.37, 1.97, 2.73, 3.94, 5.03, 7.14, 10.9, 16.9, 22.6, 29.7, 32.8, 40.6, 78.1),
)
DEEPER = Distribution(
    (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.998, 1),
    (0.45, 1.99, 4.95, 7.69, 10.9, 13.6, 16.1, 19.5, 22.9, 27.8, 33.4, 40.8, 53.2, 127, 289),
)
HIDDEN_INSIDE = Distribution(
    (0, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.998, 1),
    (1, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 20, 33, 45, 78, 186),
)
SHIFT = Distribution(
    (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.998, 1),
    (-85, -20, -15, -10, -4, -3, -2, -1, 1, 2, 3, 6, 11, 17, 23, 29, 74, 156),
)
AGE_RANK = Distribution(
    (
        0,
        0.218,
        0.367,
        0.496,
        0.597,
        0.676,
        0.738,
        0.79,
        0.831,
        0.865,
        0.893,
        0.915,
        0.933,
        0.948,
        0.96,
        0.976,
        0.989,
        1,
    ),
    (0, 0.9, 1.8, 2.7, 3.6, 4.5, 5.4, 6.3, 7.2, 8.2, 9.1, 10, 10.9, 11.8, 12.7, 14.5, 17.2, 25.4),
)


@dataclasses.dataclass(frozen=True)
class FlowParameters:
    """How orders arrive, where they are placed, and when they leave.

    An action is an order added, deleted or replaced, or a marketable order; action tables are in the order of
    `ACTIONS`. The time since the previous action, the gap, falls into one of four bands separated by `gap_edges_ns`;
    the spread falls into one of eight bands separated by `spread_edges`.

    Attributes:
      open_s, close_s: the session, seconds after midnight on the venue's clock.
      open_price: the first mid price, ticks.
      tick: price quanta per tick.
      day_shape: relative activity in equal intervals of the session.
      events_per_action: events per action on average.
      excite_scales_ns, excite_offspring: time scale of each kernel, and actions that an action triggers through it.
      gap_edges_ns: boundaries between gap bands.
      next_action: [4 bands][4 previous actions][4 actions], unnormalised probability of an action after another.
      same_side: [4 bands][4 actions], probability that an action is on the side of the previous one.
      market_same_side: the same for a marketable order that follows another one, by band.
      repeat_size: [4 bands][after add, after delete], probability that an added order repeats the previous size.
      spread_edges: boundaries between spread bands, ticks.
      spread_factor: [8 bands][4 actions], multiplies next_action.
      improve, join: by spread band, probability that an added order improves or joins the best of its side.
      improve_scale, deeper_scale: by spread band, factors on the distributions `improvement` and `deeper`.
      improvement, deeper: ticks by which an added order improves on the best, or lies behind it.
      shift: ticks by which a replaced order moves towards the other side.
      add_size, market_size, hidden_size: lots.
      age_rank: number of orders on its side that are younger than the deleted one.
      worst_share: share of deletes that hit the order at the worst price.
      far_ticks: distance behind the best, in ticks, from which an order is patient.
      far_patience: probability that a patient order stays and another one is deleted instead.
      cancel_share: share of deletes that withdraw only part of the order.
      level_target: target number of occupied levels per side; the further away it is, the more often an add becomes a
        delete or a delete an add.
      level_pull: strength of that correction.
      sweep_share: share of marketable orders larger than the best level that may trade beyond it.
      take_share: share of the others that trade with that level only; the rest is withheld and an order added instead.
      sweep_collar: ticks behind the best up to which a marketable order may trade.
      limit_share: share of marketable orders that go no further than the best and rest there.
      hidden_only, hidden_too: shares of marketable orders that trade with hidden orders only, or with them first.
      hidden_again: probability that another hidden order follows.
      hidden_inside: ticks between the best and a hidden order's price.
      half_tick: share of hidden orders priced half a tick off.
      halts_a_day: expected halts per day.
      halt_s, quote_only_s: how long quoting is halted, and how long trading remains halted after that.
      halt_deletes: share of deletes that still happen while quoting is halted.
    """

    open_s: int = 34_200
    close_s: int = 57_600
    open_price: int = 57_000
    tick: int = 100
    day_shape: tuple[float, ...] = (1.35, 1.3, 1.15, 1.0, 0.9, 0.82, 0.8, 0.8, 0.85, 0.9, 0.97, 1.1, 1.4)
    events_per_action: float = 1.06
    excite_scales_ns: tuple[float, ...] = (2.77e4, 9.71e4, 3.24e5, 1.47e6, 1.05e7, 5.85e7, 4.21e8, 3.5e9)
    excite_offspring: tuple[float, ...] = (0.0278, 0.1386, 0.1853, 0.174, 0.1178, 0.093, 0.0737, 0.0546)
    gap_edges_ns: tuple[int, ...] = (30_000, 150_000, 10_000_000)
    next_action: tuple[tuple[tuple[float, ...], ...], ...] = (
        (
            (0.329, 0.612, 0.026, 0.033),
            (0.25, 0.702, 0.017, 0.031),
            (0.298, 0.252, 0.309, 0.141),
            (0.247, 0.157, 0.069, 0.204),
        ),
        (
            (0.469, 0.414, 0.067, 0.05),
            (0.693, 0.271, 0.024, 0.012),
            (0.356, 0.284, 0.267, 0.093),
            (0.2, 0.221, 0.145, 0.168),
        ),
        (
            (0.343, 0.601, 0.02, 0.036),
            (0.678, 0.272, 0.018, 0.032),
            (0.376, 0.319, 0.252, 0.053),
            (0.446, 0.222, 0.036, 0.115),
        ),
        (
            (0.419, 0.506, 0.02, 0.055),
            (0.472, 0.453, 0.022, 0.053),
            (0.371, 0.38, 0.186, 0.063),
            (0.4, 0.357, 0.025, 0.084),
        ),
    )
    same_side: tuple[tuple[float, ...], ...] = (
        (0.60, 0.67, 0.45, 0.56),
        (0.58, 0.73, 0.71, 0.67),
        (0.72, 0.73, 0.75, 0.51),
        (0.59, 0.54, 0.65, 0.50),
    )
    market_same_side: tuple[float, ...] = (0.985, 0.99, 0.96, 0.83)
    repeat_size: tuple[tuple[float, ...], ...] = ((0.07, 0.25), (0.29, 0.76), (0.07, 0.53), (0.17, 0.21))
    spread_edges: tuple[int, ...] = (5, 10, 15, 20, 30, 40, 60)
    spread_factor: tuple[tuple[float, ...], ...] = (
        (0.61, 1.18, 2.14, 19.3),
        (0.75, 1.41, 1.82, 10.51),
        (0.86, 1.57, 1.07, 5.57),
        (0.93, 1.64, 1.15, 2.81),
        (0.99, 1.69, 1.16, 1.1),
        (1.07, 1.64, 1.05, 0.5),
        (1.07, 1.57, 2, 0.35),
        (1.11, 1.3, 3.76, 0.37),
    )
    improve: tuple[float, ...] = (0.061, 0.111, 0.122, 0.138, 0.169, 0.208, 0.278, 0.729)
    join: tuple[float, ...] = (0.219, 0.14, 0.11, 0.109, 0.116, 0.139, 0.162, 0.109)
    improve_scale: tuple[float, ...] = (0.26, 0.48, 0.61, 0.74, 0.88, 1.01, 1.21, 2.98)
    deeper_scale: tuple[float, ...] = (1.83, 1.96, 1.45, 1.3, 1.11, 0.86, 0.83, 1.28)
    improvement: Distribution = IMPROVEMENT
    deeper: Distribution = DEEPER
    shift: Distribution = SHIFT
    add_size: Distribution = ADD_SIZE
    market_size: Distribution = MARKET_SIZE
    hidden_size: Distribution = HIDDEN_SIZE
    age_rank: Distribution = AGE_RANK
    worst_share: float = 0.015
    far_ticks: int = 28
    far_patience: float = 0.925
    cancel_share: float = 0.0003
    level_target: int = 20
    level_pull: float = 0.73
    sweep_share: float = 0.200
    take_share: float = 0.300
    sweep_collar: int = 40
    limit_share: float = 0.02
    hidden_only: float = 0.33
    hidden_too: float = 0.17
    hidden_again: float = 0.19
    hidden_inside: Distribution = HIDDEN_INSIDE
    half_tick: float = 0.013
    halts_a_day: float = 0.2
    halt_s: float = 300.0
    quote_only_s: float = 20.0
    halt_deletes: float = 0.1

    def __post_init__(self):
        possible = sum(self.excite_offspring) < 1 and 0 <= self.open_s < self.close_s <= 86_400
        if not possible or self.level_target <= FEW_LEVELS:
            raise InputError(
                "the order flow cannot run",
                where="FlowParameters.excite_offspring, open_s, close_s, level_target",
                expected=f"a sum of excite_offspring < 1; 0 <= open_s < close_s <= 86400; > {FEW_LEVELS} levels",
                was=(self.excite_offspring, self.open_s, self.close_s, self.level_target),
                remedy="lower excite_offspring, correct open_s and close_s, or raise level_target",
            )
        gaps, spreads, actions = len(self.gap_edges_ns) + 1, len(self.spread_edges) + 1, len(ACTIONS)
        shapes = {"next_action": (gaps, actions, actions), "same_side": (gaps, actions), "repeat_size": (gaps, 2)}
        shapes |= {"market_same_side": (gaps,), "spread_factor": (spreads, actions)}
        shapes |= {name: (spreads,) for name in ("improve", "join", "improve_scale", "deeper_scale")}
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise InputError(
                    "a table of the order flow has the wrong shape",
                    where=f"FlowParameters.{name}",
                    expected=shape,
                    was=np.shape(getattr(self, name)),
                    remedy="give one row per band (one more than there are edges) and one column per action",
                )

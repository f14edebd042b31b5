"""Flow features for a model: what the recent stream of events was, from the past alone and beyond any context window.

Their state is advanced by a compiled loop on the host, see `lob_jax.book.flow_loop`, and event by event on the device,
see `lob_jax.generation.device.live_flow`.
"""

import enum
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from lob_jax.events.schema import Kind

CLASSES = 2 * int(Kind.CROSS)  # kinds 1..6, bid then ask of each; CONTROL events are of no class
MOST_SECONDS = 3_600.0  # a time since then is at most this, also where nothing came
MOST_EVENTS = 4_096.0  # the same for a number of events
HALF_LIVES = (16, 128, 1_024)  # events, of shares of classes
MEAN_HALF_LIVES = HALF_LIVES[:2]  # of means: over a thousand events they are nearly a clock, and mislead at later hours
DECAY_H = np.array([2 ** (-1 / events) for events in HALF_LIVES], np.float32)
RUN, MOVE = CLASSES, CLASSES + 1  # rows of `FlowState.time_ns` behind those of the classes
EVERY = CLASSES  # the row of `FlowState.sums` that counts every event
LONG_AGO_NS = -(2**62)
LEAST_ADDS = 1e-3  # decayed number of ADDs that their mean size is divided by


class Column(enum.IntEnum):
    """The first column of each group of flow features, in order; the features of a class are one for each class."""

    SECONDS = 0
    EVENTS = CLASSES
    SHARES = 2 * CLASSES
    RUN_SIGN = (2 + len(HALF_LIVES)) * CLASSES
    RUN_TRADES = RUN_SIGN + 1
    RUN_LOTS = RUN_SIGN + 2
    RUN_SECONDS = RUN_SIGN + 3
    GAPS = RUN_SIGN + 4
    MOVE_SIGN = GAPS + len(MEAN_HALF_LIVES)
    MOVE_TICKS = MOVE_SIGN + 1
    MOVE_SECONDS = MOVE_SIGN + 2
    MOVE_EVENTS = MOVE_SIGN + 3
    SPREADS = MOVE_SIGN + 4
    ADD_SIZES = SPREADS + len(MEAN_HALF_LIVES)
    TOUCHES = ADD_SIZES + len(MEAN_HALF_LIVES)


class Touch(enum.IntEnum):
    """What an event did to the best price of its side, in the order of the last groups of flow features."""

    JOINED = 0  # an ADD there
    IMPROVED = 1  # an ADD nearer to the other side
    CLEARED = 2  # a removal of all that was there


FLOW_FEATURES = Column.TOUCHES + len(Touch) * len(MEAN_HALF_LIVES)
_AS_IT_IS_F = np.zeros(FLOW_FEATURES, bool)
_AS_IT_IS_F[Column.SHARES : Column.RUN_SIGN] = True
_AS_IT_IS_F[[Column.RUN_SIGN, Column.MOVE_SIGN]] = True
_AS_IT_IS_F[Column.GAPS : Column.MOVE_SIGN] = True  # each gap is a logarithm already
_AS_IT_IS_F[Column.SPREADS :] = True  # each spread and size, too; and the rest are shares


class FlowState(NamedTuple):
    """What flow features are computed from, after some events of a day.

    Attributes:
      time_ns: int64 [CLASSES + 2], the time of the last event of each class, of the first trade of the run, and of the
        last move of the mid price; LONG_AGO_NS where there was none.
      events: float32 [CLASSES + 1], events since the last of each class, and since the last move; at most MOST_EVENTS.
      sums: float32 [CLASSES + 1, len(HALF_LIVES)], the decayed number of events of each class, and of all.
      gaps: float32 [len(MEAN_HALF_LIVES)], the decayed sum of log(1 + microseconds) of the gaps.
      run: float32 [3], sign of the last trade, trades and lots of its run; 0 where there was none.
      move: float32 [2], sign and ticks of the last move of the mid price; 0 where there was none.
      spreads: float32 [len(MEAN_HALF_LIVES)], the decayed sum of log(1 + ticks of the spread) after each event.
      add_sizes: float32 [len(MEAN_HALF_LIVES)], the decayed sum of log(1 + lots) of the ADDs.
      touches: float32 [len(Touch), len(MEAN_HALF_LIVES)], the decayed number of events of each `Touch`.
    """

    time_ns: np.ndarray
    events: np.ndarray
    sums: np.ndarray
    gaps: np.ndarray
    run: np.ndarray
    move: np.ndarray
    spreads: np.ndarray
    add_sizes: np.ndarray
    touches: np.ndarray


def blank_flow() -> FlowState:
    """Return the state before the first event of a day."""
    return FlowState(
        time_ns=np.full(CLASSES + 2, LONG_AGO_NS, np.int64),
        events=np.full(CLASSES + 1, MOST_EVENTS, np.float32),
        sums=np.zeros((CLASSES + 1, len(HALF_LIVES)), np.float32),
        gaps=np.zeros(len(MEAN_HALF_LIVES), np.float32),
        run=np.zeros(3, np.float32),
        move=np.zeros(2, np.float32),
        spreads=np.zeros(len(MEAN_HALF_LIVES), np.float32),
        add_sizes=np.zeros(len(MEAN_HALF_LIVES), np.float32),
        touches=np.zeros((len(Touch), len(MEAN_HALF_LIVES)), np.float32),
    )


def flow_names() -> list[str]:
    """Return the names of the flow features, in order."""
    classes = [f"{kind.name.lower()}_{side}" for kind in list(Kind)[: Kind.CROSS] for side in ("bid", "ask")]
    names = [f"seconds_since_{one}" for one in classes] + [f"events_since_{one}" for one in classes]
    names += [f"share_{events}_{one}" for events in HALF_LIVES for one in classes]
    names += ["run_sign", "run_trades", "run_lots", "run_seconds", *(f"gap_{events}" for events in MEAN_HALF_LIVES)]
    names += ["move_sign", "move_ticks", "move_seconds", "move_events"]
    means = ["spread", "add_size", *(touch.name.lower() for touch in Touch)]
    return [*names, *(f"{what}_{events}" for what in means for events in MEAN_HALF_LIVES)]


def flow_features(numbers: Any, *, xp: ModuleType = np) -> Any:
    """Return flow features, float32 [..., FLOW_FEATURES], named by `flow_names`, from the numbers that they describe.

    Before event i, at the time t of event i - 1, the features are
      for each class c, a kind 1..6 and a side: log(1 + seconds from the last event of c to t), and log(1 + events
        behind the last event of c), at most MOST_SECONDS and MOST_EVENTS, and that much where none came;
      for each half-life h of HALF_LIVES, with d = 2^(-1/h), and each class c: the decaying share of c,
        sum_j d^j [event i - 1 - j is of c] / sum_j d^j, over the events of the day; 0 before the first;
      of the run of trades, the latest executions, visible or hidden, with one aggressor: its sign, +1 for buyers,
        log(1 + trades), log(1 + lots), and log(1 + seconds from its first trade to t);
      for each half-life of MEAN_HALF_LIVES: sum_j d^j log(1 + microseconds of the gap of event i - 1 - j) / sum_j d^j;
      of the last event that moved the mid price, both sides being occupied before and after it: the sign,
        log(1 + ticks), log(1 + seconds from it to t), and log(1 + events behind it);
      for each of them: sum_j d^j log(1 + ticks of the spread behind event i - 1 - j) / sum_j d^j, where the spread is
        0 if a side is empty, and the mean of log(1 + lots) of the ADDs with the same weights, 0 before the first;
      for each of them, with the same weights: the shares of the ADDs that joined and that improved the best price of
        their side, 0 before the first ADD, and the share of all events that cleared it, see `Touch`. Where a side is
        empty before or after an event, it did none of these.
    The last five tell what is usual at this time of day. CONTROL events are events of no class.

    Args:
      numbers: float32 [..., FLOW_FEATURES], the same columns without the logarithms.
      xp: the array module, `numpy` or `jax.numpy`.
    """
    return xp.where(_AS_IT_IS_F, numbers, xp.log1p(xp.maximum(numbers, 0)))

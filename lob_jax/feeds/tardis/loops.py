"""The compiled loops of `feed`: check parsed rows, and merge those of depth and trades by time of arrival."""

from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import ASK, BID
from lob_jax.feeds.levels.loops import LevelRows, What
from lob_jax.jit import released

EXCHANGE_US, LOCAL_US, PRICE, AMOUNT = 2, 3, 6, 7  # rows of parsed values; the two between depend on the file:
_SNAPSHOT_WORD, _SIDE_WORD = 4, 5  # whether a row is of a snapshot, in depth only; the index of a word for the side
NS_PER_US = 1000
_LEVEL, _TRADE, _SNAPSHOT = int(What.LEVEL), int(What.TRADE), int(What.SNAPSHOT)


class Taken(NamedTuple):
    """Rows first..stop-1 of parsed values, int64 [8, R]."""

    values: np.ndarray
    first: int
    stop: int


@released
def check(values: np.ndarray, latest: int, price_step: int, size_step: int) -> tuple[bool, int, int]:
    """Check the rules across rows and columns.

    Args:
      values: int64 [8, R], the parsed columns.
      latest: the latest local time of the rows before, us.
      price_step: prices must be multiples of it.
      size_step: amounts must be multiples of it.

    Returns:
      Whether no row breaks a rule, how many prices are zero or negative, and the latest local time.
    """
    sound, not_positive = True, 0
    for i in range(values.shape[1]):
        local = values[LOCAL_US, i]
        sound &= local >= latest
        latest = max(local, latest)
        not_positive += values[PRICE, i] <= 0
    if price_step > 1 or size_step > 1:
        for i in range(values.shape[1]):
            sound &= values[PRICE, i] % price_step == 0 and values[AMOUNT, i] % size_step == 0
    return sound, not_positive, latest


@released
def merge(depth: Taken, trades: Taken, group: int, rows: LevelRows) -> int:
    """Merge rows of depth and trades by local time, trades first among equal times; a message has one time and kind.

    Args:
      depth: rows of depth.
      trades: rows of trades.
      group: the number of the message before.
      rows: filled; as long as both together.

    Returns:
      The number of the last message.
    """
    d, t, before, local = depth.first, trades.first, -1, -1
    for i in range(len(rows.what)):
        if t < trades.stop and (d == depth.stop or trades.values[LOCAL_US, t] <= depth.values[LOCAL_US, d]):
            what, values, row = _TRADE, trades.values, t
            word = values[_SIDE_WORD, t]
            side = ASK if word == 0 else BID if word == 1 else 0  # a buyer takes from the ask
            t += 1
        else:
            values, row = depth.values, d
            what = _SNAPSHOT if values[_SNAPSHOT_WORD, d] == 1 else _LEVEL
            side = BID if values[_SIDE_WORD, d] == 0 else ASK
            d += 1
        group += values[LOCAL_US, row] != local or what != before
        before, local = what, values[LOCAL_US, row]
        rows.what[i], rows.group[i], rows.side[i] = what, group, side
        rows.time_ns[i], rows.receive_ns[i] = values[EXCHANGE_US, row] * NS_PER_US, local * NS_PER_US
        rows.price[i], rows.size[i] = values[PRICE, row], values[AMOUNT, row]
    return group

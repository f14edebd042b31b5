"""Parse the prices and quantities of Binance messages exactly, all texts of a block at once in a compiled loop."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import ASK, BID
from lob_jax.feeds.reading import csv_fields
from lob_jax.feeds.reading.csv_fields import MOST_PLACES, MOST_UNITS
from lob_jax.feeds.reading.scale import PlacesMisfit, Steps

_NO_NUMBER = "a price or quantity that is not a decimal number"
_WHAT = {
    csv_fields.OUT_OF_RANGE: "a price or quantity out of range",
    csv_fields.TOO_FINE: "a price or quantity with too many decimal places",
}
_CONTENTS = np.full(2, csv_fields.DECIMAL)
_LOW = np.array([-MOST_UNITS, 0])  # a price may be negative, a quantity may not


class Texts(NamedTuple):
    """The levels of M messages as text.

    Attributes:
      lines: uint8, a line "price,quantity" for each level, of each message the bids first.
      counts: int64 [M, 2], how many bids and asks a message has.
      traded: bool [M], whether it is a trade.
      unfit: the messages whose levels cannot be numbers; they have none here.
    """

    lines: np.ndarray
    counts: np.ndarray
    traded: np.ndarray
    unfit: Sequence[int]


class Numbers(NamedTuple):
    """The levels of messages, as integers.

    Attributes:
      levels: int64 [3, R]: side, price, size.
      begin: int64 [M+1]; message m has the levels begin[m] to begin[m + 1] - 1.
      wrong: the fault of each message with a bad number, by message.
    """

    levels: np.ndarray
    begin: np.ndarray
    wrong: dict[int, str]

    def of(self, number: int) -> np.ndarray:
        """Return the levels of one message, int64 [3, R]."""
        return self.levels[:, self.begin[number] : self.begin[number + 1]]


def parse_numbers(texts: Texts, steps: Steps) -> Numbers:
    """Parse the prices and quantities of messages in units of 10**-decimals.

    A message with one bad number is completely refused.

    Raises:
      PlacesMisfit: a number does not fit guessed decimal places.
    """
    wrong = dict.fromkeys(texts.unfit, _NO_NUMBER)
    count = texts.counts.sum(axis=1)
    begin = np.concatenate([[0], np.cumsum(count)])
    prices_sizes, bad = _parse_pairs(texts.lines, int(begin[-1]), steps)
    side = np.repeat(np.tile(np.array([BID, ASK]), len(count)), texts.counts.ravel())
    levels = np.concatenate([side[None], prices_sizes])
    for row, what in bad + _misfits(levels, np.repeat(texts.traded, count), steps):
        wrong.setdefault(int(np.searchsorted(begin, row, side="right")) - 1, what)
    return Numbers(levels, begin, wrong)


def count_places(texts: Texts) -> np.ndarray:
    """Return what `csv_fields.count_places` counts for the prices and quantities of messages, int64 [2, 2, P]."""
    counts = np.zeros((2, 2, MOST_PLACES + 1), np.int64)
    csv_fields.count_places(texts.lines, _CONTENTS, counts)
    return counts


def _misfits(levels: np.ndarray, traded: np.ndarray, steps: Steps) -> list[tuple[int, str]]:
    """Return the invalid levels among int64 [3, R], with the reason; `traded` marks the rows of trades."""
    _, price, size = levels
    found = {
        "a trade of quantity 0": traded & (size == 0),
        "a price between ticks": price % max(steps.price, 1) != 0,
        "a quantity between lots": size % max(steps.size, 1) != 0,
    }
    return [(row, what) for what, rows in found.items() for row in np.flatnonzero(rows).tolist()]


def _parse_pairs(text: np.ndarray, lines: int, steps: Steps) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Parse R lines "price,quantity" to int64 [2, R], and return the bad lines with their faults."""
    values, good = np.zeros((2, lines), np.int64), np.zeros(lines, np.int64)
    bad = np.zeros((lines, 4), np.int64)
    _, rows, faults = csv_fields.parse_lines(
        text,
        _CONTENTS,
        np.array([steps.price_decimals, steps.size_decimals]),
        _LOW,
        np.full(2, MOST_UNITS),
        np.zeros(1, np.uint8),
        np.zeros(1, np.int64),
        np.zeros((2, 2), np.int64),
        values,
        good,
        bad,
    )
    for _, _, column, fault in bad[:faults].tolist() if steps.guessed else ():
        if fault in _WHAT and not (steps.price, steps.size)[column]:
            raise PlacesMisfit
    placed = np.zeros((2, lines), np.int64)
    placed[:, good[:rows]] = values[:, :rows]
    return placed, [(int(line), _WHAT.get(fault, _NO_NUMBER)) for line, _, _, fault in bad[:faults]]

"""`TokenSets`: for each token of a stream, the set of tokens that may stand in its place, as ranges of ids."""

from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.planes import PLANE

PACKED = v.VOCAB_SIZE // 8  # bytes of a set as bits


class TokenSets(NamedTuple):
    """The sets in the places of T tokens, and whether each token is in its own.

    Row t depends on the starting book, the tokens before t and the corrections up to the last complete event, but not
    on token t or a later one. Its ranges are ascending, with a gap between any two.

    Attributes:
      offset: int64 [T+1]; the ranges of row t are offset[t] .. offset[t + 1] - 1.
      first: uint16 [R], the first token of each range.
      last: uint16 [R], the last token of each range.
      outside: uint8 [T], 0 if the token is in its set, else why it is not, an `Escape`.
    """

    offset: np.ndarray
    first: np.ndarray
    last: np.ndarray
    outside: np.ndarray

    @property
    def rows(self) -> int:
        """Return T, the number of tokens."""
        return len(self.outside)

    def contains(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return whether the set in each row [n] contains a token [n], bool [n]."""
        inside = np.zeros(len(rows), np.bool_)
        _look_up(self.offset, self.first, self.last, np.asarray(rows, np.int64), np.asarray(tokens, np.int64), inside)
        return inside

    def packed(self, rows: np.ndarray) -> np.ndarray:
        """Return the sets in some rows [n] as bits, uint8 [n, V/8], in the order of `lob_jax.tokens.sets.planes`."""
        bits = np.empty((len(rows), PACKED), np.uint8)
        _pack(self.offset, self.first, self.last, np.asarray(rows, np.int64), bits)
        return bits

    def pack(self, first: int, bits: np.ndarray) -> None:
        """Write the sets in the rows from `first` on to an array uint8 [n, V/8], see `packed`."""
        _pack(self.offset, self.first, self.last, np.arange(first, first + len(bits)), bits)

    def between(self, first: int, last: int) -> "TokenSets":
        """Return rows first..last-1, with only their ranges; the arrays are views."""
        offset = self.offset[first : last + 1]
        ranges = slice(int(offset[0]), int(offset[-1]))
        return TokenSets(offset - offset[0], self.first[ranges], self.last[ranges], self.outside[first:last])


@in_place
def _look_up(
    offset: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    rows: np.ndarray,
    tokens: np.ndarray,
    inside: np.ndarray,
) -> None:
    """Write whether the ranges of each row contain a token."""
    for k in range(len(rows)):
        inside[k] = is_in(first, last, offset[rows[k]], offset[rows[k] + 1], tokens[k])


@in_place
def is_in(first: np.ndarray, last: np.ndarray, begin: int, end: int, token: int) -> bool:
    """Return whether one of the ranges begin..end-1, which ascend, contains a token, by bisection."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if last[middle] < token:
            low = middle + 1
        else:
            high = middle
    return low < end and first[low] <= token


@in_place
def _pack(offset: np.ndarray, first: np.ndarray, last: np.ndarray, rows: np.ndarray, bits: np.ndarray) -> None:
    """Write the bits of the ranges of each row, plane by plane."""
    for k in range(len(rows)):
        row = bits[k]
        row[:] = 0
        for at in range(offset[rows[k]], offset[rows[k] + 1]):
            token, end = np.int64(first[at]), np.int64(last[at]) + 1
            while token < end:
                plane = token // PLANE
                stop = min(end, (plane + 1) * PLANE)
                bit, base = np.uint8(1 << (plane % 8)), plane // 8 * PLANE - plane * PLANE
                for one in range(token, stop):
                    row[base + one] |= bit
                token = stop

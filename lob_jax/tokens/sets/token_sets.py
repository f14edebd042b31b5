"""`TokenSets`: for each token of a stream, the set of tokens that may stand in its place, as ranges of ids."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.planes import PLANE

PACKED = v.VOCAB_SIZE // 8  # bytes of a set as bits
HASHES = 1024
_ODD = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio

without_gil = functools.partial(in_place, nogil=True)  # several threads write to rows of their own


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
        self._write(np.asarray(rows, np.int64), bits)
        return bits

    def pack(self, first: int, bits: np.ndarray) -> None:
        """Write the sets in the rows from `first` on as bits, see `packed`; several threads may do so at once.

        Args:
          first: the first row.
          bits: uint8 [n, V/8], overwritten.
        """
        self._write(np.arange(first, first + len(bits)), bits)

    def _write(self, rows: np.ndarray, bits: np.ndarray) -> None:
        _pack(self.offset, self.first, self.last, rows, bits, np.full(HASHES, -1))

    def between(self, first: int, last: int) -> "TokenSets":
        """Return rows first..last-1, with only their ranges; the arrays are views."""
        offset = self.offset[first : last + 1]
        ranges = slice(int(offset[0]), int(offset[-1]))
        return TokenSets(offset - offset[0], self.first[ranges], self.last[ranges], self.outside[first:last])

    def places(self, first: int, count: int) -> "TokenSets":
        """Return `count` rows from `first` on, at least -count; those before 0 and behind the last are empty."""
        low = max(first, 0)
        high = max(min(first + count, self.rows), low)  # both may be behind the last row
        inside = self.between(low, high) if low < self.rows else self.between(self.rows, self.rows)
        before, behind = low - first, first + count - high
        offset = np.pad(inside.offset, (before, behind), mode="edge")
        return TokenSets(offset, inside.first, inside.last, np.pad(inside.outside, (before, behind)))


def join_sets(parts: Sequence[TokenSets]) -> TokenSets:
    """Return the rows of several sets, at least one, in order."""
    before = np.cumsum([0, *(part.offset[-1] for part in parts)])
    offset = np.concatenate([before[:1], *(part.offset[1:] + add for part, add in zip(parts, before, strict=False))])
    first, last, outside = (np.concatenate(columns) for columns in list(zip(*parts, strict=True))[1:])
    return TokenSets(offset, first, last, outside)


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


@without_gil
def _pack(
    offset: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    rows: np.ndarray,
    bits: np.ndarray,
    latest: np.ndarray,
) -> None:
    """Write the bits of the ranges of each row, plane by plane.

    Most sets of a window have occurred before in it: a set is copied from the latest row whose ranges have the same
    hash, if they are the same. `latest` is that row by hash, at first -1.
    """
    for k in range(len(rows)):
        row, begin, end = bits[k], offset[rows[k]], offset[rows[k] + 1]
        mixed = np.uint64(end - begin)
        for at in range(begin, end):
            mixed = mixed * np.uint64(_ODD) + np.uint64(first[at]) + (np.uint64(last[at]) << np.uint64(16))
        mixed = (mixed >> np.uint64(32)) % np.uint64(len(latest))
        other = latest[mixed]
        latest[mixed] = k
        if other >= 0 and _are_same(offset, first, last, rows[k], rows[other]):
            for at in range(len(row)):
                row[at] = bits[other, at]
            continue
        row[:] = 0
        for at in range(begin, end):
            token, stop = np.int64(first[at]), np.int64(last[at]) + 1
            while token < stop:
                plane = token // PLANE
                edge = min(stop, (plane + 1) * PLANE)
                bit, base = np.uint8(1 << (plane % 8)), plane // 8 * PLANE - plane * PLANE
                for one in range(token, edge):
                    row[base + one] |= bit
                token = edge


@inner
def _are_same(offset: np.ndarray, first: np.ndarray, last: np.ndarray, one: int, other: int) -> bool:
    """Return whether two rows have the same ranges."""
    count, begin, apart = offset[one + 1] - offset[one], offset[one], offset[other] - offset[one]
    if offset[other + 1] - offset[other] != count:
        return False
    for at in range(begin, begin + count):
        if first[at] != first[at + apart] or last[at] != last[at + apart]:
            return False
    return True

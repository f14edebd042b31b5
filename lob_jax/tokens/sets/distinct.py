"""`DistinctSets`: the sets in the places of tokens, each kept once, since most occur again within a few events."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, inner, released
from lob_jax.tokens.sets.token_sets import PACKED, TokenSets, write_set

HASHES = 4096
_ODD = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio


class DistinctSets(NamedTuple):
    """The sets in the places of T tokens.

    Attributes:
      row: int32 [T], which of U sets is that of a token; a set may be there twice.
      offset: int64 [U+1]; the ranges of set u are offset[u] .. offset[u + 1] - 1.
      first: uint16 [R], the first token of each range.
      last: uint16 [R], the last token of each range.
    """

    row: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @property
    def rows(self) -> int:
        """Return T, the number of tokens."""
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of all arrays."""
        return sum(array.nbytes for array in self)

    def places(self, first: int, count: int) -> "DistinctSets":
        """Return the sets of `count` tokens from `first` on, at least -count; empty before 0 and behind the last."""
        low, high = rows_there(first, count, self.rows)
        row, sets = np.full(count, len(self.offset) - 1, np.int32), len(self.offset)  # one more set, without ranges
        row[low - first : high - first] = self.row[low:high]
        found = np.zeros(min(count, sets) + 1, np.int64), np.empty_like(self.first), np.empty_like(self.last)
        number = _pick(self.offset, self.first, self.last, np.full(sets, -1, np.int32), row, *found)
        ranges = int(found[0][number])
        return DistinctSets(row, found[0][: number + 1], found[1][:ranges], found[2][:ranges])

    def expanded(self, outside: np.ndarray) -> TokenSets:
        """Return the same sets with ranges for each token; `outside` as in `TokenSets`, uint8 [T]."""
        ranges = np.diff(self.offset)[self.row]
        offset = np.concatenate([[0], np.cumsum(ranges)])
        at = np.arange(offset[-1]) + np.repeat(self.offset[self.row] - offset[:-1], ranges)
        return TokenSets(offset, self.first[at], self.last[at], outside)

    def packed(self) -> np.ndarray:
        """Return the sets as bits, uint8 [T, V/8], in the order of `lob_jax.tokens.sets.planes`."""
        bits = np.empty((self.rows, PACKED), np.uint8)
        self.pack(0, bits)
        return bits

    def pack(self, first: int, bits: np.ndarray) -> None:
        """Write the sets of the tokens from `first` on as bits, see `packed`; several threads may do so at once.

        Args:
          first: the first token.
          bits: uint8 [n, V/8], overwritten.
        """
        written = np.full(len(self.offset) - 1, -1, np.int32)
        _pack(self.row[first : first + len(bits)], self.offset, self.first, self.last, written, bits)


def rows_there(first: int, count: int, rows: int) -> tuple[int, int]:
    """Return the first of `count` rows from `first` on that there is among `rows`, and the one behind the last."""
    low = min(max(first, 0), rows)
    return low, max(min(first + count, rows), low)


def distinct(sets: TokenSets) -> DistinctSets:
    """Return sets each kept once: twice only if another of the same hash came in between."""
    row, offset = np.zeros(sets.rows, np.int32), np.zeros(sets.rows + 1, np.int64)
    ranges, latest = (np.empty_like(sets.first), np.empty_like(sets.last)), np.full(HASHES, -1, np.int32)
    count = _find(sets.offset, sets.first, sets.last, latest, row, offset, *ranges)
    first, last = (column[: offset[count]].copy() for column in ranges)
    return DistinctSets(row, offset[: count + 1].copy(), first, last)


def joined_shapes(parts: Sequence[DistinctSets]) -> list[tuple[tuple[int], np.dtype]]:
    """Return the shape and the dtype of each array of several parts, at least one, joined."""
    rows, offsets, ranges = (sum(len(part[at]) for part in parts) for at in range(3))
    counts = rows, offsets - len(parts) + 1, ranges, ranges
    return [((count,), array.dtype) for count, array in zip(counts, parts[0], strict=True)]


def join_sets(parts: Sequence[DistinctSets], joined: DistinctSets) -> None:
    """Write the tokens of several parts, at least one, in order, to arrays of `joined_shapes`."""
    row, sets, ranges = 0, 0, 0
    joined.offset[0] = 0
    for part in parts:
        rows, more, ends = row + part.rows, sets + len(part.offset) - 1, ranges + len(part.first)
        np.add(part.row, np.int32(sets), out=joined.row[row:rows])
        np.add(part.offset[1:], ranges, out=joined.offset[sets + 1 : more + 1])
        joined.first[ranges:ends], joined.last[ranges:ends] = part.first, part.last
        row, sets, ranges = rows, more, ends


@in_place
def _find(
    offset: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    latest: np.ndarray,
    row: np.ndarray,
    found_offset: np.ndarray,
    found_first: np.ndarray,
    found_last: np.ndarray,
) -> int:
    """Write each set once, and which one each row has; return their number.

    `latest` is the newest of them by hash, at first -1; it is taken if its ranges are the same.
    """
    count, end = 0, 0
    for t in range(len(row)):
        # Of a slice, an index is not checked for being negative, so that the loops over it are vectorized.
        firsts, lasts = first[offset[t] : offset[t + 1]], last[offset[t] : offset[t + 1]]
        mixed = np.uint64(len(firsts))
        for at in range(len(firsts)):
            mixed = (mixed + (np.uint64(firsts[at]) | (np.uint64(lasts[at]) << np.uint64(16)))) * np.uint64(_ODD)
        mixed = (mixed >> np.uint64(32)) % np.uint64(len(latest))
        other = latest[mixed]
        if other >= 0:
            begin, stop = found_offset[other], found_offset[other + 1]
            if _are_same(firsts, found_first[begin:stop]) and _are_same(lasts, found_last[begin:stop]):
                row[t] = other
                continue
        _copy(firsts, found_first[end:])
        _copy(lasts, found_last[end:])
        end += len(firsts)
        row[t] = latest[mixed] = count
        count += 1
        found_offset[count] = end
    return count


@inner
def _are_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays are equal."""
    if len(one) != len(other):
        return False
    unlike = 0
    for at in range(len(one)):
        unlike |= one[at] ^ other[at]
    return unlike == 0


@inner
def _copy(from_: np.ndarray, to: np.ndarray) -> None:
    """Copy an array to the beginning of another one."""
    for at in range(len(from_)):
        to[at] = from_[at]


@in_place
def _pick(
    offset: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    number: np.ndarray,
    row: np.ndarray,
    found_offset: np.ndarray,
    found_first: np.ndarray,
    found_last: np.ndarray,
) -> int:
    """Write the sets that some rows have, and number the rows anew; return the number of sets.

    `number` is the new number of each set, at first -1; the one behind the last has no ranges.
    """
    count, end = 0, 0
    for t in range(len(row)):
        one = row[t]
        if number[one] < 0:
            number[one] = count
            if one < len(offset) - 1:
                begin, stop = offset[one], offset[one + 1]
                _copy(first[begin:stop], found_first[end:])
                _copy(last[begin:stop], found_last[end:])
                end += stop - begin
            count += 1
            found_offset[count] = end
        row[t] = number[one]
    return count


@released  # several threads write to rows of their own
def _pack(
    row: np.ndarray, offset: np.ndarray, first: np.ndarray, last: np.ndarray, written: np.ndarray, bits: np.ndarray
) -> None:
    """Write the bits of each row's set: from its ranges once, and then from where it is, `written`, at first -1."""
    for t in range(len(row)):
        one = row[t]
        if written[one] >= 0:
            here, there = bits[t], bits[written[one]]
            for at in range(len(here)):
                here[at] = there[at]
        else:
            written[one] = t
            write_set(first, last, offset[one], offset[one + 1], bits[t])

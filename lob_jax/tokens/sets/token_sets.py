"""`TokenSets`: for each token of a stream, the set of tokens that may stand in its place, as ranges of ids."""

from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.planes import PLANE

PACKED = v.VOCAB_SIZE // 8  # bytes of a set as bits
_PLANE_V, _PLACE_V = np.divmod(np.arange(v.VOCAB_SIZE), PLANE)
_BYTE_V, _BIT_V = (_PLANE_V // 8 * PLANE + _PLACE_V).astype(np.uint16), (1 << _PLANE_V % 8).astype(np.uint8)
_ONE, _EIGHT, _PLANE = np.uint64(1), np.uint64(8), np.uint64(PLANE)


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
    """Write the bits of each row."""
    for k in range(len(rows)):
        write_set(first, last, offset[rows[k]], offset[rows[k] + 1], bits[k])


@inner
def write_set(first: np.ndarray, last: np.ndarray, begin: int, end: int, bits: np.ndarray) -> None:
    """Write the bits of the ranges begin..end-1, plane by plane.

    Of unsigned numbers, a quotient takes a shift, and an index is not checked for being negative: four times as fast.
    """
    bits[:] = 0
    firsts, lasts = first[begin:end], last[begin:end]
    for at in range(len(firsts)):
        token, stop = np.uint64(firsts[at]), np.uint64(lasts[at]) + _ONE
        if stop - token == _ONE:  # as most ranges are, those of levels
            bits[_BYTE_V[token]] |= _BIT_V[token]
            continue
        while token < stop:
            plane = token // _PLANE
            edge = min(stop, (plane + _ONE) * _PLANE)
            bit = np.uint8(1 << (plane % _EIGHT))
            low = plane // _EIGHT * _PLANE + token - plane * _PLANE
            part = bits[np.int64(low) : np.int64(low + edge - token)]
            for one in range(len(part)):
                part[one] |= bit
            token = edge

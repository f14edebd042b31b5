"""Pack token sets as the bits that `lob_jax.tokens.sets.planes` describes."""

import numpy as np

from lob_jax.jit import in_place
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.planes import PLANE
from lob_jax.tokens.sets.token_sets import TokenSets


def pack_sets(sets: TokenSets, rows: np.ndarray) -> np.ndarray:
    """Return the sets in some rows [n] as bits, uint8 [n, V/8]."""
    bits = np.zeros((len(rows), v.VOCAB_SIZE // 8), np.uint8)
    _set_ranges(sets.offset, sets.first, sets.last, np.asarray(rows, np.int64), bits)
    return bits


@in_place
def _set_ranges(offset: np.ndarray, first: np.ndarray, last: np.ndarray, rows: np.ndarray, bits: np.ndarray) -> None:
    """Set the bits of the ranges of each row, plane by plane."""
    for k in range(len(rows)):
        row = bits[k]
        for at in range(offset[rows[k]], offset[rows[k] + 1]):
            token, end = np.int64(first[at]), np.int64(last[at]) + 1
            while token < end:
                plane = token // PLANE
                stop = min(end, (plane + 1) * PLANE)
                bit, base = np.uint8(1 << (plane % 8)), plane // 8 * PLANE - plane * PLANE
                for one in range(token, stop):
                    row[base + one] |= bit
                token = stop

"""Sets as ranges: their bits and members against NumPy, and parts of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.tokens.sets.planes import pack, unpack
from lob_jax.tokens.vocabulary import VOCAB_SIZE
from tests.tokens.sets.made import members, sets_of

# Rows: two ranges at the ends, nothing, all, one token, two ranges within one byte.
ROWS = [[(0, 0), (9993, 9999)], [], [(0, 9999)], [(4242, 4242)], [(8, 9), (12, 13)]]


def test_a_token_is_a_bit_of_a_byte():
    bits = sets_of(ROWS).packed(np.arange(5))
    assert bits.shape == (5, 1250) and bits.dtype == np.uint8
    assert not bits[1].any() and (bits[2] == 255).all()
    assert np.flatnonzero(bits[3]).tolist() == [4 * 125 + 242 % 125] and bits[3].sum() == 1 << 1
    expected = np.zeros((1, VOCAB_SIZE), bool)
    expected[0, [3_000 + 2 * 125 + 7, 9_999]] = True
    (packed,) = pack(expected)
    assert {at: int(packed[at]) for at in np.flatnonzero(packed)} == {3 * 125 + 7: 1 << 2, 1_249: 1 << 7}


@settings(max_examples=60)
@given(
    cuts=st.lists(st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=8, unique=True), min_size=1, max_size=5),
    chosen=st.lists(st.integers(0, 4), max_size=6),
)
def test_bits_and_members_are_those_of_the_ranges(cuts, chosen):
    rows = [list(zip(*[iter(sorted(cut)[: len(cut) // 2 * 2])] * 2, strict=True)) for cut in cuts]
    chosen = np.array([row % len(rows) for row in chosen], int)
    sets, allowed = sets_of(rows), members(rows)
    np.testing.assert_array_equal(unpack(sets.packed(chosen)), allowed[chosen])
    np.testing.assert_array_equal(sets.packed(chosen), pack(allowed[chosen]))
    edges = np.clip([edge + by for row in rows for pair in row for edge in pair for by in (-1, 0, 1)], 0, 9999)
    for row in range(len(rows)):
        np.testing.assert_array_equal(sets.contains(np.full(len(edges), row), edges), allowed[row, edges.astype(int)])


@pytest.mark.parametrize(("first", "last"), [(0, 5), (1, 4), (2, 2), (3, 5)])
def test_a_part_has_the_rows_between(first, last):
    sets, allowed = sets_of(ROWS), members(ROWS)
    part = sets.between(first, last)
    assert part.rows == last - first and part.offset[0] == 0 and part.offset[-1] == len(part.first) == len(part.last)
    np.testing.assert_array_equal(unpack(part.packed(np.arange(last - first))), allowed[first:last])
    np.testing.assert_array_equal(part.outside, sets.outside[first:last])
    assert np.shares_memory(part.first, sets.first) or not len(part.first)

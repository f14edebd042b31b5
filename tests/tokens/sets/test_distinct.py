"""Sets kept once: their bits against NumPy, parts of them, and several of them together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.tokens.sets.distinct import HASHES, DistinctSets, distinct, join_sets, joined_shapes
from lob_jax.tokens.sets.planes import pack, unpack
from lob_jax.tokens.sets.token_sets import PACKED
from lob_jax.tokens.vocabulary import VOCAB_SIZE
from tests.tokens.sets.made import members, sets_of

# Rows: two ranges at the ends, nothing, all, one token, two ranges within one byte, three planes, and some again.
KINDS = [[(0, 0), (9993, 9999)], [], [(0, 9999)], [(4242, 4242)], [(8, 9), (12, 13)], [(124, 250)]]
ROWS = [KINDS[kind] for kind in (0, 1, 0, 2, 3, 4, 5, 1, 4, 0)]


def test_a_set_is_kept_once():
    found = distinct(sets_of(ROWS))
    assert found.row.tolist() == [0, 1, 0, 2, 3, 4, 5, 1, 4, 0]
    assert found.offset.tolist() == [0, 2, 2, 3, 4, 6, 7]
    np.testing.assert_array_equal(unpack(found.packed()), members(ROWS))
    assert found.nbytes == 4 * 10 + 8 * 7 + 2 * 2 * 7


@settings(max_examples=60)
@given(
    cuts=st.lists(st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=8, unique=True), min_size=1, max_size=5),
    chosen=st.lists(st.integers(0, 4), max_size=12),
)
def test_bits_are_those_of_the_ranges(cuts, chosen):
    kinds = [list(zip(*[iter(sorted(cut)[: len(cut) // 2 * 2])] * 2, strict=True)) for cut in cuts]
    rows = [kinds[kind % len(kinds)] for kind in chosen]
    found = distinct(sets_of(rows))
    assert len(found.offset) - 1 == len({tuple(row) for row in rows})
    np.testing.assert_array_equal(found.packed(), pack(members(rows)))


def test_sets_that_differ_in_one_range_do_not_replace_each_other():
    assert len(distinct(sets_of([[(0, last)] for last in (2, 1, 2, 3, 1)])).offset) - 1 == 3


def test_a_set_is_taken_from_another_row_only_if_it_is_the_same():
    """Of more sets than there are hashes, which differ in where a range begins, or ends, or how many there are."""
    firsts = [[(first, 9_998)] for first in range(HASHES)]
    lasts = [[(1, last)] for last in range(2, HASHES)]
    numbers = [[(first, first) for first in range(0, 2 * count, 2)] for count in range(64)]
    rows = [*firsts, *lasts, *numbers]
    chosen = [rows[row] for row in np.random.default_rng(0).permutation(len(rows))]
    found = distinct(sets_of(chosen))
    for at in range(0, len(chosen), 512):
        bits = np.full((len(chosen[at : at + 512]), PACKED), 255, np.uint8)
        found.pack(at, bits)
        np.testing.assert_array_equal(bits, pack(members(chosen[at : at + 512])))


@pytest.mark.parametrize(
    ("first", "count"), [(0, 10), (-3, 5), (-1, 12), (2, 2), (3, 0), (6, 9), (10, 4), (12, 3), (-2, 2)]
)
def test_places_outside_are_empty(first, count):
    found, allowed = distinct(sets_of(ROWS)), members(ROWS)
    part, rows = found.places(first, count), np.arange(first, first + count)
    inside = (rows >= 0) & (rows < len(ROWS))
    bits = unpack(part.packed())
    assert part.rows == count and len(bits) == count
    np.testing.assert_array_equal(bits[inside], allowed[rows[inside]])
    assert not bits[~inside].any()
    kinds = {tuple(ROWS[row]) for row in rows[inside]} | ({()} if (~inside).any() else set())
    assert len(kinds) <= len(part.offset) - 1 <= len(kinds) + 1, "only the sets that are in place are kept"
    assert part.offset[-1] == len(part.first) == len(part.last)


def test_parts_are_joined_in_order():
    found, allowed = distinct(sets_of(ROWS)), members(ROWS)
    parts = [found.places(3, 5), found.places(-1, 3), found.places(0, 10)]
    both = DistinctSets(*(np.empty(*of) for of in joined_shapes(parts)))
    join_sets(parts, both)
    np.testing.assert_array_equal(
        unpack(both.packed()), np.concatenate([allowed[3:8], 0 * allowed[:1], allowed[:2], allowed])
    )
    assert both.row.dtype == np.int32 and both.offset.dtype == np.int64

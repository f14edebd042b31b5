import numpy as np

from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.packing import pack_sets
from lob_jax.tokens.sets.planes import pack
from lob_jax.tokens.sets.token_sets import TokenSets


def test_ranges_become_the_bits_of_their_tokens():
    ranges = [[(0, 9_999)], [], [(3, 3), (999, 1_000), (1_124, 1_126), (7_000, 8_124)], [(9_999, 9_999)]]
    offset = np.cumsum([0, *map(len, ranges)])
    first, last = (np.array([one[k] for row in ranges for one in row], np.uint16) for k in (0, 1))
    sets = TokenSets(offset, first, last, np.zeros(4, np.uint8))
    expected = np.zeros((4, v.VOCAB_SIZE), bool)
    for row, parts in enumerate(ranges):
        for begin, end in parts:
            expected[row, begin : end + 1] = True
    np.testing.assert_array_equal(pack_sets(sets, np.arange(4)), pack(expected))
    np.testing.assert_array_equal(pack_sets(sets, np.array([2, 0])), pack(expected[[2, 0]]))


def test_a_token_is_a_bit_of_a_byte():
    sets = np.zeros((1, v.VOCAB_SIZE), bool)
    sets[0, [3_000 + 2 * 125 + 7, 9_999]] = True
    (bits,) = pack(sets)
    assert {at: int(bits[at]) for at in np.flatnonzero(bits)} == {3 * 125 + 7: 1 << 2, 1_249: 1 << 7}

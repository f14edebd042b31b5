"""Sets as records store them: the edges that change, and the sets that come back from them."""

import numpy as np
import pytest

from lob_jax.data.records.stored_sets import read_sets, stored
from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.token_sets import TokenSets


def sets_of(rows):
    """Return sets of tokens, given as a list for each place."""
    masks = np.zeros((len(rows), v.VOCAB_SIZE + 2), np.int8)
    for mask, row in zip(masks, rows, strict=True):
        mask[np.array(row, int) + 1] = 1
    edges = np.diff(masks, axis=1)
    (row, first), (_, end) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    offset = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])
    outside = np.arange(len(rows)).astype(np.uint8)
    return TokenSets(offset, first.astype(np.uint16), (end - 1).astype(np.uint16), outside)


def assert_same(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        assert (a.dtype, name) == (b.dtype, name)
        np.testing.assert_array_equal(a, b, name)


@pytest.mark.parametrize("count", [0, 1, 80])
def test_sets_come_back_as_they_were(count):
    rng, rows, row = np.random.default_rng(count), [], np.zeros(v.VOCAB_SIZE, bool)
    for t in range(count):
        if t % 9 == 0:
            row = rng.random(v.VOCAB_SIZE) < rng.choice([0, 0.01, 0.5, 1])
        row[rng.integers(0, v.VOCAB_SIZE, rng.integers(0, 4))] ^= True
        row[[0, -1]] = rng.random(2) < 0.5
        rows.append(np.flatnonzero(row))
    sets = sets_of(rows)
    assert_same(read_sets(stored(sets)), sets)


def test_only_changes_are_stored():
    columns = stored(sets_of([[5, 6, 7, 100], [5, 6, 7, 100], [5, 7, 100], [], [v.VOCAB_SIZE - 1]]))
    assert columns["sets_changed"].tolist() == [4, 0, 2, 6, 2]
    assert columns["sets_edge"].tolist() == [5, 8, 100, 101, 6, 7, 5, 6, 7, 8, 100, 101, v.VOCAB_SIZE - 1, v.VOCAB_SIZE]
    assert columns["sets_outside"].tolist() == list(range(5))
    assert [one.dtype for one in columns.values()] == [np.uint16, np.uint16, np.uint8]


def test_a_record_without_sets_is_told():
    with pytest.raises(InputError, match="do not hold the sets") as caught:
        read_sets({"tokens": np.zeros(1, np.uint16)})
    assert "mode=prepare" in caught.value.remedy

import lzma

import numpy as np
import pytest

from lob_jax.counts.contexts import CodeSets
from lob_jax.counts.decisions import Prepared
from lob_jax.evaluation.likelihood.compressors import compressed_bits, packed_columns
from lob_jax.tokens.exact import ExactTokenizer
from tests.counts.conftest import lively_day, record_of

TOKENIZER = ExactTokenizer()


def unpacked(column):
    return np.frombuffer(column, np.uint8).reshape(8, -1).T.copy().view("<i8")[:, 0]


def test_the_columns_hold_the_events():
    sets = CodeSets.of(TOKENIZER.grammar)
    records = [
        Prepared.of(record_of(seed, 90, TOKENIZER, lead=lead), TOKENIZER, sets) for seed, lead in ((1, 0), (2, 15))
    ]
    action, price, size, gap = packed_columns(records)
    days = [lively_day(seed, 90).events for seed in (1, 2)]
    kind, sides = (np.concatenate([getattr(days[0], name), getattr(days[1], name)[15:]]) for name in ("kind", "side"))
    control = kind == 7
    found = np.frombuffer(action, np.uint8).astype(int)
    assert np.array_equal(found[~control] // 2 + 1, kind[~control])
    assert np.array_equal(1 - 2 * (found[~control] % 2), sides[~control])
    assert (found[control] >= 12).all()
    assert np.array_equal(np.cumsum(unpacked(price)), np.concatenate([days[0].price, days[1].price[15:]]))
    assert np.array_equal(unpacked(size), np.concatenate([days[0].size, days[1].size[15:]]))
    assert np.array_equal(unpacked(gap)[1:90], np.diff(days[0].time_ns))


def test_bits_are_those_that_the_test_split_adds():
    train, test = [record_of(1, 400, TOKENIZER)], [record_of(2, 300, TOKENIZER, lead=100)]
    found = compressed_bits(train, test, TOKENIZER)
    sets = CodeSets.of(TOKENIZER.grammar)
    first, second = (Prepared.of(one, TOKENIZER, sets) for one in (*train, *test))
    length = [
        sum(len(lzma.compress(column, preset=9 | lzma.PRESET_EXTREME)) for column in packed_columns(records))
        for records in ([first, second], [first])
    ]
    assert found["xz"] == pytest.approx(8 * (length[0] - length[1]) / 200)
    assert 5 < found["zstd"] < 100
    assert compressed_bits(train, train, TOKENIZER)["zstd"] < 0.3 * found["zstd"]  # what repeats is nearly free

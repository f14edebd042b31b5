import numpy as np
import pytest

from lob_jax.feeds.reading.order_table import (
    ABSENT,
    EXTRA,
    PRICE,
    SIDE,
    SIZE,
    find,
    insert,
    new_table,
    remove,
    room_for,
)
from lob_jax.jit import njit

INSERT, REMOVE, FIND = range(3)


@njit
def play(table, action, key, value, answer):
    for i in range(len(action)):
        row = find(table, key[i])
        answer[i] = ABSENT if row == ABSENT else table.values[row, PRICE]
        if action[i] == INSERT:
            row = insert(table, key[i])
            table.values[row, SIDE], table.values[row, PRICE] = 1, value[i]
            table.values[row, SIZE], table.values[row, EXTRA] = -value[i], key[i]
        elif action[i] == REMOVE and row != ABSENT:
            remove(table, row)


@njit
def lookup(table, keys, out):
    for i in range(len(keys)):
        row = find(table, keys[i])
        out[i] = ABSENT
        if row != ABSENT:
            out[i] = table.values[row]


def contents(table):
    used = table.state == 1
    return dict(zip(table.keys[used].tolist(), table.values[used].tolist(), strict=True))


def keys_of(style, rng, n):
    if style == "few":
        return rng.integers(-3, 30, n)
    if style == "rising":
        return np.arange(n) * 2 - rng.integers(0, 40, n) * 2
    if style == "far apart":  # the same low bits, and the two ends of uint64
        pool = np.concatenate([np.arange(40) << 40, [0, -1, 2**63 - 1, -(2**63)]])
        return rng.choice(pool, n)
    return rng.integers(-(2**63), 2**63 - 1, n)


@pytest.mark.parametrize("style", ["few", "rising", "far apart", "any"])
@pytest.mark.parametrize("blocks", [1, 20])
def test_a_table_holds_what_a_dict_holds(style, blocks):
    rng = np.random.default_rng(7)
    table, expected = new_table(1), {}
    for _ in range(blocks):
        n = 400
        action, key = rng.choice(3, n, p=[0.45, 0.4, 0.15]), keys_of(style, rng, n)
        value, answer = rng.integers(0, 10**9, n), np.empty(n, np.int64)
        table = room_for(table, n)
        play(table, action, key, value, answer)
        for a, k, v, got in zip(action.tolist(), key.tolist(), value.tolist(), answer.tolist(), strict=True):
            assert got == (expected[k][1] if k in expected else ABSENT)
            if a == INSERT:
                expected[k] = [1, v, -v, k]
            elif a == REMOVE:
                expected.pop(k, None)
        assert contents(table) == expected and table.used[0] == len(expected)
    keys = np.array(sorted(expected), np.int64)
    found = np.empty((len(keys), 4), np.int64)
    lookup(table, keys, found)
    assert found.tolist() == [expected[k] for k in keys.tolist()]


def test_every_row_may_be_taken_out_of_a_chain_that_wraps_round_the_end():
    table = new_table(8)
    rng = np.random.default_rng(1)
    pool = rng.integers(-(2**63), 2**63 - 1, 4000)
    home = (pool.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)).view(np.int64) & 15
    at_the_end = pool[home >= 14][:8]
    answer = np.empty(1, np.int64)
    for gone in range(8):
        table = new_table(8)
        play(table, np.full(8, INSERT), at_the_end, np.arange(8), np.empty(8, np.int64))
        assert table.state[0] == 1, "the chain must wrap"
        play(table, np.full(1, REMOVE), at_the_end[gone : gone + 1], np.zeros(1, np.int64), answer)
        left = np.delete(at_the_end, gone)
        found = np.empty((7, 4), np.int64)
        lookup(table, left, found)
        assert found[:, EXTRA].tolist() == left.tolist()


def test_room_is_made_before_a_table_is_more_than_half_full():
    table = new_table(8)
    assert len(table.keys) == 16
    assert room_for(table, 8) is table
    larger = room_for(table, 9)
    assert len(larger.keys) == 32 and len(table.keys) == 16


def test_a_larger_copy_keeps_every_order_and_leaves_the_old_table_alone():
    table = new_table(8)
    keys = np.array([0, -1, 5, 2**62], np.int64)
    play(table, np.full(4, INSERT), keys, np.arange(4), np.empty(4, np.int64))
    before = contents(table)
    larger = room_for(table, 1000)
    assert contents(larger) == before == contents(table) and len(before) == 4

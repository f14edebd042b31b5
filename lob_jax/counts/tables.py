"""The counts of fitted chains as flat arrays, from which compiled code computes the distribution of a decision."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.counts.levels import Level, Smoothing
from lob_jax.jit import inner, njit

LONGEST = 6  # items of the longest context


class Tables(NamedTuple):
    """The chains of a model; a chain's row k is its contexts of k items.

    Attributes:
      context: uint64 [C], hashes, ascending within a row.
      passed: float64 [C], the factor of the distribution given one item less.
      entry: int64 [C + 1], where the entries of each context begin.
      symbol: int64 [M], by entry.
      own: float64 [M], the probability that the context itself gives to the symbol.
      row: int64 [N, LONGEST + 1, 2], first context of each row and the one after its last; equal if it is not used.
      item: int64 [N, LONGEST], the items that longer contexts add.
      length: int64 [N], items of the longest row in use.
    """

    context: np.ndarray
    passed: np.ndarray
    entry: np.ndarray
    symbol: np.ndarray
    own: np.ndarray
    row: np.ndarray
    item: np.ndarray
    length: np.ndarray


Fitted = Sequence[tuple[int, Level, Smoothing]]


def build_tables(chains: Sequence[tuple[Sequence[int], Fitted, np.ndarray]]) -> Tables:
    """Return the tables of fitted chains.

    Args:
      chains: for each chain, the columns of its items, its levels, and the symbols of the samples they were counted on.
    """
    row = np.zeros((len(chains), LONGEST + 1, 2), np.int64)
    item, length = np.zeros((len(chains), LONGEST), np.int64), np.zeros(len(chains), np.int64)
    context, passed, sizes, symbols, own = [np.zeros(0, np.uint64)], [], [], [], []
    done = 0
    for n, (columns, levels, symbol) in enumerate(chains):
        item[n, : len(columns)] = columns
        for k, level, smoothing in levels:
            order = np.argsort(level.of_pair, kind="stable")
            context.append(level.context)
            passed.append(level.given_up(np.arange(len(level.context)), smoothing))
            sizes.append(np.bincount(level.of_pair, minlength=len(level.context)))
            symbols.append(symbol[level.sample[order]])
            off = np.array([0.0, *smoothing[:3]])[np.minimum(level.count, 3)]
            share = (1 - smoothing.share) * (level.count - off) / level.total[level.of_pair]
            own.append(share[order])
            row[n, k] = done, done + len(level.context)
            done += len(level.context)
            length[n] = max(length[n], k)
    return Tables(
        context=np.concatenate(context),
        passed=_joined(passed, np.float64),
        entry=np.concatenate([[0], np.cumsum(_joined(sizes, np.int64))]).astype(np.int64),
        symbol=_joined(symbols, np.int64),
        own=_joined(own, np.float64),
        row=row,
        item=item,
        length=length,
    )


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


@inner
def extend(hashed: int, value: int) -> int:
    """Extend a hash by a value, uint64: `levels.mix` of one number."""
    z = np.uint64(hashed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(value) + np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit
def hash_contexts(start: np.ndarray, items: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the hashes of the contexts of 0 to K items of each sample, uint64 [K + 1, N].

    Args:
      start: int64 [N], the decision and its alternatives.
      items: int64 [N, I].
      columns: int64 [K], the items in the order in which longer contexts add them.
    """
    hashes = np.empty((len(columns) + 1, len(start)), np.uint64)
    for i in range(len(start)):
        hashes[0, i] = extend(np.uint64(0), start[i])
        for k in range(len(columns)):
            hashes[k + 1, i] = extend(hashes[k, i], items[i, columns[k]])
    return hashes


@inner
def find_context(tables: Tables, chain: int, k: int, hashed: int) -> int:
    """Return the index of a chain's context of k items by its hash, -1 if it was not seen."""
    low, high = tables.row[chain, k, 0], tables.row[chain, k, 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if tables.context[middle] < hashed:
            low = middle + 1
        else:
            high = middle
    return low if low < end and tables.context[low] == hashed else -1


@inner
def spread(tables: Tables, chain: int, start: int, items: np.ndarray, p: np.ndarray) -> int:
    """Turn the distribution of a decision without any counts into that of a chain.

    Args:
      tables: the counts.
      chain: the chain.
      start: the decision and its alternatives, as in `hash_contexts`.
      items: int64 [I], the items at hand.
      p: float64 [S]; changed in place.

    Returns:
      The number of items of the longest context that was seen, -1 if none was.
    """
    hashed, deepest = extend(np.uint64(0), start), -1
    for k in range(tables.length[chain] + 1):
        if k > 0:
            hashed = extend(hashed, items[tables.item[chain, k - 1]])
        if tables.row[chain, k, 0] == tables.row[chain, k, 1]:
            continue
        low = find_context(tables, chain, k, hashed)
        if low < 0:
            break  # longer contexts were not seen either
        deepest = k
        for s in range(len(p)):
            p[s] *= tables.passed[low]
        for e in range(tables.entry[low], tables.entry[low + 1]):
            p[tables.symbol[e]] += tables.own[e]
    return deepest

"""Token sets that records hold, for tokens that do not give their events back: what changes from one set to the next.

The edges of a set are the first token of each of its ranges, and the token after the last. An event leaves most of a
book as it is, so that consecutive sets have most of their edges in common, and a record stores the others.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.jit import in_place, inner
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.tokenizer import Ability, Tokenizer

COLUMNS = {"sets_changed": np.dtype(np.uint16), "sets_edge": np.dtype(np.uint16), "sets_outside": np.dtype(np.uint8)}
_NO_EDGE = 2**16


def stores_sets(tokenizer: Tokenizer | type[Tokenizer]) -> bool:
    """Return whether records hold the sets of their tokens, since these do not determine the book before each event."""
    return Ability.EVENTS in tokenizer.lacks


def stored(sets: TokenSets) -> dict[str, np.ndarray]:
    """Return sets as columns of a record.

    Returns:
      sets_changed uint16 [T], how many edges a set and the one before it do not have in common;
      sets_edge uint16 [C], these edges of all sets, ascending for each;
      sets_outside uint8 [T], see `TokenSets`.
    """
    edges = np.stack([sets.first, sets.last + 1], axis=1).ravel()
    changed, edge = np.zeros(sets.rows, np.uint16), np.zeros(2 * len(edges), np.uint16)
    count = _differences(sets.offset, edges, changed, edge)
    return dict(zip(COLUMNS, (changed, edge[:count].copy(), sets.outside), strict=True))


def read_sets(record: Mapping[str, Any]) -> TokenSets:
    """Return the sets that a record holds.

    Raises:
      InputError: it holds none, since it was prepared by an earlier version.
    """
    if not record.keys() >= COLUMNS.keys():
        raise InputError(
            "the records do not hold the sets of tokens that the book allows",
            where="a record of the prepared records",
            expected=", ".join(COLUMNS),
            was=", ".join(record),
            remedy="run --mode=prepare with this config and --workdir: it keeps the records beside new ones",
        )
    changed, edge, outside = (np.array(record[name]) for name in COLUMNS)  # copies, since those of TFDS are read-only
    offset = np.zeros(len(changed) + 1, np.int64)
    _count(changed, edge, np.zeros(_NO_EDGE, np.bool_), offset)
    edges = np.zeros(2 * int(offset[-1]), np.uint16)
    _join(changed, edge, offset, edges)
    return TokenSets(offset, edges[0::2].copy(), edges[1::2] - np.uint16(1), outside)


@inner
def _in_one_alone(one: np.ndarray, other: np.ndarray, found: np.ndarray) -> int:
    """Write the numbers that only one of two ascending arrays contains, ascending; return how many there are."""
    i, j, count = 0, 0, 0
    while i < len(one) or j < len(other):
        mine = np.int64(one[i]) if i < len(one) else _NO_EDGE
        its = np.int64(other[j]) if j < len(other) else _NO_EDGE
        if mine != its:
            found[count] = min(mine, its)
            count += 1
        i += mine <= its
        j += its <= mine
    return count


@in_place
def _differences(offset: np.ndarray, edges: np.ndarray, changed: np.ndarray, edge: np.ndarray) -> int:
    """Write the edges in which each set differs from the one before it; return the number of all."""
    end, before = 0, 0
    for t in range(len(changed)):
        begin, stop = 2 * offset[t], 2 * offset[t + 1]
        changed[t] = _in_one_alone(edges[before:begin], edges[begin:stop], edge[end:])
        end, before = end + changed[t], begin
    return end


@in_place
def _count(changed: np.ndarray, edge: np.ndarray, is_edge: np.ndarray, offset: np.ndarray) -> None:
    """Write where the ranges of each set begin; `is_edge` is scratch space."""
    at, edges = 0, 0
    for t in range(len(changed)):
        for _ in range(changed[t]):
            is_edge[edge[at]] = not is_edge[edge[at]]
            edges += 1 if is_edge[edge[at]] else -1
            at += 1
        offset[t + 1] = offset[t] + edges // 2


@in_place
def _join(changed: np.ndarray, edge: np.ndarray, offset: np.ndarray, edges: np.ndarray) -> None:
    """Write the edges of all sets."""
    at, before = 0, 0
    for t in range(len(changed)):
        begin, stop = 2 * offset[t], at + changed[t]
        _in_one_alone(edges[before:begin], edge[at:stop], edges[begin:])
        at, before = stop, begin

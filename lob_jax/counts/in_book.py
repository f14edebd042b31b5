"""Restrict the distributions of count-based models to the book, as `lob_jax.models.masking` restricts a network's."""

from typing import NamedTuple

import numpy as np

from lob_jax.counts.tables import Tables, find_context
from lob_jax.jit import inner, njit
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.sets.shares import share_table
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import kinds_along, states_along


class Limits(NamedTuple):
    """The sets in the places of T tokens, and the escape shares there.

    Attributes:
      offset, first, last: the ranges of each set, see `TokenSets`.
      escape_TC: float64, the escape share of each class of tokens; 0 where the set is that of the grammar.
    """

    offset: np.ndarray
    first: np.ndarray
    last: np.ndarray
    escape_TC: np.ndarray


NO_LIMITS = Limits(np.zeros(1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint16), np.zeros((0, 0)))


def limits_of(tokens: np.ndarray, sets: TokenSets, grammar: Automaton, escape_FK: np.ndarray) -> Limits:
    """Return the limits in the places of a record's tokens.

    Args:
      tokens: int [T], without EOS.
      sets: the sets in their places.
      grammar: the automaton of the tokens.
      escape_FK: see `share_table`.
    """
    state = states_along(grammar, tokens)[:-1]
    upto = np.concatenate([[0], np.cumsum(sets.last.astype(np.int64) - sets.first + 1)])
    count = upto[sets.offset[1:]] - upto[sets.offset[:-1]]
    same = (count == grammar.allowed.sum(1)[state]) | (count == 0)  # an empty set is replaced by that of the grammar
    escape_TC = share_table(grammar, escape_FK)[state, kinds_along(tokens)[:-1]].astype(np.float64)
    return Limits(sets.offset, sets.first, sets.last, np.where(same[:, None], 0, escape_TC))


@inner
def restrict(out: np.ndarray, limits: Limits, t: int, room: np.ndarray) -> None:
    """Restrict the distribution `out` [V] of token t, in place; `room` [V] is overwritten.

    A distribution that gives nothing to the set stays as it is.
    """
    begin, end, escape_C, mass = limits.offset[t], limits.offset[t + 1], limits.escape_TC[t], 0.0
    for r in range(begin, end):
        for token in range(np.int64(limits.first[r]), np.int64(limits.last[r]) + 1):
            room[token] = out[token]
            mass += out[token]
    if mass <= 0:
        return
    escaping = 0.0
    for c in range(len(escape_C)):
        for token in range(c * v.CLASS_SIZE, (c + 1) * v.CLASS_SIZE):
            out[token] *= escape_C[c]
            escaping += out[token]
    for r in range(begin, end):
        for token in range(np.int64(limits.first[r]), np.int64(limits.last[r]) + 1):
            out[token] += room[token] * (1 - escaping) / mass


class Asked(NamedTuple):
    """The decision on a code in each of T places.

    Attributes:
      chain: int64 [T], its chain in `Tables`; -1 if no such code may come.
      hashes: uint64 [T, K+1], the hashes of its contexts of 0 to K items.
    """

    chain: np.ndarray
    hashes: np.ndarray

    @classmethod
    def nothing(cls, count: int, lengths: int) -> "Asked":
        """Return no decisions in `count` places."""
        return cls(np.full(count, -1), np.zeros((count, lengths), np.uint64))


@njit
def score_within(
    tables: Tables,
    transition: np.ndarray,
    states: np.ndarray,
    tokens: np.ndarray,
    go_on: np.ndarray,
    digits: Asked,
    others: Asked,
    limits: Limits,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the log probability of each token, and the likeliest one, by the chains of an n-gram model in the book.

    Args:
      tables: the chains.
      transition: int16 [S, V], of the grammar.
      states: int64 [T], of the grammar, before each token.
      tokens: int64 [T].
      go_on: float64 [T], the probability that a group of digits comes.
      digits, others: the decisions on groups of digits, and on the codes of the next field.
      limits: the sets.
      rows: int64 [R], ascending, the positions whose distributions are wanted.

    Returns:
      float64 [T], nats; int64 [T]; float64 [R, V].
    """
    log_p, likeliest, row = np.zeros(len(tokens)), np.zeros(len(tokens), np.int64), 0
    kept, out, room = np.zeros((len(rows), v.VOCAB_SIZE)), np.zeros(v.VOCAB_SIZE), np.zeros(v.VOCAB_SIZE)
    for t in range(len(tokens)):
        out[:] = 0
        allowed = transition[states[t]]
        _add(tables, digits, t, go_on[t], allowed, True, out)
        _add(tables, others, t, 1 - go_on[t], allowed, False, out)
        restrict(out, limits, t, room)
        log_p[t], likeliest[t] = np.log(out[tokens[t]]), np.argmax(out)
        if row < len(rows) and rows[row] == t:
            kept[row] = out
            row += 1
    return log_p, likeliest, kept


@inner
def _add(
    tables: Tables, asked: Asked, t: int, share: float, allowed: np.ndarray, are_digits: bool, out: np.ndarray
) -> None:
    """Add the distribution of a decision to `out` [V], times its share, from the longest context to the shortest."""
    chain = asked.chain[t]
    if chain < 0:
        return
    for k in range(tables.length[chain], -1, -1):
        if tables.row[chain, k, 0] == tables.row[chain, k, 1]:
            continue
        at = find_context(tables, chain, k, asked.hashes[t, k])
        if at < 0:
            continue
        for e in range(tables.entry[at], tables.entry[at + 1]):
            out[tables.symbol[e]] += share * tables.own[e]
        share *= tables.passed[at]
    count = 0
    for token in range(len(out)):
        count += allowed[token] >= 0 and (v.CONTINUATION <= token < v.SIZE) == are_digits
    for token in range(len(out)):
        if allowed[token] >= 0 and (v.CONTINUATION <= token < v.SIZE) == are_digits:
            out[token] += share / count

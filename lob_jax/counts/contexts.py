"""Split a token stream into decisions, and compute the contexts in which a count-based model counts them.

A token is one or two decisions. Where a number may either continue or end, the first decision is whether another digit
group follows. The other one is which code comes, among those that the grammar allows. The contexts of both depend only
on earlier tokens.
"""

import dataclasses
import enum
import functools
from collections.abc import Sequence

import numpy as np

from lob_jax.counts.levels import mix
from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.states import walk

NOTHING = v.VOCAB_SIZE  # the context item before the beginning of the stream


class Decision(enum.IntEnum):
    """The kinds of decision: which code comes, by its field, or whether the preceding number ends (`*_END`)."""

    HEAD = 0
    HEAD_DIGITS = 1
    SIZE = 2
    SIZE_DIGITS = 3
    GAP = 4
    GAP_DIGITS = 5
    HEAD_END = 6
    SIZE_END = 7
    GAP_END = 8


DECISIONS = tuple(decision.name.lower() for decision in Decision)
HEAD, HEAD_DIGITS, SIZE, SIZE_DIGITS, GAP, GAP_DIGITS, HEAD_END, SIZE_END, GAP_END = (int(one) for one in Decision)
DIGITS_OF = np.array([HEAD_DIGITS, SIZE_DIGITS, GAP_DIGITS])  # by the kind of the preceding lead
END_OF = np.array([HEAD_END, SIZE_END, GAP_END])

_PLAIN = (("token", 1), ("token", 2), ("token", 3), ("token", 4), ("token", 5))
_NUMBER = {
    "tokens": _PLAIN,
    "number": (("lead", 0), ("group", 1), ("group", 2), ("head", 1), ("size", 1)),
    "number by action": (("action", 1), ("lead", 0), ("group", 1), ("group", 2), ("head", 1)),
    "number by magnitude": (("magnitude", 0), ("group", 1), ("lead", 0), ("group", 2), ("action", 1)),
}
# Candidate contexts by decision: the items of each, in the order in which longer contexts add them.
# ("head", j) is the head j events back; inside an event, j = 1 is its own head.
SCHEMES: dict[int, dict[str, tuple[tuple[str, int], ...]]] = {
    HEAD: {
        "tokens": _PLAIN,
        "heads": (("head", 1), ("head", 2), ("head", 3), ("head", 4), ("head", 5)),
        "heads and pace": (("head", 1), ("pace", 1), ("head", 2), ("pace", 2), ("head", 3)),
        "pace and actions": (("pace", 1), ("action", 1), ("head", 1), ("head", 2), ("size", 1)),
    },
    SIZE: {
        "tokens": _PLAIN,
        "head and last event": (("head", 1), ("head", 2), ("size", 2), ("head", 3), ("size", 3)),
        "head and last size": (("action", 1), ("head", 1), ("size", 2), ("action", 2), ("size", 3)),
        "head and size at its price": (("action", 1), ("head", 1), ("size at price", 1), ("size", 2), ("head", 2)),
    },
    GAP: {
        "tokens": _PLAIN,
        "event and last gap": (("head", 1), ("size", 1), ("gap", 2), ("gap", 3), ("head", 2)),
        "action and pace": (("action", 1), ("pace", 2), ("action", 2), ("pace", 3), ("head", 1)),
        "head and pace": (("action", 1), ("head", 1), ("pace", 2), ("head", 2), ("size", 1)),
    },
} | {decision: _NUMBER for decision in (HEAD_DIGITS, SIZE_DIGITS, GAP_DIGITS, HEAD_END, SIZE_END, GAP_END)}


@dataclasses.dataclass(frozen=True, eq=False)
class CodeSets:
    """The allowed codes of each grammar state, divided into digit groups and codes of the next field.

    Attributes:
      digits, others: int64 [S], an id of the set of codes; equal sets have the same id.
      n_digits, n_others: int64 [S], number of codes in the set; 0 if the state allows none of that part.
      first_digits, first_others: int64 [S], the lowest code of the set.
      other_decision: int64 [S], HEAD, SIZE or GAP: the decision on the code of the next field.
      transition: int16 [S, V], the transitions of the grammar.
      start: the state at an event boundary.
    """

    digits: np.ndarray
    others: np.ndarray
    n_digits: np.ndarray
    n_others: np.ndarray
    first_digits: np.ndarray
    first_others: np.ndarray
    other_decision: np.ndarray
    transition: np.ndarray
    start: int

    @classmethod
    def of(cls, grammar: Automaton) -> "CodeSets":
        """Divide the allowed codes of a grammar."""
        is_digits = np.arange(grammar.allowed.shape[1]) // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE
        digits, others = grammar.allowed & is_digits, grammar.allowed & ~is_digits
        has = {name: others[:, base : base + v.CLASS_SIZE].any(1) for name, base in (("size", v.SIZE), ("gap", v.TIME))}
        return cls(
            digits=_set_number(digits),
            others=_set_number(others),
            n_digits=digits.sum(1),
            n_others=others.sum(1),
            first_digits=digits.argmax(1),
            first_others=others.argmax(1),
            other_decision=np.where(has["size"], SIZE, np.where(has["gap"], GAP, HEAD)),
            transition=np.ascontiguousarray(grammar.transition),
            start=int(grammar.start),
        )

    def states(self, tokens: np.ndarray) -> np.ndarray:
        """Return the state before each token, int64 [T].

        Raises:
          InputError: a token is not allowed at its position.
        """
        states, end = walk(self.transition, self.start, np.asarray(tokens, np.int64))
        if end < len(tokens):
            raise InputError(
                "a token stream violates the grammar",
                where=f"token {end}",
                expected="a token that may follow there",
                was=int(tokens[end]),
                remedy="score streams of the same vocabulary and time_digits",
            )
        return states[:-1].astype(np.int64)


def _set_number(mask: np.ndarray) -> np.ndarray:
    """Return for each row of a bool [S, V] an id that equal rows share."""
    packed = np.packbits(mask, axis=1)
    rows = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
    return np.unique(rows, return_inverse=True)[1].reshape(-1)


class Stream:
    """One record's tokens, with the items that a context can have at each position.

    Every item at position i depends only on tokens before i; a test checks this.
    """

    def __init__(self, tokens: np.ndarray, sets: CodeSets):
        self.tokens = np.asarray(tokens, np.int64)
        self.state = sets.states(self.tokens)
        kind, field = self.tokens // v.CLASS_SIZE, v.field_of(self.tokens)
        is_head, is_size, is_gap = field == v.FIELD_HEAD, kind == v.SIZE // 1000, kind == v.TIME // 1000
        # A rank is one of the codes that the decision on a gap is about: it may stand where otherwise a gap does.
        decides_gap = is_gap | (field == v.FIELD_RANK)
        lead_kind = np.where(is_head, 0, np.where(is_size, 1, np.where(decides_gap, 2, -1)))
        self.heads_before = _before(np.cumsum(is_head), 0)
        leads = np.maximum.accumulate(np.where(lead_kind >= 0, np.arange(len(self.tokens)), -1))
        self.lead_before = _before(leads, -1)  # position of the newest lead before each token, -1 if there is none
        self.lead_kind = np.where(self.lead_before >= 0, lead_kind[self.lead_before], 0)
        self._events = {
            "head": _by_event(self.tokens, is_head, is_head),
            "size": _by_event(self.tokens, is_head, is_size),
            "gap": _by_event(self.tokens, is_head, is_gap),
        }

    @functools.cached_property
    def size_at_price(self) -> np.ndarray:
        """For each event, the size lead of the last earlier event with the same side and price code."""
        heads, (sizes, positions) = self._events["head"][0], self._events["size"]
        order = np.argsort(heads % v.CLASS_SIZE, kind="stable")  # stable: neighbours with one code are in order of time
        same = heads[order][1:] % v.CLASS_SIZE == heads[order][:-1] % v.CLASS_SIZE
        values = np.full(len(heads), NOTHING)
        values[order[1:]] = np.where(same & (positions[order][:-1] >= 0), sizes[order][:-1], NOTHING)
        return values

    def item(self, name: str, back: int, at: np.ndarray) -> np.ndarray:
        """Return one context item at the positions `at`, int64; NOTHING where there is none."""
        if name == "token":
            return _take(self.tokens, at - back)
        if name == "group":
            return np.where(at - back > self.lead_before[at], _take(self.tokens, at - back), NOTHING)
        if name == "lead":
            return _take(self.tokens, self.lead_before[at])
        if name == "magnitude":
            return _magnitude(_take(self.tokens, self.lead_before[at]))
        event = self.heads_before[at] - back
        if name == "size at price":
            return _take(self.size_at_price, event)
        values, positions = self._events[{"action": "head", "pace": "gap"}.get(name, name)]
        # The event at hand may have its size or gap only after `at`: that would be the future.
        found = np.where(_take(positions, event) < at, _take(values, event), NOTHING)
        if name == "action":
            return np.where(found == NOTHING, NOTHING, found // (v.CLASS_SIZE // 2))
        return _magnitude(found) if name == "pace" else found


def _before(values: np.ndarray, first: int) -> np.ndarray:
    """Shift right by one, so that entry i depends only on tokens before i."""
    return np.concatenate([[first], values[:-1]]).astype(np.int64)[: len(values)]


def _by_event(tokens: np.ndarray, is_head: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each event's chosen token and its position; NOTHING and -1 for events without one."""
    event, position = np.cumsum(is_head) - 1, np.flatnonzero(chosen)
    position = position[event[position] >= 0]  # tokens before the first head have no event
    values, positions = np.full(is_head.sum(), NOTHING), np.full(is_head.sum(), -1)
    values[event[position]], positions[event[position]] = tokens[position], position
    return values, positions


def _take(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Index into values; NOTHING where the index is negative."""
    if not len(values):
        return np.full(len(index), NOTHING)
    return np.where(index >= 0, values[np.maximum(index, 0)], NOTHING)


def _magnitude(lead: np.ndarray) -> np.ndarray:
    """Return the number of decimal digits of a number, from its lead; 0 for the number 0."""
    code = lead % v.CLASS_SIZE
    return np.where(lead == NOTHING, NOTHING, np.where(code < 10, np.minimum(code, 1), 2 + (code - 10) // 90))


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Positions where one kind of decision is made: its outcomes, and the hashes of its contexts.

    Attributes:
      context: uint64 [K + 1, N] by scheme: hashes of the contexts of 0 to K items.
      symbol: int64 [N], the code that came; for an `*_END` decision, 1 if the number continued.
      base: float64 [N], the probability of the symbol if all allowed codes were equally likely.
    """

    context: dict[str, np.ndarray]
    symbol: np.ndarray
    base: np.ndarray


def positions_of(stream: Stream, sets: CodeSets, decision: int) -> np.ndarray:
    """Return the positions at which a decision is made."""
    state, is_digits = stream.state, stream.tokens // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE
    if decision in END_OF:
        made = (sets.n_digits[state] > 0) & (sets.n_others[state] > 0) & (END_OF[stream.lead_kind] == decision)
    elif decision in DIGITS_OF:
        made = is_digits & (DIGITS_OF[stream.lead_kind] == decision)
    else:
        made = ~is_digits & (sets.other_decision[state] == decision)
    return np.flatnonzero(made)


def samples_at(
    stream: Stream,
    sets: CodeSets,
    decision: int,
    *,
    at: np.ndarray,
    only: str | None = None,
    as_if: np.ndarray | int | None = None,
) -> Samples:
    """Return the samples of a decision.

    Args:
      stream: one record.
      sets: allowed codes of its grammar.
      decision: the kind of decision.
      at: positions at which it is made.
      only: the scheme to compute contexts of; None for all schemes.
      as_if: symbols to use instead of those that came.
    """
    state, tokens = stream.state[at], stream.tokens[at]
    n_digits, n_others = sets.n_digits[state], sets.n_others[state]
    if decision in END_OF:
        allowed, symbol = state, (tokens // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE).astype(np.int64)
    else:
        allowed, symbol = (sets.digits if decision in DIGITS_OF else sets.others)[state], tokens
    if as_if is not None:
        symbol = np.broadcast_to(np.asarray(as_if, np.int64), tokens.shape)
    if decision in END_OF:
        base = np.where(symbol == 1, n_digits, n_others) / np.maximum(n_digits + n_others, 1)
    else:
        base = 1 / np.maximum(n_digits if decision in DIGITS_OF else n_others, 1)
    context = {}
    for scheme, items in SCHEMES[decision].items():
        if only in (None, scheme):
            hashes = [mix(np.full(len(at), decision, np.uint64), allowed)]
            for name, back in items:
                hashes.append(mix(hashes[-1], stream.item(name, back, at)))
            context[scheme] = np.stack(hashes)
    return Samples(context=context, symbol=symbol, base=base)


def all_samples(streams: Sequence[tuple[Stream, np.ndarray]], sets: CodeSets, decision: int) -> Samples:
    """Return the samples of one decision in all records, at positions to be counted."""
    parts = []
    for stream, counted in streams:
        at = positions_of(stream, sets, decision)
        parts.append(samples_at(stream, sets, decision, at=at[counted[at]]))
    if not parts:
        none = {name: np.zeros((len(items) + 1, 0), np.uint64) for name, items in SCHEMES[decision].items()}
        return Samples(context=none, symbol=np.zeros(0, np.int64), base=np.zeros(0))
    return Samples(
        context={name: np.concatenate([part.context[name] for part in parts], 1) for name in SCHEMES[decision]},
        symbol=np.concatenate([part.symbol for part in parts]),
        base=np.concatenate([part.base for part in parts]),
    )

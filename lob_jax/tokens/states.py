"""What is known of a stream before each of its tokens: the state of the grammar, and the kind of the newest event."""

import numpy as np

from lob_jax.jit import in_place, njit
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Automaton


def states_along(grammar: Automaton, tokens: np.ndarray) -> np.ndarray:
    """Return the state before each token of a stream that begins with an event, and after the last, int16 [T+1].

    Raises:
      InputError: a token is not allowed at its position.
    """
    states, accepted = walk(grammar.transition, grammar.start, np.asarray(tokens, np.int64))
    if accepted < len(tokens):
        raise grammar.refusal(accepted, int(states[accepted]), int(tokens[accepted]))
    return states


@njit
def walk(transition: np.ndarray, start: int, tokens: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the state before each token and after the last, int16 [T+1], and how many tokens were accepted."""
    states = np.full(len(tokens) + 1, start, np.int16)
    for i in range(len(tokens)):
        states[i + 1] = transition[states[i], tokens[i]]
        if states[i + 1] < 0:
            return states, i
    return states, len(tokens)


def kinds_along(tokens: np.ndarray) -> np.ndarray:
    """Return the class (`token // 1000`) of the newest head before each token and after the last, int8 [T+1].

    It is 0 for CONTROL codes, and before the first head.
    """
    tokens = np.array(tokens, np.int64)  # a copy even of int64, since a loop is compiled once more for read-only arrays
    kinds = np.zeros(len(tokens) + 1, np.int8)
    _follow_heads(tokens, v.IS_HEAD_V.take(tokens), kinds)
    return kinds


def events_along(tokens: np.ndarray) -> np.ndarray:
    """Return the event that each token belongs to, int32 [T], as `vocabulary.event_index` does, in a compiled loop."""
    tokens, event = np.array(tokens, np.int64), np.empty(len(tokens), np.int32)
    _count_heads(tokens, v.IS_HEAD_V.take(tokens), event)
    return event


def gaps_along(tokens: np.ndarray) -> np.ndarray:
    """Return whether each token is of a gap, bool [T], as `vocabulary.is_of_gap` of its field, in a compiled loop."""
    tokens = np.array(tokens, np.int64)
    is_gap = np.empty(len(tokens), np.bool_)
    _follow_gaps(v.FIELD_V.take(tokens), is_gap)
    return is_gap


@in_place
def _follow_heads(tokens: np.ndarray, is_head: np.ndarray, kinds: np.ndarray) -> None:
    """Write the class of the newest head behind each token; entry 0 is given."""
    for t in range(len(tokens)):
        kinds[t + 1] = tokens[t] // v.CLASS_SIZE if is_head[t] else kinds[t]


@in_place
def _count_heads(tokens: np.ndarray, is_head: np.ndarray, event: np.ndarray) -> None:
    """Write the event of each token."""
    heads = 0
    for t in range(len(tokens)):
        heads += is_head[t]
        event[t] = -1 if tokens[t] == v.PAD else heads if tokens[t] == v.EOS else heads - 1


@in_place
def _follow_gaps(field: np.ndarray, is_gap: np.ndarray) -> None:
    """Write whether each token, or the one that it continues, is of a gap."""
    gap = False
    for t in range(len(field)):
        if field[t] >= 0:
            gap = field[t] == v.FIELD_GAP
        is_gap[t] = gap

"""The state of a grammar before each token of a record."""

import functools

import numpy as np

from lob_jax.tokens.grammar import Automaton


def states_along(grammar: Automaton, tokens: np.ndarray) -> np.ndarray:
    """Return the state before each token of a stream that begins with an event, int16 [T].

    Raises:
      InputError: a token is not allowed at its position.
    """
    transition, state, states = _transitions(grammar), grammar.start, []
    for token in tokens.tolist():
        states.append(state)
        state = transition[state][token]
        if state < 0:
            raise grammar.refusal(len(states) - 1, states[-1], token)
    return np.array(states, np.int16)


@functools.lru_cache(maxsize=4)
def _transitions(grammar: Automaton) -> list[list[int]]:
    """Return the transitions as lists, which a loop in Python reads ten times as fast as an array."""
    return grammar.transition.tolist()

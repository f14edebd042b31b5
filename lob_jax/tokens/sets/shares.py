"""Escape shares: how often real tokens are outside their sets, by the place and the class of the token."""

import numpy as np

from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Automaton

KINDS = v.CONTINUATION // v.CLASS_SIZE  # classes of heads (`token // 1000`): that of CONTROL codes, and six of others
SHAPE = (len(v.FIELDS), KINDS)


def escape_shares(places_FK: np.ndarray, outside_FK: np.ndarray) -> np.ndarray:
    """Return the escape share by field and kind, float64 [F, K], from counts of places and of tokens outside.

    It is (outside + 1/2) / (places + 1), so that no token is impossible.
    """
    return (outside_FK + 0.5) / (places_FK + 1)


def share_table(grammar: Automaton, escape_FK: np.ndarray) -> np.ndarray:
    """Return the escape share of each class of tokens by state and kind of the newest event, float32 [S, K, C].

    Args:
      grammar: the automaton of the tokens.
      escape_FK: float [F, K], the escape share by field and kind of event: of heads by their own class (field HEAD); of
        the other tokens by the field that is known before them, see `Automaton.state_field`, and the class of their
        event's head.
    """
    heads_S = grammar.allowed[:, v.CLASS_SIZE : v.CONTINUATION].any(1)
    of_field_SK = np.asarray(escape_FK, np.float32)[grammar.state_field]
    table_SKC = np.repeat(of_field_SK[..., None], v.VOCAB_SIZE // v.CLASS_SIZE, axis=2)
    table_SKC[heads_S, :, :KINDS] = np.asarray(escape_FK)[v.FIELD_HEAD]
    return table_SKC

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.states import kinds_along, states_along


def test_a_state_is_where_the_automaton_is_before_the_token():
    tokens = np.array([1000, 8000 + 100, 7500, 9000 + 192, 7340, 3500, 8007, 9000])
    grammar = grammar_for(None)
    states = states_along(grammar, tokens)
    assert states.tolist() == [grammar.walk(tokens[:count].tolist()) for count in range(len(tokens) + 1)]
    assert states_along(grammar, tokens[:0]).tolist() == [grammar.start]


def test_a_token_that_may_not_follow_is_refused_by_its_position():
    with pytest.raises(InputError, match="token 1"):
        states_along(grammar_for(None), np.array([1000, 9000]))


def test_the_kind_before_a_token_is_that_of_the_newest_head():
    tokens = np.array([1000, 8000 + 100, 7500, 9000 + 192, 7340, 3500, 8007, 9000, 11, 9005])
    assert kinds_along(tokens).tolist() == [0, 1, 1, 1, 1, 1, 3, 3, 3, 0, 0]
    assert kinds_along(tokens[:0]).tolist() == [0]
    assert kinds_along(tokens[1:4]).tolist() == [0, 0, 0, 0]

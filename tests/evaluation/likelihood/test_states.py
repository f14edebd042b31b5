import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.states import states_along
from lob_jax.tokens.grammar import grammar_for


def test_a_state_is_where_the_automaton_is_before_the_token():
    tokens = np.array([1000, 8000 + 100, 7500, 9000 + 192, 7340, 3500, 8007, 9000])
    grammar = grammar_for(None)
    states = states_along(grammar, tokens)
    assert states.tolist() == [grammar.walk(tokens[:count].tolist()) for count in range(len(tokens))]
    assert states_along(grammar, tokens[:0]).shape == (0,)


def test_a_token_that_may_not_follow_is_refused_by_its_position():
    with pytest.raises(InputError, match="token 1"):
        states_along(grammar_for(None), np.array([1000, 9000]))

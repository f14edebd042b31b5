import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.states import events_along, gaps_along, kinds_along, states_along


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


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_events_and_gaps_are_those_of_the_vocabulary(dtype):
    ids = [v.PAD, v.BOS, 7012, 1003, 7001, 8010, 7002, 7003, 61, 9100, 7004, 7005, 11, 9001, 3000, v.TIME_BACK, 9020]
    tokens = np.array([*ids, 7005, v.SEP, 7006, v.EOS, v.PAD, 2000], dtype)
    tokens.flags.writeable = False  # as those of records
    assert events_along(tokens).tolist() == [-1, -1, -1, *[0] * 9, 1, 1, *[2] * 6, 3, -1, 3]
    for start in range(len(tokens) + 1):
        part = tokens[start:]
        for found, known in (
            (events_along(part), v.event_index(part)),
            (gaps_along(part), v.is_of_gap(v.field_of(part)) if len(part) else np.zeros(0, bool)),
        ):
            np.testing.assert_array_equal(found, known)
            assert found.dtype == known.dtype
    with pytest.raises(IndexError):
        events_along(np.array([v.VOCAB_SIZE]))

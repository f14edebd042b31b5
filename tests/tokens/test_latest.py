"""The latest tokens: along a stream, and one token after the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.latest import FAMILIES, LATEST_TOKENS, NO_TOKEN, OF_EACH, latest_along, with_token

ADD, DELETE = v.CLASS_SIZE + 7, 3 * v.CLASS_SIZE + v.ASK_OFFSET + 2


def latest_by_hand(tokens):
    """Return the latest tokens after a stream."""
    found = []
    for first, end in FAMILIES:
        of_family = [token for token in tokens if first <= token < end][::-1][:OF_EACH]
        found += of_family + [NO_TOKEN] * (OF_EACH - len(of_family))
    return found


def test_the_latest_tokens_of_two_events():
    """Digits, framing tokens and CONTROL codes are of no family."""
    tokens = [v.BOS, ADD, v.CONTINUATION + 5, v.SIZE + 3, v.TIME + 40, v.CONTINUATION + 9, DELETE, v.SIZE + 4]
    tokens += [v.TIME_SKIP, v.TIME, v.CONTROL_BASE + 1]
    heads, sizes, gaps = latest_along(np.array(tokens))[-1].reshape(len(FAMILIES), OF_EACH)
    assert heads.tolist() == [DELETE, ADD, NO_TOKEN, NO_TOKEN]
    assert sizes.tolist() == [v.SIZE + 4, v.SIZE + 3, NO_TOKEN, NO_TOKEN]
    assert gaps.tolist() == [v.TIME, v.TIME + 40, NO_TOKEN, NO_TOKEN]


@given(st.lists(st.integers(0, v.VOCAB_SIZE - 1) | st.sampled_from([first for first, _ in FAMILIES]), max_size=60))
def test_the_latest_tokens_along_a_stream(tokens):
    found = latest_along(np.array(tokens, np.int32))
    assert found.dtype == np.int16 and found.shape == (len(tokens) + 1, LATEST_TOKENS)
    assert found.tolist() == [latest_by_hand(tokens[:upto]) for upto in range(len(tokens) + 1)]


@pytest.mark.parametrize("edge", [edge for family in FAMILIES for edge in family])
def test_token_by_token_they_are_those_along_the_stream(edge):
    tokens = np.random.default_rng(edge).integers(0, v.VOCAB_SIZE, 30)
    tokens[::7] = np.minimum(edge, v.VOCAB_SIZE - 1)
    tokens[3::7] = edge - 1
    expected = latest_along(tokens)
    latest = expected[0]
    for token, after in zip(tokens, expected[1:], strict=True):
        latest = with_token(latest, token)
        assert latest.dtype == np.int16
        np.testing.assert_array_equal(latest, after)

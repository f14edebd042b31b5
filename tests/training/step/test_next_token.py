"""The next token as the target, and the weight of digits that are nearly noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.feeds.load import load_incremental_data
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.objectives.next_token import gap_digits, next_tokens

HEAD, SIZE, TIME, MORE = 1_012, v.SIZE + 40, v.TIME + 200, v.CONTINUATION + 7
STREAM = [MORE, HEAD, MORE, SIZE, MORE, TIME, MORE, MORE, HEAD, SIZE, v.TIME_SKIP, TIME, MORE, HEAD, SIZE, TIME]
DIGITS = [6, 7, 12]  # the first token continues a number that began before the window


@pytest.fixture(name="day", scope="module")
def day_fixture():
    return load_incremental_data(events=200, seed=3)


def test_digits_of_gaps_are_those_behind_the_first_token_of_a_time():
    found = np.asarray(gap_digits(jnp.asarray([STREAM, [MORE] * len(STREAM)])))
    assert np.flatnonzero(found[0]).tolist() == DIGITS
    assert not found[1].any()


@pytest.mark.parametrize("time_digits", [None, 5, 8])
def test_digits_of_gaps_are_the_field_of_that_name(day, time_digits):
    tokens = ExactTokenizer(time_digits).encode(day).astype(np.int32)
    found = np.asarray(gap_digits(jnp.asarray(tokens[None])))[0]
    np.testing.assert_array_equal(found, v.field_of(tokens) == v.FIELD_GAP_DIGITS)
    assert found.sum() > 50


def test_they_have_their_weight_in_training_and_count_fully_in_validation():
    scored = np.ones((1, len(STREAM)), bool)
    scored[0, 7] = False
    batch = {"tokens": np.array([STREAM], np.int32), "scored": scored}
    objective = dataclasses.replace(NEXT_TOKEN, gap_digits_weight=0.25)
    *_, targets, weights = next_tokens(batch, jax.random.key(0), None, objective)
    assert targets.tolist() == [STREAM[1:]]
    expected = np.ones(len(STREAM))
    expected[DIGITS] = 0.25
    expected[7] = 0
    assert weights.tolist() == [expected[1:].tolist()]
    *_, plain = next_tokens(batch, None, None, objective)
    np.testing.assert_array_equal(plain, scored[:, 1:])
    *_, usual = next_tokens(batch, jax.random.key(0), None, NEXT_TOKEN)
    np.testing.assert_array_equal(usual, scored[:, 1:])

"""The host's random numbers are those of `jax.random`, bit by bit."""

import jax
import numpy as np
import pytest

from lob_jax.generation.host.random import fold_in, uniform
from lob_jax.generation.host.start import start_paths as start_on_host
from lob_jax.generation.host.state import Number
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.start import start_paths
from tests.generation.market import INSTRUMENT, TOKENIZER
from tests.generation.test_prompts import prompts

SEEDS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1)


def words(key):
    return tuple(int(word) for word in jax.random.key_data(key))


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_and_numbers(seed):
    key, mine = jax.random.key(np.uint32(seed)), (0, seed)
    assert words(key) == mine
    for number in (*SEEDS, 7):
        key, mine = jax.random.fold_in(key, np.uint32(number)), fold_in(*mine, number)
        assert words(key) == mine
    expected = np.asarray(jax.random.uniform(key, (5,)))
    assert [uniform(*mine, at) for at in range(5)] == expected.tolist()
    assert uniform(*mine, 0) == float(jax.random.uniform(key))


def test_every_path_of_every_prompt_has_the_key_that_it_has_on_the_device():
    sampling = SamplingConfig(paths=3, events=1, seed=2**32 - 5)
    expected, _ = start_paths(prompts(), TOKENIZER, INSTRUMENT, sampling)
    number = start_on_host(prompts(), TOKENIZER, sampling, levels=66).number
    found = number[:, [Number.KEY_0, Number.KEY_1]]
    np.testing.assert_array_equal(found, jax.random.key_data(expected.key))
    assert len(np.unique(found, axis=0)) == 9

"""The host's sampler against the device's: the same token at the same numbers, each as often as it is likely."""

import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.generation.device.sampling import choose, probabilities
from lob_jax.generation.host.continuation import scores_of
from lob_jax.generation.host.draw import CLASSES, Masked, Sampler, Scores, new_scratch, sample
from lob_jax.generation.host.given import ranges_of_states
from lob_jax.generation.settings import EVERYTHING, Truncation
from lob_jax.tokens import vocabulary as v

SETTINGS = [
    (1.0, EVERYTHING, False),
    (1.0, EVERYTHING, True),
    (0.7, Truncation(top_k=5), True),
    (1.5, Truncation(top_p=0.8), False),
    (1.0, Truncation(min_p=0.1), True),
    (1.3, Truncation(top_k=40, top_p=0.9, min_p=0.02), True),
    (0.0, EVERYTHING, True),
]
WIDE = 30.0  # the spread of logits, so wide that weights of a class vanish beside those of another


def cases(count, spread):
    """Return logits and the masks of grammar and book; the digits and some other classes are not always allowed."""
    random = np.random.default_rng(3)
    logits_NV = (random.normal(size=(count, v.VOCAB_SIZE)) * spread).astype(np.float32)
    logits_NV[:, ::7] = logits_NV[:, 1::7][:, : len(logits_NV[0, ::7])]  # ties
    classes_NC = random.random((count, CLASSES)) < 0.6
    classes_NC[:, 3] = True
    grammar_NV = np.repeat(classes_NC, v.CLASS_SIZE, 1) & (random.random(logits_NV.shape) < 0.9)
    book_NV = grammar_NV & (random.random(logits_NV.shape) < 0.05)
    book_NV[:, 3_500] = grammar_NV[:, 3_500] = True
    return logits_NV, grammar_NV, book_NV


def sampler(temperature, truncation, kinds_first):
    log_min_p = np.log(np.float32(truncation.min_p)) if truncation.min_p else np.float32(-np.inf)
    return Sampler(int(temperature == 0), int(kinds_first), truncation.top_k, float(truncation.top_p), log_min_p)


def masked(mask_V):
    first, last, offset = ranges_of_states(mask_V[None])
    return Masked(first, last, *offset.tolist())


@pytest.mark.parametrize("spread", [1.0, WIDE])
@pytest.mark.parametrize("setting", SETTINGS)
def test_it_takes_the_same_tokens_as_the_device(setting, spread):
    temperature, truncation, kinds_first = setting
    logits_NV, grammar_NV, book_NV = cases(60, spread)
    at_N3 = np.random.default_rng(4).random((60, 3), np.float32)
    how = {"temperature": temperature, "truncation": truncation, "kinds_first": kinds_first}
    expected = choose(jnp.asarray(at_N3), *(jnp.asarray(leaf) for leaf in (logits_NV, grammar_NV, book_NV)), **how)
    scores = [Scores(*rows) for rows in zip(*scores_of(logits_NV, temperature), strict=True)]
    scratch, settings = new_scratch(), sampler(*setting)
    found = [
        sample(scratch, settings, *rows, tuple(at_3.astype(float).tolist()))
        for *rows, at_3 in zip(scores, map(masked, grammar_NV), map(masked, book_NV), at_N3, strict=True)
    ]
    assert found == np.asarray(expected.token_B).tolist()
    assert len(np.unique(np.array(found) // v.CLASS_SIZE)) > (3 if spread == 1 else 1)


@pytest.mark.parametrize("setting", SETTINGS[:-1])
def test_each_token_is_taken_as_often_as_it_is_likely(setting):
    temperature, truncation, kinds_first = setting
    logits_NV, grammar_NV, book_NV = cases(1, 1.0)
    how = {"temperature": temperature, "truncation": truncation, "kinds_first": kinds_first}
    expected_V = np.asarray(probabilities(*(jnp.asarray(leaf) for leaf in (logits_NV, grammar_NV, book_NV)), **how))[0]
    (scores,) = (Scores(*rows) for rows in zip(*scores_of(logits_NV, temperature), strict=True))
    scratch, settings, times = new_scratch(), sampler(*setting), 12_000
    ranges = masked(grammar_NV[0]), masked(book_NV[0])
    at_N3 = np.random.default_rng(5).random((times, 3)).tolist()
    found_V = np.bincount(
        [sample(scratch, settings, scores, *ranges, tuple(at_3)) for at_3 in at_N3], minlength=v.VOCAB_SIZE
    )
    assert not found_V[expected_V == 0].any()
    deviation_V = np.sqrt(times * expected_V * (1 - expected_V))
    assert (np.abs(found_V - times * expected_V) <= 5 * deviation_V + 1).all()

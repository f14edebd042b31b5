"""The log-likelihood of tokens without JAX, against the definition in NumPy: in the grammar, and in the book."""

import numpy as np
import pytest

from lob_jax.evaluation.likelihood.allowed import Allowed, write_factors, write_log_likelihoods
from lob_jax.generation.host.given import ranges_of_states
from lob_jax.tokens.sets.planes import CLASSES
from lob_jax.tokens.vocabulary import CLASS_SIZE, VOCAB_SIZE

PLACES = 6  # in the last two, the book allows nothing, and whatever the grammar does


@pytest.fixture
def made():
    """Return logits [T, V], the sets of grammar and book, escape shares [T, C], and tokens, half of them outside."""
    random = np.random.default_rng(0)
    logits_TV = random.normal(0, 3, (PLACES, VOCAB_SIZE)).astype(np.float32)
    grammar_TV = random.random((PLACES, VOCAB_SIZE)) < 0.5
    book_TV = random.random((PLACES, VOCAB_SIZE)) < 0.1  # also where the grammar does not
    book_TV[4], book_TV[5] = False, grammar_TV[5]
    escape_TC = (random.random((PLACES, CLASSES)) * 0.3).astype(np.float32)
    inside = [random.choice(np.flatnonzero(grammar_TV[at] & book_TV[at])) for at in (0, 2, 5)]
    outside = [random.choice(np.flatnonzero(grammar_TV[at] & ~book_TV[at])) for at in (1, 3, 4)]
    tokens_T = np.array([inside[0], outside[0], inside[1], outside[1], outside[2], inside[2]])
    return logits_TV, grammar_TV, book_TV, escape_TC, tokens_T


def found(made, *, by_book=0, by_grammar=1):
    logits_TV, grammar_TV, book_TV, escape_TC, tokens_T = made
    first, last, offset = ranges_of_states(book_TV)
    state_T, kind_T = np.arange(PLACES, dtype=np.int16), np.zeros(PLACES, np.int8)
    sets = (offset, first.astype(np.uint16), last.astype(np.uint16))
    allowed = Allowed(grammar_TV, state_T, by_grammar, by_book, kind_T, escape_TC[:, None], *sets)
    found_T, factor_T2C = np.zeros(PLACES), np.zeros((PLACES, 2, CLASSES))
    places, logits_TV = np.arange(PLACES)[::-1].copy(), np.ascontiguousarray(logits_TV[::-1])
    write_factors(allowed, places, logits_TV, factor_T2C)
    write_log_likelihoods(allowed, tokens_T, places, logits_TV, factor_T2C, found_T)
    return found_T


def softmax(logits_V, allowed_V):
    weight_V = np.exp(np.where(allowed_V, logits_V.astype(np.float64), -np.inf) - logits_V[allowed_V].max())
    return weight_V / weight_V.sum()


def test_in_the_grammar_it_is_the_softmax(made):
    logits_TV, grammar_TV, _, _, tokens_T = made
    expected = [np.log(softmax(*rows)[token]) for *rows, token in zip(logits_TV, grammar_TV, tokens_T, strict=True)]
    np.testing.assert_allclose(found(made), expected, rtol=1e-10)


def test_without_a_mask_all_tokens_count(made):
    logits_TV, *_, tokens_T = made
    everything_V = np.ones(VOCAB_SIZE, bool)
    expected = [
        np.log(softmax(logits_V, everything_V)[token]) for logits_V, token in zip(logits_TV, tokens_T, strict=True)
    ]
    np.testing.assert_allclose(found(made, by_grammar=0), expected, rtol=1e-10)


def test_in_the_book_it_is_the_mixture(made):
    logits_TV, grammar_TV, book_TV, escape_TC, tokens_T = made
    expected = []
    for logits_V, grammar_V, book_V, escape_C, token in zip(
        logits_TV, grammar_TV, book_TV & grammar_TV, escape_TC, tokens_T, strict=True
    ):
        same = not book_V.any() or (book_V == grammar_V).all()
        g, e_V = softmax(logits_V, grammar_V), np.repeat(escape_C, CLASS_SIZE) * (not same)
        b = g if same else softmax(logits_V, book_V)
        expected.append(np.log(((1 - (e_V * g).sum()) * b + e_V * g)[token]))
    np.testing.assert_allclose(found(made, by_book=1), expected, rtol=1e-10)


@pytest.mark.parametrize("gap", [200.0, 2_000.0])
def test_a_book_of_very_unlikely_tokens_keeps_its_share(made, gap):
    logits_TV, grammar_TV, book_TV, escape_TC, tokens_T = made
    lower_TV = np.where(book_TV, logits_TV - np.float32(gap), logits_TV)
    escape_TC = np.full_like(escape_TC, 0.25)  # so that the part of the book has three quarters
    found_T = found((lower_TV, grammar_TV, book_TV, escape_TC, tokens_T), by_book=1)
    share = softmax(lower_TV[0], book_TV[0] & grammar_TV[0])[tokens_T[0]]
    np.testing.assert_allclose(found_T[0], np.log(0.75 * share), rtol=1e-5)

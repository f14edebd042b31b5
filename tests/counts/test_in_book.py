"""Count-based models in the book: the mixture by its definition, from distributions that need no book."""

import numpy as np
import pytest

from lob_jax.counts.in_book import Limits, limits_of
from lob_jax.counts.ngram import fit_ngram, fit_zero_order
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.shares import SHAPE, share_table
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import kinds_along, states_along
from tests.counts.conftest import record_of

ESCAPE = np.linspace(0.01, 0.3, int(np.prod(SHAPE))).reshape(SHAPE)


def random_sets(tokens, grammar, *, seed):
    """Sets of some of the tokens that the grammar allows, in the places of a stream; every fourth is the grammar's."""
    rng, states = np.random.default_rng(seed), states_along(grammar, tokens)[:-1]
    masks = grammar.allowed[states] & (rng.random((len(tokens), v.VOCAB_SIZE)) < 0.5)
    masks[::4] = grammar.allowed[states[::4]]
    edges = np.diff(np.pad(masks, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    first, last = np.nonzero(edges == 1), np.nonzero(edges == -1)
    offset = np.concatenate([[0], np.cumsum(np.bincount(first[0], minlength=len(tokens)))])
    return masks, TokenSets(
        offset, first[1].astype(np.uint16), (last[1] - 1).astype(np.uint16), np.zeros(len(tokens), np.uint8)
    )


def restricted(p, mask, share):
    """Return the distribution of one place by its definition."""
    b, e = np.where(mask, p, 0), np.repeat(share, v.CLASS_SIZE)
    return (1 - (e * p).sum()) * b / b.sum() + e * p


def expected_rows(p_TV, masks, tokens, grammar):
    share = share_table(grammar, ESCAPE)[states_along(grammar, tokens)[:-1], kinds_along(tokens)[:-1]]
    share[::4] = 0
    return np.stack([restricted(p, mask, one) for p, mask, one in zip(p_TV, masks, share, strict=True)])


@pytest.mark.slow
def test_book_counts_in_the_book(fitted):
    model, tokenizer = fitted
    record = record_of(4, 25, tokenizer)
    tokens = record["tokens"][:-1].astype(np.int64)
    everywhere = np.arange(len(tokens))
    masks, sets = random_sets(tokens, tokenizer.grammar, seed=1)
    limits = limits_of(tokens, sets, tokenizer.grammar, ESCAPE)
    found = model.distributions(record, everywhere, limits=limits)
    expected = expected_rows(model.distributions(record, everywhere), masks, tokens, tokenizer.grammar)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert found.sum(1) == pytest.approx(1)
    log_p, likeliest = model.within(record, limits)
    # A probability near 1 has a logarithm of few exact digits.
    np.testing.assert_allclose(log_p, np.log(expected[everywhere, tokens]), rtol=1e-6, atol=1e-13)
    assert (found[everywhere, likeliest] == found.max(1)).all()


@pytest.mark.parametrize("orders", [(), (1, 2, 3)])
def test_an_n_gram_model_in_the_book(fitted, orders):
    _, tokenizer = fitted
    grammar = tokenizer.grammar
    train = [(record_of(seed, 120, tokenizer)["tokens"][:-1], None) for seed in (1, 2)]
    train = [(tokens, np.ones(len(tokens), bool)) for tokens, _ in train]
    model = fit_ngram(train, train[:1], grammar=grammar, orders=orders)
    tokens = record_of(4, 25, tokenizer)["tokens"][:-1].astype(np.int64)
    everywhere = np.arange(len(tokens))
    masks, sets = random_sets(tokens, grammar, seed=2)
    whole = limits_of(tokens, sets, grammar, np.ones(SHAPE))  # only escapes: the distribution without a book
    p_TV = model.distributions(tokens, everywhere, whole)
    assert p_TV.sum(1) == pytest.approx(1)
    np.testing.assert_allclose(np.log(p_TV[everywhere, tokens]), model.log_prob(tokens), atol=1e-9)
    likeliest = model.predict(tokens)
    np.testing.assert_allclose(p_TV[everywhere, likeliest], p_TV.max(1), rtol=1e-12)
    limits = limits_of(tokens, sets, grammar, ESCAPE)
    expected = expected_rows(p_TV, masks, tokens, grammar)
    np.testing.assert_allclose(model.distributions(tokens, everywhere, limits), expected, atol=1e-8)
    log_p, _ = model.within(tokens, limits)
    # A probability near 1 has a logarithm of few exact digits.
    np.testing.assert_allclose(log_p, np.log(expected[everywhere, tokens]), rtol=1e-6, atol=1e-13)


def test_a_set_without_any_probability_leaves_the_distribution_as_it_is(fitted):
    _, tokenizer = fitted
    tokens = record_of(4, 5, tokenizer)["tokens"][:-1].astype(np.int64)
    model = fit_zero_order([(tokens, np.ones(len(tokens), bool))], [], grammar=tokenizer.grammar)
    nothing = Limits(
        np.zeros(len(tokens) + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint16), np.zeros((len(tokens), 10))
    )
    log_p, likeliest = model.within(tokens, nothing)
    np.testing.assert_allclose(log_p, model.log_prob(tokens), atol=1e-9)
    everywhere = np.arange(len(tokens))
    p_TV = model.distributions(tokens, everywhere, nothing)
    np.testing.assert_allclose(p_TV[everywhere, likeliest], p_TV.max(1), rtol=1e-12)  # ties may go to another

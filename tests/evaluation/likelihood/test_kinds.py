"""The probabilities of kinds and sides, against sums over all tokens in NumPy; and the scores of a case by hand."""

import math

import numpy as np
import pytest

from lob_jax.evaluation.likelihood.allowed import Allowed, write_factors, write_log_likelihoods
from lob_jax.evaluation.likelihood.kinds import KINDS, KindScores, heads_of, kind_scores, new_found, write_kinds
from lob_jax.generation.host.given import ranges_of_states
from lob_jax.tokens.sets.planes import CLASSES
from lob_jax.tokens.vocabulary import VOCAB_SIZE

PLACES = 6  # in the last two, the book allows nothing, and whatever the grammar does
ALL = (0, 1, 2, 3, 4, 5)
MASKS = {"book": (1, 1), "grammar": (1, 0), "none": (0, 0)}  # by_grammar, by_book
TOKENIZERS = ("exact", "compact")


def head_of(token, tokenizer):
    """Return the head that a token begins an event with, and its kind and side: a bid, an ask, or CONTROL for both."""
    kind, low = divmod(token, 1000)
    if kind == 0:
        return ("control", low % 10), 12
    if kind > 6:
        return None, None
    return (token if tokenizer == "exact" else token // 50), 2 * (kind - 1) + (low >= 500)


@pytest.fixture(scope="module")
def made():
    """Return logits [T, V], the sets of grammar and book, escape shares [T, C], and tokens that begin events."""
    random = np.random.default_rng(1)
    logits_TV = random.normal(0, 3, (PLACES, VOCAB_SIZE)).astype(np.float32)
    grammar_TV = random.random((PLACES, VOCAB_SIZE)) < 0.5
    book_TV = grammar_TV & (random.random((PLACES, VOCAB_SIZE)) < 0.1)
    book_TV[4], book_TV[5] = False, grammar_TV[5]
    escape_TC = (random.random((PLACES, CLASSES)) * 0.3).astype(np.float32)
    tokens_T = [random.choice(np.flatnonzero(grammar_V[1000:7000])) + 1000 for grammar_V in grammar_TV]
    grammar_TV[0, 11] = True
    return logits_TV, grammar_TV, book_TV, escape_TC, np.array([11, *tokens_T[1:]])


def found(made, mask, tokenizer, *, events=ALL):
    """Return the scores of the events that begin in all places, and the log-likelihoods of their first tokens."""
    logits_TV, grammar_TV, book_TV, escape_TC, tokens_T = made
    first, last, offset = ranges_of_states(book_TV)
    state_T, kind_T = np.arange(PLACES, dtype=np.int16), np.zeros(PLACES, np.int8)
    sets = (offset, first.astype(np.uint16), last.astype(np.uint16))
    allowed = Allowed(grammar_TV, state_T, *MASKS[mask], kind_T, escape_TC[:, None], *sets)
    factor_T2C, found_T, heads = np.zeros((PLACES, 2, CLASSES)), np.zeros(PLACES), heads_of(tokenizer)
    room, places = new_found(max(events) + 1, heads), np.arange(PLACES)[::-1].copy()
    logits_TV = np.ascontiguousarray(logits_TV[::-1])
    write_factors(allowed, places, logits_TV, factor_T2C)
    write_log_likelihoods(allowed, tokens_T, places, logits_TV, factor_T2C, found_T)
    write_kinds(allowed, heads, np.array(events)[::-1].copy(), places, logits_TV, factor_T2C, room)
    return kind_scores(heads, room, tokens_T[[events.index(event) for event in range(max(events) + 1)]]), found_T


def softmax(logits_V, allowed_V):
    weight_V = np.exp(np.where(allowed_V, logits_V.astype(np.float64), -np.inf) - logits_V[allowed_V].max())
    return weight_V / weight_V.sum()


def chances(made, mask, place):
    """Return the probability of each token in a place by its definition."""
    logits_V, grammar_V, book_V, escape_C = (array[place] for array in made[:4])
    if mask == "none":
        return softmax(logits_V, np.ones(VOCAB_SIZE, bool))
    g = softmax(logits_V, grammar_V)
    if mask == "grammar" or not book_V.any() or (book_V == grammar_V).all():
        return g
    e_V = np.repeat(escape_C, VOCAB_SIZE // CLASSES)
    return (1 - (e_V * g).sum()) * softmax(logits_V, book_V) + e_V * g


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("mask", MASKS)
def test_they_are_sums_over_the_tokens_that_begin_events(made, mask, tokenizer):
    kinds, found_T = found(made, mask, tokenizer)
    tokens_T = made[-1]
    begins = [token for token in range(1, 7000) if heads_of(tokenizer).head_V[token] >= 0]
    assert set(range(1000, 7000)) < set(begins) and {token % 10 for token in begins if token < 1000} == set(range(1, 8))
    for place in range(PLACES):
        chance_V = chances(made, mask, place)
        whole = chance_V[begins].sum()
        sums, heads = np.zeros(KINDS), {}
        for token in begins:
            head, kind = head_of(token, tokenizer)
            sums[kind] += chance_V[token] / whole
            heads[head] = heads.get(head, 0.0) + chance_V[token] / whole
        np.testing.assert_allclose(kinds.chance_EK[place], sums, rtol=1e-9)
        assert kinds.came[place] == head_of(int(tokens_T[place]), tokenizer)[1]
        entropy = -sum(chance * math.log2(chance) for chance in heads.values() if chance > 0)
        assert math.isclose(kinds.entropy_bits[place], entropy, rel_tol=1e-9)
        assert math.isclose(found_T[place], math.log(chance_V[tokens_T[place]]), rel_tol=1e-9)
    np.testing.assert_allclose(kinds.chance_EK.sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize("mask", MASKS)
def test_what_the_book_removes_is_the_networks_whatever_the_mask(made, mask):
    kinds, _ = found(made, mask, "exact")
    begins_V = heads_of("exact").head_V >= 0
    expected = []
    for logits_V, grammar_V, book_V, *_ in zip(*made, strict=True):
        chance_V = softmax(logits_V, grammar_V & begins_V)
        expected.append(chance_V[~book_V].sum() if book_V.any() else 0.0)
    np.testing.assert_allclose(kinds.removed, expected, rtol=1e-9, atol=1e-15)
    assert expected[0] > 0.5 and kinds.removed[4] == kinds.removed[5] == 0


def test_only_the_events_that_are_asked_for_are_written(made):
    some, _ = found(made, "book", "exact", events=(-1, -1, 0, 1, -1, 2))
    whole, _ = found(made, "book", "exact")
    for name in ("chance_EK", "came", "entropy_bits", "removed"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[[2, 3, 5]])


@pytest.mark.parametrize("gap", [200.0, 2_000.0])
def test_heads_of_very_unlikely_tokens_keep_their_shares(made, gap):
    """Where digits of the last gap are all but certain to follow, and where the book has the unlikeliest heads."""
    logits_TV, grammar_TV, book_TV, escape_TC, tokens_T = made
    escape_TC = np.full_like(escape_TC, 0.25)
    higher_TV = logits_TV.copy()
    higher_TV[:, 7000:] += np.float32(gap)
    kinds, _ = found((higher_TV, grammar_TV, book_TV, escape_TC, tokens_T), "grammar", "exact")
    before, _ = found((logits_TV, grammar_TV, book_TV, escape_TC, tokens_T), "grammar", "exact")
    np.testing.assert_allclose(kinds.chance_EK, before.chance_EK, rtol=1e-9)
    lower_TV = np.where(book_TV, logits_TV - np.float32(gap), logits_TV)
    kinds, _ = found((lower_TV, grammar_TV, book_TV, escape_TC, tokens_T), "book", "exact")
    assert np.isfinite(kinds.chance_EK).all() and np.isfinite(kinds.entropy_bits).all()
    heads = slice(1000, 7000)
    inside, outside = (softmax(lower_TV[1], allowed)[heads] for allowed in (book_TV[1], grammar_TV[1]))
    token = int((lower_TV[1] + np.where(book_TV[1], 0, -np.inf))[heads].argmax())
    share = 0.75 * inside[token] / (0.75 * inside.sum() + 0.25 * outside.sum())
    assert kinds.chance_EK[1, head_of(token + 1000, "exact")[1]] > share
    np.testing.assert_allclose(kinds.removed[:4], 1, rtol=1e-9)


def test_scores_of_a_case_by_hand():
    chance_EK = np.zeros((2, KINDS))
    chance_EK[:, :4] = [0.5, 0.25, 0.125, 0.125]
    kinds = KindScores(chance_EK, np.array([1, 3]), np.zeros(2), np.zeros(2))
    assert kinds.chance.tolist() == [0.25, 0.125]
    assert kinds.brier.tolist() == [0.25 + 0.5625 + 2 / 64, 0.25 + 0.0625 + 1 / 64 + 49 / 64]
    assert kinds.likelier.tolist() == [0.5, 0.75]  # one that is as likely is not likelier

"""Speculative decoding: every token has the model's distribution, and greedy decoding equals plain decoding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.generation.settings import Order
from lob_jax.generation.speculative import generate_speculatively, judged, verdict
from tests.generation.market import COMPACT, INSTRUMENT, MODEL, SAMPLING, TOKENIZER, assert_valid, lively, prompt, run

HEADS = dataclasses.replace(MODEL, heads=dataclasses.replace(MODEL.heads, next_tokens=3))
ALONE = dataclasses.replace(SAMPLING, paths=1)
DRAWS = 60_000


@pytest.fixture(scope="module")
def params():
    return lively(HEADS)


def speculate(params, *, tokenizer=TOKENIZER, drafts=None, **changes):
    sampling = dataclasses.replace(ALONE, **changes)
    how = {"model": HEADS, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    return generate_speculatively(params, prompt(HEADS), drafts=drafts, **how)


judge = jax.jit(judged)


def many_judged(p, q, tokens, draft, at):
    """Judge drafts with distributions p and q over some tokens of two classes, 1,000 at a time."""
    distributions = [jnp.broadcast_to(jnp.zeros(2_000).at[tokens].set(x), (1_000, 2_000)) for x in (p, q)]
    parts = [judge(*distributions, tokens[draft[i : i + 1_000]], at[i : i + 1_000]) for i in range(0, DRAWS, 1_000)]
    return (np.concatenate(part) for part in zip(*parts, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "q",
    [[1 / 6] * 6, [0.3, 0.1, 0.25, 0.0, 0.3, 0.05], [0.5, 0.0, 0.2, 0.1, 0.1, 0.1]],
    ids=["uniform", "opposite", "a token left out"],
)
def test_what_stands_or_replaces_has_the_distribution_that_was_wanted(q):
    """Chi-square over six tokens of two classes."""
    tokens, p = np.array([7, 40, 999, 1_000, 1_300, 1_999]), np.array([0.05, 0.3, 0.0, 0.25, 0.1, 0.3])
    random = np.random.default_rng(0)
    draft = random.choice(6, DRAWS, p=q)
    stands, other = many_judged(p, np.array(q), tokens, draft, random.random((DRAWS, 3)))
    found = np.bincount(np.searchsorted(tokens, np.where(stands, tokens[draft], other)), minlength=6)
    assert np.isin(other, tokens).all()
    assert found[2] == 0
    expected = DRAWS * p
    chi_square = ((found - expected)[p > 0] ** 2 / expected[p > 0]).sum()
    assert chi_square < 20.5  # the .999 quantile at four degrees of freedom is 18.5
    assert np.mean(stands) == pytest.approx(np.minimum(p, q).sum(), abs=0.005)


A, B, C, D = 3, 1_200, 1_700, 40  # the tokens that a fully confident model predicts, in sequence


@pytest.mark.parametrize(
    ("guesses", "done", "stood", "behind"),
    [
        ((A, B), 3, 2, C),
        ((A, D), 3, 1, B),
        ((D, B), 3, 0, A),  # B is right only after A: a draft after a rejected one is worthless
        ((B, C), 3, 0, A),
        ((A, D), 1, 2, C),  # once the path has all its events, no draft is rejected
        ((D, D), 1, 0, A),
    ],
)
def test_a_round_keeps_the_guesses_in_front_of_the_first_that_falls(guesses, done, stood, behind):
    """Each draft is judged by the distribution after the previous token."""
    wanted_NV = jax.nn.one_hot(jnp.array([A, B, C]), 2_000)
    draft_N = jnp.array([*guesses, 0])
    draft_NV, done_N = jax.nn.one_hot(draft_N, 2_000), jnp.arange(3) >= done
    found = verdict(wanted_NV, draft_NV, draft_N, done_N, jnp.full((3, 3), 0.5))
    assert (int(found[0]), int(found[1])) == (stood, behind)


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [TOKENIZER, COMPACT], ids=["exact", "compact"])
def test_greedily_it_is_plain_decoding(params, tokenizer):
    """Within one context; beyond it, the two methods prefill at different tokens."""
    plain = run(params, model=HEADS, tokenizer=tokenizer, paths=1, events=8, temperature=0.0)
    fast, about = speculate(params, tokenizer=tokenizer, events=8, temperature=0.0)
    np.testing.assert_array_equal(fast.tokens[0], plain.tokens[0])
    assert fast.levels == plain.levels and fast.clock_ns == plain.clock_ns
    assert_valid(fast, events=8, tokenizer=tokenizer)
    assert len(fast.tokens[0]) <= about.rounds + about.accepted + 1


@pytest.mark.slow
def test_speculative_paths_can_have_happened(params):
    generated, about = speculate(params, tokenizer=COMPACT, events=120, drafts=1)
    assert_valid(generated, events=120, tokenizer=COMPACT)
    assert about.rounds > 10 and 0 <= about.accepted <= about.drafted == about.rounds
    assert 119 <= about.rounds + about.accepted <= 120  # a draft after the last event is accepted
    assert 0 < generated.grammar_mass[0] < 1 and 0 < generated.book_mass[0] < 1


@pytest.mark.slow
def test_the_distribution_of_paths_is_that_of_plain_decoding(params):
    """Chi-square between the kinds of the first four events of many plain and many speculative paths."""
    plain = run(params, model=HEADS, tokenizer=COMPACT, paths=200, events=4, seed=1)
    counts = np.zeros((2, 7))
    for tokens in plain.tokens:
        counts[0] += np.bincount(tokens // 1000, minlength=7)[:7]
    for seed in range(200):
        generated, _ = speculate(params, tokenizer=COMPACT, events=4, seed=1_000 + seed)
        counts[1] += np.bincount(generated.tokens[0] // 1000, minlength=7)[:7]
    counts = counts[:, counts.sum(0) >= 10]
    expected = counts.sum(0) / 2
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert counts.shape[1] >= 4 and chi_square < 27.9  # .9995 quantile, 7 degrees of freedom, dependent events


def test_more_drafts_than_heads_are_refused():
    with pytest.raises(InputError, match="drafts"):
        speculate({}, drafts=3)


@pytest.mark.parametrize(
    ("model", "changes", "named"),
    [
        (MODEL, {}, "next_tokens"),
        (HEADS, {"paths": 2}, "paths"),
        (HEADS, {"inject": (Order(1, 5, after_events=0),)}, "inject"),
        (HEADS, {"antithetic": True}, "antithetic"),
    ],
)
def test_what_cannot_be_speculated_is_refused(model, changes, named):
    sampling = dataclasses.replace(ALONE, **changes)
    how = {"model": model, "tokenizer": TOKENIZER, "instrument": INSTRUMENT, "sampling": sampling}
    with pytest.raises(InputError, match="cannot be decoded speculatively") as caught:
        generate_speculatively({}, prompt(model), **how)
    assert named in str(caught.value)

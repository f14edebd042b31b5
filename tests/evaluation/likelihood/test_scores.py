import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import Outline
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood import scores as likelihood_scores
from lob_jax.evaluation.likelihood.scores import (
    Network,
    Rules,
    TokenScores,
    check_scored_once,
    model_apply,
    model_network,
    score_windows,
)
from lob_jax.models.masking import make_masks
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.sets.planes import pack
from lob_jax.tokens.sets.shares import SHAPE, share_table

ESCAPE = np.linspace(0.01, 0.3, int(np.prod(SHAPE))).reshape(SHAPE)


def hand_batch(tokens, scored, *, record, position):
    tokens = np.array(tokens, np.int32)
    return {
        "tokens": tokens,
        "scored": np.array(scored, bool),
        "record": np.array(record, np.int32),
        "position": np.array(position, np.int32),
    }


def next_number(params, tokens_BT, conditioning):
    """Logits over five tokens in which the one after the input has `params`, all others 0."""
    return params * jnp.eye(5)[(tokens_BT + 1) % 5]


COUNTING = Network(next_number, lambda params, logits_BKV: logits_BKV)


def test_scores_go_back_to_their_places():
    batch = hand_batch([[0, 1, 2, 3], [4, 0, 2, 0]], [[0, 0, 1, 1], [1, 1, 1, 0]], record=[1, 0], position=[5, -1])
    scores = score_windows(COUNTING, jnp.float32(2.0), [batch])
    total = math.log(math.exp(2) + 4)
    assert scores.record.tolist() == [0, 0, 1, 1]
    assert scores.position.tolist() == [0, 1, 7, 8]  # a window's first token is never a target
    assert scores.predicted.tolist() == [0, 1, 2, 3]
    assert scores.confidence == pytest.approx([math.exp(2) / (math.exp(2) + 4)] * 4)
    assert scores.nll == pytest.approx([total - 2, total, total - 2, total - 2], abs=1e-6)


def test_a_token_scored_twice_is_refused():
    batch = hand_batch([[0, 1, 2], [1, 2, 3]], [[0, 1, 1], [0, 1, 1]], record=[0, 0], position=[4, 5])
    with pytest.raises(InputError, match="record 0, token 6"):
        score_windows(COUNTING, jnp.float32(1.0), [batch])


@pytest.mark.parametrize(
    ("record", "position", "match"),
    [
        ([0, 0, 1, 1], [2, 3, 0, 1], None),
        ([0, 1, 1], [3, 0, 1], "record 0, token 2"),
        ([0, 0, 1], [2, 3, 0], "record 1, token 1"),
        ([0, 0, 0, 1, 1], [1, 2, 3, 0, 1], "record 0, token 1"),
        ([0, 0, 1, 1, 1], [2, 3, 0, 1, 2], "record 1, token 2"),
        ([0, 0, 0, 1, 1], [2, 3, 3, 0, 1], "record 0, token 3"),
    ],
)
def test_each_token_behind_the_lead_once(record, position, match):
    outlines = [Outline(tokens=4, lead_tokens=2, first_event=9), Outline(tokens=2, lead_tokens=0, first_event=0)]
    scores = TokenScores(np.array(record), np.array(position), *np.zeros((3, len(record))))
    if match is None:
        check_scored_once(scores, outlines)
    else:
        with pytest.raises(InputError, match=match):
            check_scored_once(scores, outlines)


def test_scores_of_real_windows_are_those_of_their_own_prefix(folder, tiny):
    config, params = tiny("rotary")
    source = open_records(folder, "test")
    dataset = TokenBookDataset(source, context=32, time_buckets=config.time_buckets, evaluation=True)
    windows = batches(dataset, batch_size=7, seed=0, epochs=1, shuffle=False)
    scores = score_windows(model_network(config), params, windows)
    check_scored_once(scores, source.outlines)

    window = dataset[3]
    target = int(np.flatnonzero(window["scored"])[4])
    one = {name: np.asarray(array)[None] for name, array in window.items()}
    cut = {name: array[:, : target + 1] if array.ndim > 1 else array for name, array in one.items()}
    cut["scored"] = np.arange(target + 1)[None] == target
    alone = score_windows(model_network(config), params, [cut])
    place = (scores.record == window["record"]) & (scores.position == window["position"] + target)
    assert scores.nll[place] == pytest.approx(alone.nll, rel=1e-5)
    assert scores.predicted[place] == alone.predicted


def test_the_same_configuration_is_compiled_once(tiny):
    config, _ = tiny()
    assert model_apply(config) is model_apply(dataclasses.replace(config))
    assert model_network(config) is model_network(dataclasses.replace(config))


def test_many_scored_positions_take_several_passes_of_few(monkeypatch):
    rng = np.random.default_rng(0)
    tokens, scored = rng.integers(0, 5, (3, 12)), rng.random((3, 12)) < 0.6
    batch = hand_batch(tokens, scored, record=[0, 1, 2], position=[0, 0, 0])
    whole = score_windows(COUNTING, jnp.float32(1.5), [batch])
    monkeypatch.setattr(likelihood_scores, "POSITIONS", 2)
    parts = score_windows(COUNTING, jnp.float32(1.5), [batch])
    for name in ("record", "position", "nll", "predicted", "confidence"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    row, column = np.nonzero(scored[:, 1:])
    assert (whole.record.tolist(), whole.position.tolist()) == (row.tolist(), (column + 1).tolist())


def test_within_the_grammar_every_number_is_that_of_a_softmax_over_what_is_allowed():
    """Random logits over the whole vocabulary, at the tokens of two spelled events; all by float64 from definitions."""
    tokens = np.array([1000, 8000 + 100, 7500, 9000 + 192, 7340, 3500, 8007, 9000])
    grammar, rng = grammar_for(None), np.random.default_rng(2)
    states = np.array([grammar.walk(tokens[:count].tolist()) for count in range(len(tokens))])
    logits_TV = rng.normal(0, 4, (len(tokens), v.VOCAB_SIZE)).astype(np.float32)
    window = np.concatenate([[v.BOS], tokens])
    network = Network(lambda params, tokens_BT, conditioning: params[None], lambda params, x_BKV: x_BKV)
    batch = hand_batch(window[None], np.arange(9)[None] > 0, record=[0], position=[-1])
    batch |= {"state": np.append(states, grammar.start)[None].astype(np.int16)}
    rules = Rules(grammar, make_masks(grammar, ESCAPE))
    scores = score_windows(network, jnp.asarray(logits_TV), [batch], rules=rules)
    assert scores.book is None

    p_TV = scipy.special.softmax(logits_TV.astype(np.float64), axis=1)
    allowed_TV = grammar.allowed[states]
    rows, within = np.arange(len(tokens)), np.where(allowed_TV, p_TV, 0)
    assert scores.nll == pytest.approx(-np.log(p_TV[rows, tokens]), rel=1e-5)
    assert scores.predicted.tolist() == p_TV.argmax(1).tolist()
    assert scores.confidence == pytest.approx(p_TV.max(1), rel=1e-5)
    found = scores.grammar
    assert found.nll == pytest.approx(-np.log(p_TV[rows, tokens] / within.sum(1)), rel=1e-4, abs=1e-6)
    assert found.predicted.tolist() == within.argmax(1).tolist()
    assert found.outside == pytest.approx(1 - within.sum(1), abs=1e-6)
    assert found.field.tolist() == [1, 3, 4, 5, 6, 1, 3, 5]  # as `state_field` says before each token
    assert found.head.tolist() == [0, 5]
    assert found.head_probability == pytest.approx(p_TV[[0, 5]].reshape(2, 10, 1000).sum(-1), rel=1e-4)


def test_allowed_tokens_that_are_next_to_impossible_leave_finite_scores():
    grammar = grammar_for(None)
    logits_V = np.where(grammar.allowed[grammar.start], -200.0, 0.0).astype(np.float32)
    network = Network(lambda params, tokens_BT, conditioning: params[None, None], lambda params, x_BKV: x_BKV)
    batch = hand_batch([[v.BOS, 1000]], [[False, True]], record=[0], position=[-1])
    batch |= {"state": np.full((1, 2), grammar.start, np.int16)}
    rules = Rules(grammar, make_masks(grammar, ESCAPE))
    found = score_windows(network, jnp.asarray(logits_V), [batch], rules=rules).grammar
    assert np.isfinite(found.nll).all() and found.outside.tolist() == [1]


def normalised(p_TV):
    return p_TV / p_TV.sum(1, keepdims=True)


@pytest.mark.parametrize("mask", ["none", "grammar", "book"])
def test_in_the_book_every_number_is_that_of_the_mixture(mask):
    """Random logits and sets, at the tokens of two spelled events; all by float64 from definitions."""
    tokens = np.array([1000, 8000 + 100, 7500, 9000 + 192, 7340, 3500, 8007, 9000])
    grammar, rng = grammar_for(None), np.random.default_rng(3)
    states = np.array([grammar.walk(tokens[:count].tolist()) for count in range(len(tokens))])
    kinds = np.array([0, 1, 1, 1, 1, 1, 3, 3])
    logits_TV = rng.normal(0, 3, (len(tokens), v.VOCAB_SIZE)).astype(np.float32)
    allowed_TV = grammar.allowed[states]
    book_TV = allowed_TV & (rng.random(allowed_TV.shape) < 0.3)
    book_TV[5, tokens[5]] = False  # a token outside its set
    network = Network(lambda params, tokens_BT, conditioning: params[None], lambda params, x_BKV: x_BKV)
    batch = hand_batch(np.concatenate([[v.BOS], tokens])[None], np.arange(9)[None] > 0, record=[0], position=[-1])
    batch |= {"state": np.append(states, 0)[None].astype(np.int16), "kind": np.append(kinds, 3)[None].astype(np.int8)}
    batch |= {"allowed": pack(np.append(book_TV, book_TV[:1], axis=0))[None]}
    rules = Rules(grammar, make_masks(grammar, ESCAPE), mask)
    scores = score_windows(network, jnp.asarray(logits_TV), [batch], rules=rules)

    p_TV = scipy.special.softmax(logits_TV.astype(np.float64), axis=1)
    g_TV, b_TV = (
        np.where(one, p_TV, 0) / np.where(one, p_TV, 0).sum(1, keepdims=True) for one in (allowed_TV, book_TV)
    )
    e_TV = np.repeat(share_table(grammar, ESCAPE)[states, kinds], v.CLASS_SIZE, axis=1).astype(np.float64)
    mixture_TV = (1 - (e_TV * g_TV).sum(1, keepdims=True)) * b_TV + e_TV * g_TV
    rows, predicted_TV = np.arange(len(tokens)), {"none": p_TV, "grammar": g_TV, "book": mixture_TV}[mask]
    assert scores.book.nll == pytest.approx(-np.log(mixture_TV[rows, tokens]), rel=1e-5, abs=1e-6)
    assert scores.book.predicted.tolist() == mixture_TV.argmax(1).tolist()
    assert scores.nll == pytest.approx(-np.log(predicted_TV[rows, tokens]), rel=1e-5, abs=1e-6)
    assert scores.confidence == pytest.approx(predicted_TV.max(1), rel=1e-5)
    within_TV = normalised(np.where(allowed_TV, predicted_TV, 0))
    assert scores.grammar.nll == pytest.approx(-np.log(within_TV[rows, tokens]), rel=1e-4, abs=1e-6)
    assert scores.book.outside == pytest.approx(1 - np.where(book_TV, within_TV, 0).sum(1), abs=1e-6)
    if mask != "none":
        assert scores.grammar.outside == pytest.approx(np.zeros(len(tokens)), abs=1e-6)

"""What is hidden of a window, how, and together with what."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.layers import example_keys
from lob_jax.tokens.vocabulary import CLASS_SIZE, MASK, VOCAB_SIZE, event_index
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.objectives.masked import IGNORED, create_mlm_batch, hidden_tokens

B, T = 60, 300


@pytest.fixture
def tokens():
    """Return windows that begin inside an event, and in which events of three and of four tokens alternate."""
    random = np.random.default_rng(0)
    pattern = np.tile([8_040, 9_320, 1_003, 8_040, 9_320, 7_120, 1_503, 8_040, 9_320], T)[:T]
    return jnp.asarray(pattern + random.integers(0, 100, (B, T)), jnp.int32)


def hide(tokens_BT, *, scored_BT=None, seed=1, **how):
    scored_BT = jnp.ones(tokens_BT.shape, bool) if scored_BT is None else scored_BT
    keys_B = example_keys(jax.random.key(seed), jnp.arange(len(tokens_BT)))
    made = create_mlm_batch(
        tokens_BT, keys_B, **{"scored_BT": scored_BT, "share": 0.3, "vocab_size": VOCAB_SIZE, **how}
    )
    return map(np.asarray, made)


@pytest.mark.parametrize("events", [False, True])
def test_a_share_of_the_scored_tokens_is_hidden_as_bert_hides_them(tokens, events):
    scored_BT = np.random.default_rng(0).random((B, T)) < 0.5
    shown_BT, label_BT = hide(tokens, scored_BT=scored_BT, events=events)
    hidden_BT, tokens_BT = label_BT != IGNORED, np.asarray(tokens)
    assert not (hidden_BT & ~scored_BT).any()
    np.testing.assert_array_equal(shown_BT[~hidden_BT], tokens_BT[~hidden_BT])
    np.testing.assert_array_equal(label_BT[hidden_BT], tokens_BT[hidden_BT])
    draws = hidden_BT.sum() if not events else hidden_BT.sum() / 4  # tokens of an event are one draw
    for found, share, count in [
        (hidden_BT.sum() / scored_BT.sum(), 0.3, draws / 0.3),
        ((shown_BT == MASK)[hidden_BT].mean(), 0.8, draws),
        ((shown_BT == tokens_BT)[hidden_BT].mean(), 0.1, draws),
    ]:
        assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / count))


def test_a_random_token_is_of_the_class_of_what_it_replaces(tokens):
    shown_BT, label_BT = hide(tokens, share=0.9)
    random_BT = (shown_BT != np.asarray(tokens)) & (shown_BT != MASK)
    assert random_BT.sum() > 1000
    np.testing.assert_array_equal(shown_BT[random_BT] // CLASS_SIZE, label_BT[random_BT] // CLASS_SIZE)
    assert len(np.unique(shown_BT[random_BT])) > 1000  # of about 1,700 draws among 4,000 tokens
    small_BT, _ = hide(tokens % 7 + 8, share=0.9, vocab_size=15)
    assert small_BT.max() < 15


def test_all_tokens_of_an_event_are_hidden_together_and_alike(tokens):
    shown_BT, label_BT = hide(tokens, events=True)
    mixed = set()
    for tokens_T, shown_T, label_T in zip(np.asarray(tokens), shown_BT, label_BT, strict=True):
        event_T = event_index(tokens_T)  # -1 for those before the first head
        for event in np.unique(event_T):
            inside = event_T == event
            assert len({*(label_T[inside] != IGNORED)}) == 1
            mixed.add(tuple(np.unique((shown_T == MASK)[inside])))
    assert mixed == {(False,), (True,)}


def test_events_without_other_tokens_are_hidden_like_tokens():
    heads_BT = jnp.full((2, 5), 1_003, jnp.int32)
    for how in ({"share": 0.999999}, {"share": 1e-6}):
        (_, by_token), (_, by_event) = (hide(heads_BT, **how, events=events) for events in (False, True))
        np.testing.assert_array_equal(by_token, by_event)


def test_what_is_hidden_does_not_depend_on_the_rest_of_the_batch(tokens):
    keys_B = example_keys(jax.random.key(1), jnp.arange(B))
    how = {"share": 0.3, "vocab_size": VOCAB_SIZE, "events": True}
    shown_BT, _ = create_mlm_batch(tokens, keys_B, scored_BT=jnp.ones((B, T)), **how)
    alone_BT, _ = create_mlm_batch(tokens[7:8], keys_B[7:8], scored_BT=jnp.ones((1, T)), **how)
    np.testing.assert_array_equal(alone_BT[0], shown_BT[7])


def test_the_objective_hides_events_if_asked_to(tokens, model_config):
    batch = {"tokens": tokens, "scored": np.ones((B, T), bool), "example": np.arange(B, dtype=np.int32)}
    model, objective = model_config(vocab_size=VOCAB_SIZE), dataclasses.replace(NEXT_TOKEN, kind="masked")
    by_token, by_event = (
        np.asarray(hidden_tokens(batch, None, model, dataclasses.replace(objective, mask_events=events))[3])
        for events in (False, True)
    )
    pair = (slice(None), slice(2, 4))  # a head and its size
    assert (by_event[pair][:, 0] == by_event[pair][:, 1]).all() and by_event[pair].any()
    assert (by_token[pair][:, 0] != by_token[pair][:, 1]).any()

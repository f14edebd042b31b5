"""What `visualize_attention` shows is what the model mixes by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.generation.context import prompt_window
from lob_jax.models.transformer import LOBTransformer
from lob_jax.runs.attention import visualize_attention
from lob_jax.runs.prompt import prompt_from_day


def other(run, kind, **settings):
    """Return a run whose model attends in another way, with the parameters that it has."""
    attention = dataclasses.replace(run.model.attention, kind=kind, **settings)
    return dataclasses.replace(run, model=dataclasses.replace(run.model, attention=attention))


def normalised(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-6) * scale + bias


def weights_by_hand(run, day, events):
    """Return the weights of the first layer in NumPy, from the embeddings and the parameters."""
    reads = {"tokenizer": run.tokenizer, "time_buckets": run.model.time_buckets, "beside": run.beside}
    prompt = prompt_from_day(day, events=events, book_levels=run.config.data.book_levels, **reads)
    window, _ = prompt_window([prompt], 1, 64)
    T = window.tokens_BT.shape[1]
    bound = LOBTransformer(run.model).bind({"params": run.params})
    x_TD = np.asarray(bound.embeddings(window.tokens_BT, jnp.arange(T)[None], window.known, None)[0], np.float64)
    block = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), run.params["blocks_0"])
    x_TD = normalised(x_TD, block["norm1"]["scale"], block["norm1"]["bias"])
    qkv = (
        np.einsum("TD,DPNH->PTNH", x_TD, block["attention"]["qkv"]["kernel"])
        + block["attention"]["qkv"]["bias"][:, None]
    )
    score_NTS = np.einsum("TNH,SNH->NTS", qkv[0], qkv[1]) / np.sqrt(qkv.shape[-1])
    exp_NTS = np.exp(score_NTS) * np.tril(np.ones((T, T)))
    return exp_NTS / exp_NTS.sum(-1, keepdims=True)


@pytest.mark.slow
def test_the_weights_equal_a_softmax_by_hand_sum_to_one_and_see_no_later_token(run, day):
    view = visualize_attention(run, day, events=4)
    weight_NTT = view.weight_LNTT[0]
    np.testing.assert_allclose(weight_NTT, weights_by_hand(run, day, 4), atol=2e-6)
    np.testing.assert_allclose(view.weight_LNTT.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.triu(weight_NTT, 1), 0)
    assert np.tril(weight_NTT).min(where=np.tril(np.ones(weight_NTT.shape, bool)), initial=1) > 0


def test_tokens_and_events_have_labels_in_words(run, day):
    view = visualize_attention(run, day, events=4)
    assert view.token_labels == tuple(run.tokenizer.describe(int(token)) for token in view.tokens_T)
    assert len(view.event_labels) == 4 == view.event_T.max() + 1
    assert all(label.split()[0] in Kind.__members__ for label in view.event_labels)
    panels = [axes for axes in view.figure.axes if axes.images]
    assert len(panels) == run.model.n_layers * run.model.n_heads
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == list(view.event_labels)
    (axes,) = [axes for axes in view.of_head(0, 1).axes if axes.images]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(0), view.weight_LNTT[0, 1])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(view.token_labels)


def test_a_head_with_a_horizon_sees_only_its_window(run, day):
    view = visualize_attention(other(run, "multi_scale", horizons=("1 events", "all")), day, events=5)
    near, far = view.weight_LNTT[0]
    back = view.event_T[:, None] - view.event_T[None]
    causal = np.tril(np.ones(near.shape, bool))
    np.testing.assert_array_equal(near > 0, causal & (back <= 1))
    np.testing.assert_array_equal(far > 0, causal)
    np.testing.assert_allclose(view.weight_LNTT.sum(-1), 1, atol=1e-5)


def test_without_a_day_it_reads_the_first_test_events(run):
    assert len(visualize_attention(run, events=3).event_labels) == 3


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [("linformer", {}, "summaries"), ("full", {"cross_asset": True}, "second instrument")],
)
def test_attention_without_weights_over_tokens_is_refused_with_the_reason(run, day, kind, settings, reason):
    with pytest.raises(InputError, match=reason):
        visualize_attention(other(run, kind, **settings), day)

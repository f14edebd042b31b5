import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import Outline
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.scores import TokenScores, check_scored_once, model_apply, score_windows


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


def test_scores_go_back_to_their_places():
    batch = hand_batch([[0, 1, 2, 3], [4, 0, 2, 0]], [[0, 0, 1, 1], [1, 1, 1, 0]], record=[1, 0], position=[5, -1])
    scores = score_windows(next_number, jnp.float32(2.0), [batch])
    total = math.log(math.exp(2) + 4)
    assert scores.record.tolist() == [0, 0, 1, 1]
    assert scores.position.tolist() == [0, 1, 7, 8]  # a window's first token is never a target
    assert scores.predicted.tolist() == [0, 1, 2, 3]
    assert scores.nll == pytest.approx([total - 2, total, total - 2, total - 2], abs=1e-6)


def test_a_token_scored_twice_is_refused():
    batch = hand_batch([[0, 1, 2], [1, 2, 3]], [[0, 1, 1], [0, 1, 1]], record=[0, 0], position=[4, 5])
    with pytest.raises(InputError, match="record 0, token 6"):
        score_windows(next_number, jnp.float32(1.0), [batch])


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
    scores = TokenScores(np.array(record), np.array(position), np.zeros(len(record)), np.zeros(len(record)))
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
    scores = score_windows(model_apply(config), params, windows)
    check_scored_once(scores, source.outlines)

    window = dataset[3]
    target = int(np.flatnonzero(window["scored"])[4])
    one = {name: np.asarray(array)[None] for name, array in window.items()}
    cut = {name: array[:, : target + 1] if array.ndim > 1 else array for name, array in one.items()}
    cut["scored"] = np.arange(target + 1)[None] == target
    alone = score_windows(model_apply(config), params, [cut])
    place = (scores.record == window["record"]) & (scores.position == window["position"] + target)
    assert scores.nll[place] == pytest.approx(alone.nll, rel=1e-5)
    assert scores.predicted[place] == alone.predicted


def test_the_same_configuration_is_compiled_once(tiny):
    config, _ = tiny()
    assert model_apply(config) is model_apply(dataclasses.replace(config))

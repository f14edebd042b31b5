"""Further heads, against definitions on few numbers, and against a model's own outputs on real windows."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from lob_jax.data.labels.moves import NO_LABEL, fit_outlooks, log_volatility
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import mids, record_instrument
from lob_jax.data.windows.known import ALWAYS, Beside
from lob_jax.evaluation.evaluate import evaluate_heads, open_windows
from lob_jax.evaluation.table import head_tables
from lob_jax.models.config import HeadsConfig
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens.vocabulary import VOCAB_SIZE
from lob_jax.training.step.shift import shift


def stacked(windows):
    return {name: np.stack([window[name] for window in windows]) for name in windows[0]}


@pytest.fixture(scope="module")
def several(folder, tiny):
    """A model that predicts three tokens ahead and two horizons, what it reads, and its scores."""
    config, params = tiny("rotary", heads=HeadsConfig(next_tokens=3, outlook_events=(5, 10), contrastive_size=0))
    outlooks = fit_outlooks(open_records(folder, "train"), (5, 10))
    beside = Beside(names=(*ALWAYS, "direction", "log_volatility"), outlooks=outlooks)
    result = evaluate_heads(config, params, folder, split="test", batch_size=5, beside=beside)
    windows = open_windows(config, open_records(folder, "test"), evaluation=True, beside=beside)
    return config, params, beside, result, [windows[index] for index in range(len(windows))]


@pytest.mark.slow
def test_each_label_of_a_scored_event_counts_once_for_every_forecast(several, folder):
    *_, beside, result, windows = several
    source = open_records(folder, "test")
    for k, one in enumerate(result["outlook"]):
        labels = [beside.outlooks.of(source[index])[0][:, k] for index in range(len(source))]
        expected = 0
        for window in windows:
            labelled = (window["direction"][:-1, k] != NO_LABEL) & window["scored"][1:]
            expected += labelled.sum()
        counts = {scores["count"] for scores in one["volatility"].values()}
        assert counts == {expected} == {scores["events"] for scores in one["direction"].values()}
        assert 0 < expected <= sum((label != NO_LABEL).sum() for label in labels)


@pytest.mark.slow
def test_the_model_is_scored_by_its_own_outputs(several):
    config, params, _, result, windows = several
    batch = stacked(windows)
    tokens_BT, conditioning, _, weights_BT = shift(batch)
    out = LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning, method="outlook")
    direction, volatility = batch["direction"][:, :-1, 1], batch["log_volatility"][:, :-1, 1]
    known = (direction != NO_LABEL) & (np.asarray(weights_BT) > 0)
    right = (np.asarray(out.direction_BTK3)[:, :, 1].argmax(-1) == direction)[known]
    error = np.abs(np.asarray(out.log_volatility_BTK)[:, :, 1] - volatility)[known]
    found = result["outlook"][1]
    assert found["direction"]["model"]["accuracy"] == pytest.approx(right.mean())
    low, high = found["direction"]["model"]["intervals"]["accuracy"]
    assert low <= right.mean() <= high
    assert found["volatility"]["model"]["mae"] == pytest.approx(error.mean(), rel=1e-5)
    low, high = found["volatility"]["model"]["intervals"]["mae"]
    assert low < error.mean() < high
    assert found["volatility"]["model"]["blocks"] == found["direction"]["model"]["blocks"]


def test_the_last_realised_volatility_is_that_of_as_many_events_before(several, folder):
    *_, beside, result, windows = several
    source, errors = open_records(folder, "test"), []
    for window in windows:
        record = source[int(window["record"])]
        tick = record_instrument(record).tick
        mid = mids(record)
        known = (window["direction"][:-1, 0] != NO_LABEL) & window["scored"][1:]
        for event, label in zip(window["event"][:-1][known], window["log_volatility"][:-1, 0][known], strict=True):
            last = mid[event + 1 - 5 : event + 2]  # from 5 events before the book after this event, up to that book
            errors.append(abs(log_volatility(last, 5, tick)[0] - label))
    assert result["outlook"][0]["volatility"]["last_realised"]["mae"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_frequencies_of_training_have_its_log_loss(several):
    *_, result, _ = several
    for one in result["outlook"]:
        by_frequency = one["direction"]["training_frequencies"]
        assert by_frequency["log_loss"] == pytest.approx(by_frequency["prior_log_loss"])
        assert one["volatility"]["training_mean"]["r2"] == 0


def test_tokens_ahead_are_scored_as_the_heads_see_them(several, folder):
    config, params, _, result, windows = several
    model, batch = LOBTransformer(config), stacked(windows)
    nats, tokens, right = np.zeros(3), 0, np.zeros(3)
    tokens_BT, conditioning, targets_BT, _ = shift(batch)
    x_BTD, _ = model.apply({"params": params}, tokens_BT, conditioning, method="stream")
    logits = [model.apply({"params": params}, x_BTD, conditioning, method="logits_of")[:, :, None]]
    logits.append(model.apply({"params": params}, x_BTD, method="ahead_logits"))
    log_p = np.asarray(jax.nn.log_softmax(np.concatenate(logits, axis=2)))
    for row, target in zip(*np.nonzero(batch["scored"][:, 1:]), strict=True):
        if target >= 2:
            tokens += 1
            for k in range(3):
                nats[k] -= log_p[row, target - k, k, targets_BT[row, target]]
                right[k] += log_p[row, target - k, k].argmax() == targets_BT[row, target]
    for k, one in enumerate(result["ahead"]):
        assert (one["tokens_ahead"], one["tokens"]) == (k + 1, tokens)
        assert one["model"]["bits_per_token"] == pytest.approx(nats[k] / tokens / math.log(2), rel=1e-5)
        assert one["model"]["token_accuracy"] == pytest.approx(right[k] / tokens)
    counts = np.array(json.loads((folder / "records.json").read_text())["token_counts"]["train"]) + 1
    target = np.concatenate([window["tokens"][1:][np.arange(32) >= 2][window["scored"][3:]] for window in windows])
    expected = -np.log2(counts[target] / (counts.sum())).mean()
    assert result["ahead"][0]["zero_order"]["bits_per_token"] == pytest.approx(expected)
    assert len(counts) == VOCAB_SIZE


def test_tables_of_heads_show_every_horizon_and_distance(several):
    *_, result, _ = several
    outlook, ahead = head_tables({"heads": result})
    assert outlook.row_count == 2 * 3 and ahead.row_count == 3
    assert head_tables({}) == []


def test_a_model_without_further_heads_has_no_scores_of_them(folder, tiny):
    config, params = tiny("rotary")
    assert dataclasses.asdict(config.heads)["next_tokens"] == 1
    assert evaluate_heads(config, params, folder, split="test", batch_size=5) == {}

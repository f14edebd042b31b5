"""The discriminator: AUC, its level on equal flow, and planted differences."""

import dataclasses
import io
import json

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from lob_jax.evaluation.fidelity import discriminator
from lob_jax.evaluation.fidelity.discriminator import (
    assign_folds,
    auc,
    discriminate,
    discriminator_table,
    held_out_scores,
    permuted_labels,
)
from tests.made_flow import made_flow, random_flow


def test_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 6, (3, 40)).astype(float)
    label = np.where(rng.random((3, 40)) < 0.4, 1.0, -1.0)
    for found, s, y in zip(auc(score, label), score, label, strict=True):
        u = scipy.stats.mannwhitneyu(s[y > 0], s[y < 0]).statistic
        assert found == pytest.approx(u / ((y > 0).sum() * (y < 0).sum()))


@pytest.mark.parametrize("other", [20, 25])
def test_folds_hold_pairs_and_equal_parts(other):
    folds = assign_folds(20, other, folds=5, rng=np.random.default_rng(0))
    assert (
        np.bincount(folds.fold[:20]).tolist() == [4] * 5 and np.bincount(folds.fold[20:]).tolist() == [other // 5] * 5
    )
    assert folds.paired == (other == 20)
    if folds.paired:
        np.testing.assert_array_equal(folds.fold[:20], folds.fold[20:])


@pytest.mark.parametrize("other", [20, 25])
def test_permutations_keep_the_folds_balanced(other):
    folds = assign_folds(20, other, folds=5, rng=np.random.default_rng(0))
    label = np.repeat([-1.0, 1.0], [20, other])
    labels = permuted_labels(label, folds, draws=50, rng=np.random.default_rng(1))
    for fold in range(5):
        inside = folds.fold == fold
        assert (labels[:, inside].sum(axis=1) == label[inside].sum()).all()
    assert not (labels == label).all()
    if folds.paired:
        np.testing.assert_array_equal(labels[:, :20], -labels[:, 20:])


def test_no_sequence_is_scored_by_a_fit_that_saw_its_label():
    rng = np.random.default_rng(0)
    feature, label = rng.normal(size=(30, 5)), rng.choice([-1.0, 1.0], 30)
    folds = assign_folds(12, 18, folds=5, rng=rng)
    changed = np.where(folds.fold == 2, -label, label)
    one, other = discriminator.scores_by_fold(feature, np.stack([label, changed]), folds)[0]
    np.testing.assert_allclose(one[folds.fold == 2], other[folds.fold == 2], rtol=1e-12)
    assert (np.abs(one - other)[folds.fold == 1] > 1e-6).all()


@pytest.mark.parametrize("other", [30, 24], ids=["pairs", "apart"])
def test_the_level_on_features_of_one_distribution(other):
    """With equal distributions the p-values are uniform, and the AUC is a half."""
    areas, values = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        label = np.repeat([-1.0, 1.0], [30, other])
        folds = assign_folds(30, other, folds=5, rng=rng)
        labels = np.concatenate([label[None], permuted_labels(label, folds, draws=39, rng=rng)])
        found = auc(held_out_scores(rng.normal(size=(30 + other, 8)), labels, folds), labels)
        areas.append(found[0])
        values.append(np.mean(found >= found[0]))
    assert abs(np.mean(areas) - 0.5) < 0.05
    assert scipy.stats.kstest(values, "uniform").pvalue > 0.01


def test_a_change_of_spread_alone_is_found():
    rng = np.random.default_rng(0)
    feature = rng.normal(size=(120, 10))
    feature[60:] *= 2
    label = np.repeat([-1.0, 1.0], 60)
    folds = assign_folds(60, 60, folds=5, rng=rng)
    assert auc(held_out_scores(feature, label[None], folds), label[None])[0] > 0.65
    ridge, _ = discriminator.scores_by_fold(feature, label[None], folds)
    assert auc(ridge, label[None])[0] > 0.8


@pytest.fixture(scope="module")
def tested():
    real = random_flow(0, sequences=20)
    planted = random_flow(1, sequences=20)
    planted = dataclasses.replace(planted, size=np.where(planted.kind == 1, planted.size * 2, planted.size))
    flows = {"same": random_flow(2, sequences=20), "planted": planted, "few": random_flow(3, sequences=4)}
    return discriminate(real, flows, permutations=99, draws=100), real, flows


def test_a_planted_difference_is_found_and_named(tested):
    planted = tested[0]["models"]["planted"]
    assert planted["auc"] > 0.8 and planted["low"] > 0.6 and planted["p"] <= 0.02 and planted["f1"] > 0.6
    assert any("size" in name for name, _ in planted["apart"][:3])


def test_equal_flow_is_not(tested):
    same = tested[0]["models"]["same"]
    assert same["p"] > 0.05 and same["low"] < 0.5 < same["high"] + 0.15


def test_too_few_sequences_are_said_so(tested):
    few = tested[0]["models"]["few"]
    assert few["reason"] == "fewer than 10 sequences" and few["auc"] is None
    empty = discriminate(made_flow(*[[]] * 12), {"g": made_flow(*[[]] * 12)}, permutations=5)["models"]["g"]
    assert empty["reason"] == "no statistic differs between sequences"


def test_a_table_of_100_columns(tested):
    json.dumps(tested[0], allow_nan=False)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(discriminator_table(tested[0]))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100 and "fewer than" in text


def test_the_seed_decides(tested):
    _, real, flows = tested
    once, again = (discriminate(real, {"g": flows["same"]}, permutations=19, draws=20, seed=3) for _ in range(2))
    assert once == again
    assert discriminator._telling(("a", "b"), np.array([[0.0, 1], [1, 1], [2, 0]]), np.array([-1.0, -1, 1]))[0] == [
        "a",
        1.0,
    ]

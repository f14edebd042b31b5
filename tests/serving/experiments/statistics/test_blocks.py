"""Means of blocks."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.serving.experiments.statistics.blocks import block_means
from tests.serving.experiments.made import experiment

PAIRED = experiment("paired", 3, block=4, gap=1)
SPLIT = experiment("split", 3, block=4, gap=1)


def test_paired_by_hand():
    control = np.arange(10.0)
    scores = {"c": control - 1.0, "a": control, "b": control + np.array([9, 0, 0.3, -9, 9, 1, 1, 1, 5, 5.0])}
    assert block_means(PAIRED, scores, clip=2.0) == pytest.approx(np.array([[0, -1.7 / 3, -1], [0, 1, -1]]))
    assert block_means(PAIRED, scores) == pytest.approx(np.array([[0, -8.7 / 3, -1], [0, 1, -1]]))


def test_split_by_hand():
    found = block_means(SPLIT, {"b": np.array([9.0, 1, 2, 3, 9, -4, -5, -6, 7])}, clip=2.0)
    assert found[:, 1].tolist() == [2.0, -5.0] and np.isnan(found[:, [0, 2]]).all()


@pytest.mark.parametrize("design", [PAIRED, SPLIT])
@pytest.mark.parametrize("count", [0, 3])
def test_without_a_complete_block_there_is_no_row(design, count):
    names = "abc" if design is PAIRED else "b"
    assert block_means(design, {name: np.zeros(count) for name in names}).shape == (0, 3)


@hypothesis.given(st.lists(st.floats(-1e300, 0), min_size=8, max_size=23), st.integers(1, 4))
def test_events_of_one_block_after_another_are_those_of_all_at_once(values, blocks):
    scores = {"a": np.array(values), "b": np.array(values[::-1]), "c": np.zeros(len(values))}
    whole = block_means(PAIRED, scores, clip=2.0)
    cut = 4 * blocks
    parts = [block_means(PAIRED, {k: v[part] for k, v in scores.items()}, clip=2.0) for part in _halves(cut)]
    assert (np.concatenate(parts) == whole).all() and np.abs(whole).max() <= 2


def _halves(cut):
    return slice(None, cut), slice(cut, None)


def test_events_that_arms_hold_for_impossible():
    impossible = np.array([0, -np.inf, -np.inf, 0])
    scores = {"a": impossible, "b": np.zeros(4), "c": impossible}
    assert block_means(PAIRED, scores, clip=2.0) == pytest.approx(np.array([[0, 4 / 3, 0]]))


@pytest.mark.parametrize(
    ("design", "scores"),
    [
        (PAIRED, {"a": np.zeros(4), "b": np.zeros(4)}),
        (PAIRED, {"a": np.zeros(4), "b": np.zeros(4), "c": np.zeros(4), "d": np.zeros(4)}),
        (PAIRED, {"a": np.zeros(4), "b": np.zeros(5), "c": np.zeros(4)}),
        (PAIRED, {"a": np.zeros(4), "b": np.full(4, np.nan), "c": np.zeros(4)}),
        (SPLIT, {"a": np.zeros(4), "b": np.zeros(4)}),
        (SPLIT, {"d": np.zeros(4)}),
        (SPLIT, {}),
    ],
)
def test_scores_that_do_not_fit_are_refused(design, scores):
    with pytest.raises(InputError, match="experiment trial"):
        block_means(design, scores)

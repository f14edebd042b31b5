"""Features of sequences: ranks, quantiles, and what all flows have."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from lob_jax.evaluation.fidelity.features import (
    QUANTILES,
    normal_scores,
    sequence_features,
    sequence_quantiles,
    varying,
)
from lob_jax.evaluation.fidelity.score import Values
from tests.made_flow import made_flow, random_flow


@pytest.fixture(scope="module")
def flows():
    return {"one": random_flow(0, sequences=6), "other": random_flow(1, sequences=9)}


def test_one_row_per_sequence_in_any_units(flows):
    features = sequence_features(flows)
    assert features.value["one"].shape == (6, len(features.names)) and len(features.value["other"]) == 9
    assert len(set(features.names)) == len(features.names) >= 100
    table = np.concatenate(list(features.value.values()))
    np.testing.assert_allclose(table.mean(axis=0), 0, atol=1e-9)
    assert (table.std(axis=0) <= 1 + 1e-9).all() and (table.std(axis=0) > 0.5).all()


def test_names_of_flows_and_their_order_do_not_matter(flows):
    features = sequence_features(flows)
    swapped = sequence_features({"b": flows["other"], "a": flows["one"]})
    np.testing.assert_allclose(features.value["one"], swapped.value["a"], atol=1e-12)


def test_what_a_flow_lacks_is_read_of_none(flows):
    without = dataclasses.replace(flows["other"], time_ns=np.zeros_like(flows["other"].time_ns))
    names = sequence_features({**flows, "other": without}).names
    assert not any("per second" in name for name in names) and any(
        "per second" in n for n in sequence_features(flows).names
    )


def test_books_without_messages_have_features_of_the_book_alone(flows):
    messages = {name: 0 * getattr(flows["other"], name) for name in ("kind", "side", "price", "size", "order_id")}
    names = sequence_features({**flows, "other": dataclasses.replace(flows["other"], **messages)}).names
    assert "spread: mean" in names and not any("then" in name for name in names)


def test_normal_scores_are_quantiles_of_ranks():
    column = np.array([30.0, 10.0, np.nan, 20.0, 20.0])
    found, other = normal_scores(np.stack([column, np.arange(5.0)], axis=1)).T
    expected = scipy.stats.norm.ppf((np.array([4, 1, 2.5, 2.5]) - 0.5) / 4)
    np.testing.assert_allclose(np.delete(found, 2), (expected - expected.mean()) / expected.std())
    assert found[2] == 0
    quantile = scipy.stats.norm.ppf((np.arange(5) + 0.5) / 5)
    np.testing.assert_allclose(other, quantile / quantile.std(), atol=1e-12)


def test_columns_vary_that_enough_rows_know_and_differ_in():
    nan = np.nan
    table = np.array([[1, 1, 1, nan], [1, 2, nan, nan], [1, nan, nan, nan], [1, nan, 2, 5.0]])
    assert varying(table).tolist() == [False, True, True, False]
    assert varying(table[:1]).tolist() == [False] * 4 and varying(table[:0]).tolist() == [False] * 4


def test_quantiles_by_sequence():
    rng = np.random.default_rng(0)
    value, sequence = rng.normal(size=60), np.repeat([0, 2], [20, 40])
    found = sequence_quantiles(Values(value, sequence, np.arange(60)), 3)
    for s in (0, 2):
        each = value[sequence == s]
        near = np.quantile(each, [np.array(QUANTILES) - 1 / len(each), np.array(QUANTILES) + 1 / len(each)])
        assert ((near[0] <= found[s]) & (found[s] <= near[1])).all() and np.isin(found[s], each).all()
    assert np.isnan(found[1]).all()
    assert np.isnan(sequence_quantiles(Values(np.zeros(0), *np.zeros((2, 0), np.int64)), 2)).all()


def test_flows_without_messages_have_no_features():
    assert sequence_features({"a": made_flow([], []), "b": made_flow([])}).names == ()

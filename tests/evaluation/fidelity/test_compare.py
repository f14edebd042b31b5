"""The comparison of flows as a whole: its keys, floors and ratios, seeds, and flows that lack something."""

import dataclasses
import json

import numpy as np
import pytest

import lob_jax
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.compare import compare
from lob_jax.evaluation.fidelity.distances.draws import halves
from lob_jax.evaluation.fidelity.distances.parts import cropped
from lob_jax.evaluation.fidelity.score import all_scores
from lob_jax.statistics.distances import distances
from lob_jax.statistics.flow import joined


@pytest.fixture(scope="module")
def wide(flow):
    """The same flow with every ask one tick higher."""
    price = flow.book_price.copy()
    price[:, 1] += np.where(price[:, 1] > 0, flow.instrument.tick, 0)
    return dataclasses.replace(flow, book_price=price)


@pytest.fixture(scope="module")
def result(flow, wide):
    return compare(flow, {"copy": flow, "wide": wide}, training=flow, splits=6, resamples=8, block=50, seed=1)


def test_it_is_json_with_an_entry_for_everything(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["package"] == lob_jax.__version__ and list(result["flows"]) == ["real", "copy", "wide", "training"]
    assert list(result["scores"]) == [score.name for score in all_scores()]
    for entry in (*result["scores"].values(), *result["conditional"].values()):
        assert entry["version"] >= 1 and list(entry["models"]) == ["copy", "wide", "training"]
    assert result["flows"]["real"]["messages_per_sequence"] == {"min": 150, "median": 150, "max": 150}
    assert result["measures"]["measures"] and list(result["summary"]) == [
        "lob_bench",
        "further",
        "conditional",
        "lagged",
    ]


def test_a_copy_has_distance_zero_and_ratio_one(result):
    """A sequence is never compared with its own copy in the halves, so copies differ as real halves do."""
    for entry in (*result["scores"].values(), *result["conditional"].values()):
        found = entry["models"]["copy"]
        for metric in ("l1", "w1", "ks"):
            assert found[metric]["value"] in (0, None)
            assert found[metric]["half"] == found[metric]["floor"]
            assert found[metric]["ratio"] in (1, None)
    summary = result["summary"]["lob_bench"]["copy"]["l1"]
    assert summary["mean"]["value"] == 0 and summary["ratio"] == 1 and summary["scores"] == 21


def test_another_spread_is_seen_in_the_spread(result):
    found = {name: entry["models"]["wide"]["l1"] for name, entry in result["scores"].items()}
    assert found["spread"]["value"] > 0.2 and found["spread"]["ratio"] > 1.1
    assert found["bid_volume"]["value"] == 0 and found["bid_volume"]["ratio"] == 1


def test_half_and_floor_are_means_over_halves_drawn_again(flow, wide, result):
    score = next(score for score in all_scores() if score.name == "spread")
    draws = halves(len(flow), len(wide), splits=6, seed=1)
    pairs = {"half": (wide, draws.generated), "floor": (flow, draws.second)}
    for name, (other, chosen) in pairs.items():
        slow = [
            distances(score.values(flow.select(a)).value, score.values(other.select(b)).value, discrete=True)
            for a, b in zip(draws.first, chosen, strict=True)
        ]
        found = [result["scores"]["spread"]["models"]["wide"][metric][name] for metric in ("l1", "w1", "ks")]
        np.testing.assert_allclose(found, np.mean(slow, axis=0), rtol=1e-12)


def test_the_seed_decides(flow, wide, result):
    real = flow.select([0, 1, 2, 3])
    one, same, other = (compare(real, {"wide": wide}, splits=2, resamples=3, seed=seed) for seed in (1, 1, 2))
    assert one == same and one["scores"] != other["scores"]


def test_a_book_without_messages(flow):
    bookish = dataclasses.replace(
        flow,
        kind=np.zeros_like(flow.kind),
        time_ns=np.zeros_like(flow.time_ns),
        order_id=np.zeros_like(flow.order_id),
    )
    result = compare(flow, {"bookish": bookish}, splits=2, resamples=2)
    depth = result["scores"]["limit_ask_order_depth"]["models"]["bookish"]
    assert depth["reason"] == "generated: the flow has a book, but no messages"
    assert depth["l1"]["value"] is None and depth["l1"]["ratio"] is None and depth["l1"]["floor"] > 0
    assert result["scores"]["spread"]["models"]["bookish"]["l1"]["value"] == 0
    assert result["summary"]["lob_bench"]["bookish"]["l1"]["scores"] == 10


def test_a_flow_without_values_is_as_far_as_can_be(flow):
    quiet = dataclasses.replace(flow, kind=np.where(flow.kind == 4, 5, flow.kind).astype(np.uint8))
    found = compare(flow, {"quiet": quiet}, splits=2, resamples=2)["scores"]["vol_per_min"]["models"]["quiet"]
    assert found["l1"]["value"] == 1 and found["ks"]["value"] == 1 and found["w1"]["value"] is None
    assert found["reason"] == "generated flow has no values"


def test_short_and_empty_flows_are_not_defined(flow):
    result = compare(flow, {"short": cropped(flow, 90), "none": flow.select([])}, splits=2, resamples=2)
    of_flow = result["scores"]["ofi"]["models"]
    assert of_flow["short"]["reason"] == "real flow has no values in sequences of 90 messages"
    assert of_flow["short"]["l1"]["value"] is of_flow["none"]["l1"]["value"] is None
    assert result["divergence"]["short"]["first_message"] == []
    spread = result["scores"]["spread"]["models"]["short"]["l1"]
    assert spread["half"] == spread["floor"]  # both at the length of the short flow


def test_more_generated_sequences_than_real_ones(flow):
    many = joined([flow, flow, flow])
    assert compare(flow, {"many": many}, splits=2, resamples=2)["scores"]["spread"]["models"]["many"]["l1"]["half"] > 0


def test_flows_of_fewer_levels_are_compared_at_these(flow):
    one = dataclasses.replace(flow, book_price=flow.book_price[:, :, :1], book_size=flow.book_size[:, :, :1])
    result = compare(flow, {"one": one}, splits=0, resamples=0)
    assert {about["levels"] for about in result["flows"].values()} == {1}
    assert result["scores"]["ask_volume"]["models"]["one"]["l1"]["value"] == 0
    assert result["measures"] is None


def test_progress_ends_with_all_steps(flow):
    told = []
    compare(flow, {"one": flow}, splits=1, resamples=1, on_progress=lambda *step: told.append(step[1:]))
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1][0] == told[-1][1]


def test_what_cannot_be_compared_is_refused(flow):
    other = dataclasses.replace(flow, instrument=dataclasses.replace(flow.instrument, tick=1))
    for real, generated in ((flow, {}), (flow.select([]), {"a": flow}), (flow, {"real": flow})):
        with pytest.raises(InputError, match="cannot be compared"):
            compare(real, generated)
    with pytest.raises(InputError, match="different units"):
        compare(flow, {"a": other})

"""Runs side by side: paired intervals against a hand-made case, and what cannot be compared is not."""

import copy
import dataclasses
import math

import numpy as np
import pytest

from lob_jax.report.comparison import RunResults, compare_runs, paired_difference
from lob_jax.report.comparison import test_identity as identity_of
from lob_jax.report.event_bits import read_event_bits, write_event_bits
from lob_jax.report.page import page
from lob_jax.report.side_by_side import comparison_sections, difference_words
from tests.report.sample import evaluation, generated, material


def run(label, *, bits=28.0, each=None, **changes):
    """Return the sample's results with other bits per event."""
    one = material()
    found = copy.deepcopy(dict(one.found))
    found["evaluation.json"]["likelihood"]["model"]["bits_per_event"] = bits
    found["evaluation.json"]["likelihood"]["model"]["intervals"]["bits_per_event"] = [bits - 0.3, bits + 0.3]
    found["records/records.json"]["fingerprint"] |= changes
    return RunResults(label, one.__class__(label, found, one.missing), each)


def test_the_interval_of_a_difference_is_paired_where_events_are_stored():
    rng = np.random.default_rng(0)
    hard = rng.gamma(2.0, 10.0, 2000)  # what makes an event hard for both
    ours = hard + rng.normal(-0.5, 1.0, 2000)
    found = paired_difference(ours, hard)
    assert found["value"] == pytest.approx((ours - hard).mean()) and found["how"] == "paired"
    error = (ours - hard).std() / math.sqrt(2000)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found["low"] < -0.5 < found["high"] < 0
    assert paired_difference(hard, hard) == {"value": 0.0, "low": 0.0, "high": 0.0, "how": "paired", "block": 1}


def test_without_stored_events_the_interval_is_that_of_independent_ones_and_says_so():
    (one,) = compare_runs([run("a", bits=28.0), run("b", bits=27.0)])["differences"].values()
    assert one["how"] == "unpaired" and one["value"] == pytest.approx(-1.0)
    assert (one["low"], one["high"]) == pytest.approx((-1 - math.hypot(0.3, 0.3), -1 + math.hypot(0.3, 0.3)))
    bits = np.full(1200, 28.0)
    (paired,) = compare_runs([run("a", each=bits), run("b", bits=27.0, each=bits - 1)])["differences"].values()
    assert paired["how"] == "paired" and (paired["low"], paired["high"]) == (-1.0, -1.0)


def test_runs_on_other_events_are_not_compared_in_bits():
    result = compare_runs([run("a"), run("b", bits=27.0, embargo_events=99)])
    assert not result["same_data"]
    assert result["differences"]["b"] == {"value": None, "low": None, "high": None, "how": "none"}
    words = comparison_sections(result)[0].paragraphs
    assert "not tested on the same events" in words[0] and "cannot be compared" in words[1]
    assert identity_of(run("a").material) == identity_of(run("c", bits=9.0).material)


def test_fills_stand_side_by_side_where_they_are_known():
    known = dataclasses.replace(run("b"), material=dataclasses.replace(run("b").material, generated=generated()))
    result = compare_runs([run("a"), known])
    assert result["fills"]["a"] is None and result["fills"]["b"]["horizon"] == 50
    assert result["fills"]["b"]["outcomes"]["cancel"]["brier"] == 0.09
    (section,) = (one for one in comparison_sections(result) if one.title == "Fills of resting orders")
    (table,) = section.tables
    assert table.columns == ("outcome", "b, within 50 events")
    assert (table.rows[0][1].value, table.rows[0][1].low) == (0.1, -0.1)
    assert "Fills of resting orders" not in [
        one.title for one in comparison_sections(compare_runs([run("a"), run("c")]))
    ]


def test_figures_fidelity_and_direction_stand_side_by_side():
    result = compare_runs([run("a"), run("b", bits=27.0)])
    assert result["likelihood"]["bits_per_event"]["runs"]["b"] == {"value": 27.0, "low": 26.7, "high": 27.3}
    assert set(result["fidelity"]) == {"a: model", "a: cst", "b: model", "b: cst"}
    assert result["fidelity"]["a: model"]["l1"]["ratio"] == pytest.approx(2.1)
    assert result["direction"]["b"]["balanced_accuracy"] == 0.5
    text = page(comparison_sections(result), title="t", lead="l", footer="f")
    assert "26.700 to 27.300" in text and "Mean of LOB-Bench" in text and "<svg" not in text


def test_words_say_whether_the_interval_excludes_zero():
    told = difference_words("b", "a", {"value": -0.5, "low": -0.7, "high": -0.3, "how": "paired"})
    assert told.startswith("b needs 0.500 bits per event fewer than a (95 % interval -0.700 to -0.300, paired)")
    assert told.endswith("the interval excludes 0.")
    assert "includes 0" in difference_words("b", "a", {"value": 0.5, "low": -0.7, "high": 1.3, "how": "paired"})
    assert "no intervals" in difference_words("b", "a", {"value": 0.5, "low": None, "high": None, "how": "none"})


def test_the_bits_of_events_are_stored_and_read(tmp_path):
    assert read_event_bits(tmp_path) is None
    write_event_bits(tmp_path, np.array([1.5, 2.25]))
    np.testing.assert_array_equal(read_event_bits(tmp_path), [1.5, 2.25])
    assert [path.name for path in tmp_path.iterdir()] == ["event_bits.npz"]
    assert evaluation()["likelihood"]["model"]["events"] == 1200

"""Robustness: the same real events in clean and manipulated records, and what a manipulation changes of them."""

import dataclasses
import io
import json

import numpy as np
import pytest
import rich.console

from lob_jax.data.records.builder import open_records
from lob_jax.data.windows.augment.altered import ADDED
from lob_jax.data.windows.augment.manipulation.draw import PATTERNS
from lob_jax.errors import InputError
from lob_jax.evaluation import robustness as module
from lob_jax.evaluation.robustness import manipulated, paired, robustness
from lob_jax.evaluation.table import robustness_table
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import event_index

KEYS = {"events", "bits_clean", "bits_manipulated", "difference", "interval", "macro_f1_clean", "macro_f1_manipulated"}


def measured(folder, tiny, patterns=("stuffing",), events=30, mask="none", **changes):
    config, params = tiny("rotary", mask=mask, **changes)
    return robustness(config, params, folder, patterns=patterns, records=2, batch_size=5, direction_events=events)


@pytest.fixture(scope="module")
def result(folder, tiny):
    return measured(folder, tiny, tuple(PATTERNS))


@pytest.mark.slow
def test_each_pattern_is_measured_on_real_events(result, folder):
    assert list(result) == list(PATTERNS)
    for found in result.values():
        assert found.keys() >= KEYS and found["left_out"] == found["refused"] == 0
        if not found["events"]:
            continue
        low, high = found["interval"]
        assert low <= found["difference"] <= high
        assert found["difference"] == pytest.approx(found["bits_manipulated"] - found["bits_clean"])
        groups = [one for one in found["by_distance"] if one["events"]]
        assert sum(one["events"] for one in groups) == found["events"]
        mean = sum(one["events"] * one["difference"] for one in groups) / found["events"]
        assert mean == pytest.approx(found["difference"])
    stuffed = result["stuffing"]
    assert stuffed["added"] > 10 and stuffed["events"] > 50 and stuffed["direction_events"] == 30
    assert 0 < stuffed["macro_f1_clean"] <= 1 and 0 < stuffed["macro_f1_manipulated"] <= 1
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_it_is_the_same_each_time_and_direction_may_be_left_out(result, folder, tiny):
    again = measured(folder, tiny, events=0)["stuffing"]
    assert again["macro_f1_clean"] is again["macro_f1_manipulated"] is None
    assert {name: again[name] for name in ("events", "difference", "interval")} == {
        name: result["stuffing"][name] for name in ("events", "difference", "interval")
    }


def test_a_record_is_the_same_up_to_the_manipulation(folder):
    source, tokenizer = open_records(folder, "test"), ExactTokenizer()
    record = source[1]
    made, day = manipulated(record, "stuffing", tokenizer, seed=(0, 0))
    first = int(np.flatnonzero(day.origin == ADDED)[0])
    assert first >= int(record["lead_events"]) > 0
    same = int(np.count_nonzero(event_index(made["tokens"][:-1]) < first))
    np.testing.assert_array_equal(made["tokens"][:same], record["tokens"][:same])
    np.testing.assert_array_equal(made["features"][: first + 1], record["features"][: first + 1])
    assert made.keys() == record.keys()
    assert (made["lead_events"], made["first_event"]) == (record["lead_events"], record["first_event"])


@pytest.mark.parametrize("mask", ["none", "book"])
def test_events_before_a_manipulation_have_the_same_bits(folder, tiny, mask):
    config, params = tiny("rotary", mask=mask)
    source, tokenizer = open_records(folder, "test"), ExactTokenizer()
    masks = module.make_masks(tokenizer.grammar, module.training_escapes(module.load_manifest(folder)))
    scorer = module.Scorer(config, params, tokenizer, module.NOTHING, masks, 5)
    made, day = manipulated(source[1], "stuffing", tokenizer, seed=(0, 0))
    first = int(np.flatnonzero(day.origin == ADDED)[0])
    ((was,), (now,)) = scorer.bits([source[1]]), scorer.bits([made])
    lead = int(source[1]["lead_events"])
    assert not was[:lead].any() and was[lead:].all()
    np.testing.assert_allclose(now[:first], was[:first], rtol=1e-4)
    assert first > lead and np.abs(now[first:][day.origin[first:] >= 0] - was[first:]).max() > 0.1


def test_a_difference_is_paired():
    random = np.random.default_rng(0)
    was = random.normal(20, 5, 400)
    found = paired(was, was + 0.1 + random.normal(0, 0.01, 400))
    low, high = found["interval"]
    assert found["difference"] == pytest.approx(0.1, abs=0.002) and 0 < high - low < 0.01
    assert paired(was[:0], was[:0])["difference"] is None


def test_distances_count_real_events_since_the_last_added_one():
    origin = np.array([0, ADDED, ADDED, 1, 2, ADDED, 3, 4])
    assert module._since_added(origin)[origin != ADDED].tolist() == [-1, 0, 1, 0, 1]


def test_models_that_do_not_predict_events_of_one_instrument_are_refused(folder, tiny):
    config, params = tiny("rotary")
    for changes in ({"causal": False}, {"attention": dataclasses.replace(config.attention, cross_asset=True)}):
        with pytest.raises(InputError, match="not tested on manipulated flow"):
            robustness(
                dataclasses.replace(config, **changes),
                params,
                folder,
                patterns=("stuffing",),
                records=1,
                batch_size=5,
                direction_events=0,
            )


def test_the_table_shows_each_pattern(result):
    console = rich.console.Console(width=120, file=io.StringIO())
    console.print(robustness_table(result))
    text = console.file.getvalue()
    assert all(name in text for name in PATTERNS) and f"{result['stuffing']['bits_clean']:.3f}" in text

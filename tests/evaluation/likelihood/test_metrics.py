import math

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.metrics import LOBMetrics
from lob_jax.evaluation.metrics.bits import rounding_bits
from lob_jax.tokens import vocabulary as v

# Two events: a bid added at the best, 105 lots, a gap of 1,234 ns; an ask far away deleted, 7 lots, gap 0 after a
# skip. All numbers are spelled by hand.
TARGETS = np.array([1000, 8000 + 10 + 90, 7500, 9000 + 10 + 180 + 2, 7340, 3500 + 469, 7123, 7450, 8007, 6, 9000])
FIELD = v.field_of(TARGETS)


def test_fields_of_the_example():
    names = ["head", "size", "size digits", "gap", "gap digits"]
    names += ["head", "head digits", "head digits", "size", "gap", "gap"]
    assert [v.FIELDS[field] for field in FIELD] == names


def test_every_definition_on_two_events():
    bits = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 3.0, 0.5, 0.25, 5.0, 0.125, 7.0])
    predictions = TARGETS.copy()
    predictions[0] = 1500  # wrong side, right kind
    predictions[4] = 7341  # wrong digits: the class is right
    predictions[5] = 2969  # wrong kind
    predictions[9] = 9000  # wrong class
    metrics = LOBMetrics()
    metrics.update(predictions, TARGETS, nll=bits * math.log(2), field=FIELD)
    result = metrics.compute()
    parts = result.pop("bits_by_part")
    of_parts = {"head": 4.75 / 2, "size": 11 / 2, "rank": 0, "gap": 15.125 / 2, "gap_digits": 16 / 2}
    assert parts == pytest.approx(of_parts)
    loss = bits.sum() * math.log(2) / 11
    assert result == pytest.approx(
        {
            "events": 2,
            "tokens": 11,
            "loss": loss,
            "perplexity": math.exp(loss),
            "token_accuracy": 7 / 11,
            "event_accuracy": 9 / 11,
            "head_accuracy": 1 / 2,
            "head_majority": 1 / 2,
            "bits_per_event": 46.875 / 2,
            "bits_per_event_without_gap_digits": 30.875 / 2,
            "rounding_bits_per_event": 0,
            "exact_bits_per_event": 46.875 / 2,
        }
    )


def test_majority_is_that_of_head_classes_whatever_their_prices():
    heads = np.array([1000, 1001, 1500, 3000, 12])
    metrics = LOBMetrics()
    metrics.update(np.array([1000, 1000, 1000, 1000, 11]), heads, nll=np.zeros(5), field=v.field_of(heads))
    result = metrics.compute()
    assert result["head_majority"] == 3 / 5
    assert result["head_accuracy"] == 4 / 5  # a CONTROL code is class 0, right although the code is wrong
    assert result["token_accuracy"] == 1 / 5


def test_only_scored_tokens_count_and_updates_add_up():
    nll, predictions = np.linspace(0.1, 2, 11), np.roll(TARGETS, 1)
    whole, parts = LOBMetrics(), LOBMetrics()
    scored = np.arange(11) >= 5
    whole.update(predictions, TARGETS, nll=nll, field=FIELD, scored=scored)
    for rows in (slice(0, 7), slice(7, 11)):
        parts.update(predictions[rows], TARGETS[rows], nll=nll[rows], field=FIELD[rows], scored=scored[rows])
    ours, theirs = whole.compute(), parts.compute()
    assert ours.pop("bits_by_part") == pytest.approx(theirs.pop("bits_by_part"))
    assert ours == pytest.approx(theirs)
    assert whole.compute()["events"] == 1
    assert whole.compute()["loss"] == pytest.approx(nll[5:].mean())
    whole.reset()
    with pytest.raises(InputError, match="no event was scored"):
        whole.compute()


@pytest.mark.parametrize(
    ("digits", "more", "expected"),
    [(None, 9, 0), (2, 0, 0), (2, 1, 1), (2, 10, 10), (5, 3, 0), (5, 4, 1), (5, 9, 6), (8, 6, 0), (8, 7, 1)],
)
def test_rounding_costs_a_log10_for_each_digit_dropped(digits, more, expected):
    gap, size, small = v.TIME + 10 + 90 * more + 5, v.SIZE + 10 + 90 * more + 5, v.TIME + 9
    found = rounding_bits(np.array([gap, size, small, 7123, 1000, v.TIME_SKIP]), time_digits=digits)
    assert found == pytest.approx([expected * math.log2(10), 0, 0, 0, 0, 0])


def test_rounded_time_is_reported_as_exact_bits():
    tokens = np.array([1000, 8001, 9000 + 10 + 90 * 6, 7123])  # a gap of 10,123,000 to 10,123,999 ns
    metrics = LOBMetrics(time_digits=5)
    metrics.update(tokens, tokens, nll=np.full(4, math.log(2)), field=v.field_of(tokens))
    result = metrics.compute()
    assert result["bits_per_event"] == pytest.approx(4)
    assert result["exact_bits_per_event"] == pytest.approx(4 + 3 * math.log2(10))


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(InputError, match="differ in shape"):
        LOBMetrics().update(TARGETS[:-1], TARGETS, nll=np.zeros(11), field=FIELD)

"""What every metric promises, whichever it is: a new module of `metrics/` is tested by being there."""

import json
import math

import numpy as np
import pytest

from lob_jax.evaluation.metric import METRICS, Scored, rows
from lob_jax.evaluation.table import figure
from lob_jax.tokens import vocabulary as v

# Two events, spelled by hand: a bid added, 105 lots, a gap of 1,234 ns; a far ask deleted, 7 lots, at the same time.
TARGET = np.array([1000, 8000 + 10 + 90, 7500, 9000 + 10 + 180 + 2, 7340, 3500 + 469, 7123, 7450, 8007, 9000])
FIELD = v.field_of(TARGET)
EVENTS = [slice(0, 5), slice(5, 10)]


def scored(at=slice(None), *, nll=None, predicted=None, time_digits=None):
    nll = np.linspace(0.01, 3, len(TARGET)) if nll is None else nll
    predicted = np.roll(TARGET, 1) if predicted is None else predicted
    return Scored(predicted[at], TARGET[at], nll[at], FIELD[at], time_digits)


def figures(metric, *parts):
    sums = sum(metric.count(part).sum(0) for part in parts)
    events = sum(int((part.field == v.FIELD_HEAD).sum()) for part in parts)
    return metric.figures(sums, events, sum(len(part.target) for part in parts))


def leaves(found):
    nested = [one if isinstance(one, dict) else {name: one} for name, one in found.items()]
    return {key: value for figures in nested for key, value in figures.items()}


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]


def test_the_metrics_that_there_are():
    assert tuple(METRICS)[:3] == ("bits", "loss", "accuracy")


def test_parts_add_up_to_the_whole(metric):
    whole, parts = figures(metric, scored()), figures(metric, *(scored(at) for at in EVENTS))
    assert leaves(parts) == pytest.approx(leaves(whole))


def test_figures_are_plain_numbers(metric):
    found = figures(metric, scored(time_digits=2))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(isinstance(value, float | int) and not isinstance(value, bool) for value in leaves(found).values())


def test_a_perfect_prediction_is_finite(metric):
    found = figures(metric, scored(nll=np.zeros(len(TARGET)), predicted=TARGET))
    assert all(math.isfinite(value) for value in leaves(found).values())


def test_every_row_has_its_figure(metric):
    found = figures(metric, scored())
    assert metric.rows
    for row in metric.rows:
        assert format(figure(found, row.key), row.form)
        assert row.label.strip() and row.meaning and not row.meaning.endswith(".")


def test_no_two_metrics_share_a_key():
    keys = [key for _, metric in METRICS.items() for key in figures(metric, scored())]
    assert len(keys) == len({*keys, "events", "tokens"}) - 2
    shown = [row.key for row in rows()]
    assert len(shown) == len(set(shown))

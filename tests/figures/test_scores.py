"""Figures of scores: bars end at their values, floors stand at theirs, and rows of other units share a scale."""

import math

import pytest

from lob_jax.figures.scores import Against, Bar, against_figure, bar_figure, curve_figure

ROWS = {"spread": {"a": Bar(0.2, 0.1, 0.4), "b": Bar(0.3)}, "volume": {"a": Bar(0.5)}}


def test_bars_end_at_their_values_with_intervals_and_floors():
    figure = bar_figure(ROWS, floors={"spread": 0.05, "volume": math.nan}, unit="L1", title="n = 3")
    (axes,) = figure.axes
    widths = {container.get_label(): [bar.get_width() for bar in container] for container in axes.containers[:3:2]}
    assert widths["a"] == [0.2, 0.5]
    (floor,) = [one for one in axes.collections if "noise floor" in one.get_label()]
    assert [segment[:, 0].tolist() for segment in floor.get_segments()] == [[0.05, 0.05]]
    (error,) = [c for c in axes.collections if len(c.get_segments()) == 1 and c is not floor][:1]
    assert error.get_segments()[0][:, 0] == pytest.approx([0.1, 0.4])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["spread", "volume"]
    assert axes.get_xlabel() == "L1" and figure.get_suptitle() == "n = 3"


def test_curves_have_their_points_and_bands_where_there_are_intervals():
    curves = {
        "a": {"at": [1, 2], "value": [0.1, 0.2], "low": [0, 0.1], "high": [0.2, 0.3]},
        "b": {"at": [1], "value": [3]},
    }
    (axes,) = curve_figure(curves, horizon="events", unit="L1", title="t").axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.1, 0.2], [3]]
    assert len(axes.collections) == 1 and (axes.get_xlabel(), axes.get_ylabel()) == ("events", "L1")


def test_values_are_placed_in_half_widths_of_the_real_range_and_far_ones_at_the_edge():
    rows = [Against("kurtosis", 5.0, 4.0, 8.0, {"a": 10.0}), Against("skew", 0.0, -1e-9, 1e-9, {"a": 1.0})]
    (axes,) = against_figure(rows, title="t").axes
    model, real = axes.lines
    assert list(model.get_xdata()) == [2.0, 60.0]
    assert list(real.get_xdata()) == [-0.5, 0.0]


def test_a_range_without_width_places_nothing():
    (axes,) = against_figure([Against("x", 1.0, 1.0, 1.0, {"a": 1.0})], title="t").axes
    assert math.isnan(axes.lines[0].get_xdata()[0])

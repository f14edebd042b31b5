"""The figure of stylised facts: each has its panel, and each flow its interval, mark and verdict there."""

import numpy as np
import pytest

from lob_jax.figures.colours import REAL, series
from lob_jax.figures.facts import facts_figure
from tests.report.sample import facts

WORDS = ("holds", "does not hold", "undecidable", "n/a")


@pytest.fixture(scope="module")
def panels():
    figure = facts_figure(facts(), title="n = 10 real sequences")
    return figure, dict(zip(facts()["facts"], figure.axes, strict=False))


def verdicts(axes):
    return [text.get_text() for text in axes.texts if text.get_text() in WORDS]


def test_every_fact_has_a_panel_with_its_figure_and_flows_have_their_numbers(panels):
    figure, by_name = panels
    for name, fact in facts()["facts"].items():
        assert by_name[name].get_title("left") == fact["label"]
        assert by_name[name].get_xlabel().startswith(fact["figure"])
    assert [one.get_text() for one in by_name["skew"].get_yticklabels()] == ["real, n = 500", "model, n = 500"]
    title = figure.get_suptitle()
    assert "n = 10 real sequences" in title and "over 10 messages, in ticks" in title and "95 %" in title


def test_intervals_and_marks_are_at_their_places(panels):
    _, by_name = panels
    bound, *drawn = by_name["skew"].lines
    assert list(bound.get_xdata()) == [0, 0]
    interval, mark = drawn
    assert list(interval.get_xdata()) == [0, 0.2] and list(mark.get_xdata()) == [0.1]
    assert interval.get_color() == mark.get_color() == REAL and mark.get_marker() == "X"
    *_, model = by_name["decay"].lines
    assert list(model.get_xdata()) == [0.4] and list(model.get_ydata()) == [1]
    assert model.get_color() == series(0) and model.get_markerfacecolor() == "white"


def test_verdicts_stand_beside_the_flows(panels):
    _, by_name = panels
    assert {name: verdicts(axes) for name, axes in by_name.items()} == {
        "skew": ["does not hold", "n/a"],
        "tails": ["holds", "undecidable"],
        "decay": ["undecidable", "undecidable"],
    }


def test_where_a_fact_holds_is_shaded_to_its_bounds(panels):
    _, by_name = panels
    for name, fact in facts()["facts"].items():
        (region,) = by_name[name].patches
        low, high = region.get_extents().transformed(by_name[name].transData.inverted()).intervalx
        ends = [
            end if end is not None else by_name[name].get_xlim()[k] for k, end in enumerate((fact["low"], fact["high"]))
        ]
        np.testing.assert_allclose([low, high], ends, atol=1e-9)


def test_a_far_value_makes_the_axis_logarithmic_and_it_says_so(panels):
    _, by_name = panels
    assert by_name["tails"].get_xscale() == "symlog" and by_name["tails"].get_xlabel().endswith("logarithmic beyond 1")
    assert by_name["skew"].get_xscale() == "linear" and by_name["skew"].get_xlabel() == "skewness"
    low, high = by_name["tails"].get_xlim()
    assert low < 0.0 and high > 1500


def test_facts_without_any_number_can_be_drawn():
    result = facts()
    nothing = dict.fromkeys(("value", "low", "high")) | {"verdict": "undecidable at this sample size"}
    for flow in result["flows"].values():
        flow["facts"] = dict.fromkeys(result["facts"], nothing)
    figure = facts_figure(result, title="")
    assert verdicts(figure.axes[0]) == ["n/a", "n/a"]

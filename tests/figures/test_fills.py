"""The content of reliability diagrams of fills and of histograms of the PIT, checked on their artists."""

import numpy as np

from lob_jax.figures.fills import fills_figure, pit_figure

BINS = {"orders": [90, 10], "probability": [0.0, 0.2], "frequency": [0.01, 0.3], "low": [0.0, 0.1],
        "high": [0.02, 0.5], "calibrated": [0.02, None]}  # fmt: skip


def test_there_is_a_panel_for_each_outcome_with_its_bins_and_intervals():
    figure = fills_figure({"first fill": BINS, "cancel": BINS}, title="A title")
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == ["first fill", "cancel"]
    (bars,) = figure.axes[0].containers
    np.testing.assert_allclose(bars.lines[0].get_xydata(), [[0, 0.01], [0.2, 0.3]])
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[0, 0.02], [0.1, 0.5]], atol=1e-12)
    assert [text.get_text() for text in figure.axes[0].texts] == ["90", "10"]
    dashed = next(line for line in figure.axes[0].lines if line.get_label() == "one path against the others")
    np.testing.assert_allclose(dashed.get_ydata(), [0.02, np.nan])
    assert figure.get_suptitle() == "A title"


def test_a_histogram_shows_the_counts_and_the_height_of_uniform_ones():
    one = {"orders": 30, "counts": [6, 0, *[3] * 8], "p": 0.25}
    figure = pit_figure({name: one for name in "abcd"}, title="")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 4 and shown[0].get_title() == "a\n30 orders, p 0.25"
    assert [bar.get_height() for bar in shown[0].patches] == one["counts"]
    (line,) = shown[0].lines
    assert list(line.get_ydata()) == [3, 3]
    none = pit_figure({"a": {"orders": 0, "counts": [0] * 10, "p": None}}, title="")
    assert none.axes[0].get_title() == "a\nno order"

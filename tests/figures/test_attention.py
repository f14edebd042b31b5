"""Heat maps of attention: each panel holds its head's weights, with lines between events."""

import numpy as np

from lob_jax.figures.attention import attention_grid, attention_map

EVENT = np.array([0, 0, 1])
WEIGHTS = np.array([[[[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.25, 0.25]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]]])


def test_a_grid_has_a_panel_per_layer_and_head_and_a_label_per_event():
    figure = attention_grid(WEIGHTS, labels=["ADD bid", "x" * 50], event_T=EVENT, title="t")
    first, second = (axes for axes in figure.axes if axes.images)
    np.testing.assert_array_equal(first.images[0].get_array().filled(0), WEIGHTS[0, 0])
    np.testing.assert_array_equal(second.images[0].get_array().mask, WEIGHTS[0, 1] == 0)
    assert [axes.get_title() for axes in (first, second)] == ["layer 1, head 1", "layer 1, head 2"]
    assert list(first.get_yticks()) == [0.5, 2.0]
    shown = [tick.get_text() for tick in first.get_yticklabels()]
    assert shown[0] == "ADD bid" and shown[1].endswith("…") and len(shown[1]) == 34
    assert [line.get_xdata()[0] for line in first.lines if line.get_xdata()[0] == line.get_xdata()[1]] == [1.5]


def test_the_map_of_one_head_labels_every_token_and_names_its_axes():
    figure = attention_map(WEIGHTS[0, 0], labels=["a", "b", "c"], event_T=EVENT, title="one head")
    axes, bar = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    assert figure.get_suptitle() == "one head" and "sum to 1" in bar.get_ylabel()
    assert figure.get_supxlabel() == "token attended to"

"""The content of reliability diagrams, checked on their artists."""

import numpy as np
import pytest

from lob_jax.evaluation.likelihood.calibration import reliability
from lob_jax.figures.day import save
from lob_jax.figures.reliability import reliability_figure


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.1, 0.4, 600)
    came = rng.random(600) < probability
    one = reliability(probability, came, bins=5)
    kinds = {"add": reliability(probability, came, bins=4), "delete": reliability(1 - probability, ~came, bins=4)}
    return {"all": one, "head": one, "gap digits": one, "kinds": {"ece": 0.0123, "by_kind": kinds}}


def lines_of(axes):
    return [container.lines[0] for container in axes.containers]


def test_there_is_a_panel_for_every_field_and_one_for_the_kinds(found):
    figure = reliability_figure(found, title="A title")
    titles = [axes.get_title().split(",")[0] for axes in figure.axes if axes.get_visible()]
    assert titles == ["all tokens", "head", "gap digits", "kind of event"]
    assert figure.get_suptitle().startswith("A title\n")
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("mean predicted probability", "share that came true")


def test_points_are_the_bins_and_the_number_of_cases_is_told(found):
    figure = reliability_figure(found, title="")
    (line,) = lines_of(figure.axes[1])
    points = np.transpose([found["head"][key] for key in ("probability", "frequency")])
    np.testing.assert_allclose(line.get_xydata(), points)
    assert "n 600\n" in figure.axes[1].get_title() and f"ECE {found['head']['ece']:.2%}" in figure.axes[1].get_title()
    low, high = figure.axes[1].get_xlim()
    assert low < points.min() and points.max() < high < 0.7  # not the whole unit
    assert figure.axes[1].get_ylim() == (low, high)


def test_kinds_have_a_line_each_over_the_whole_unit(found):
    axes = reliability_figure(found, title="").axes[3]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["add", "delete"]
    assert len({(line.get_color(), line.get_marker()) for line in lines_of(axes)}) == 2
    assert axes.get_xlim()[1] > 1


def test_a_field_whose_tokens_never_came_can_be_drawn_and_saved(tmp_path):
    never = reliability(np.zeros(3), np.zeros(3, bool))
    save(reliability_figure({"all": never}, title="nothing"), tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 1000

"""Training curves: the points are those of metrics.jsonl."""

from lob_jax.figures.training import training_figure

LINES = [
    {"step": 1, "loss": 5.0, "learning_rate": 0.1},
    {"step": 2, "loss": 4.0, "learning_rate": 0.2},
    {"step": 2, "validation_loss": 4.5},
    {"step": 3, "loss": 3.0, "learning_rate": 0.1},
    {"step": 3, "validation_loss": 4.2},
]


def test_losses_and_rates_are_drawn_at_their_steps_and_the_lowest_is_named():
    top, bottom = training_figure(LINES, title="run").axes
    training, validation = top.lines[:2]
    assert list(training.get_xdata()) == [1, 2, 3] and list(training.get_ydata()) == [5.0, 4.0, 3.0]
    assert list(validation.get_xdata()) == [2, 3] and list(validation.get_ydata()) == [4.5, 4.2]
    assert list(bottom.lines[0].get_ydata()) == [0.1, 0.2, 0.1]
    assert [text.get_text() for text in top.texts] == ["lowest 4.2000, step 3"]
    assert "nats" in top.get_ylabel() and bottom.get_xlabel() == "optimiser step"


def test_without_validations_the_training_loss_is_drawn_alone():
    top, _ = training_figure(LINES[:2], title="run").axes
    assert len(top.lines) == 1 and not top.texts

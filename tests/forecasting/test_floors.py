"""Model-free baselines: one that ignores the anchor, and one that knows how the mid has just moved."""

import types

import numpy as np

from lob_jax.forecasting.examples import classes, smoothed_change
from lob_jax.forecasting.floors import lean_table, majority


def walk(count, seed, *, horizons=(4,)):
    """Return examples of a mid that is a random walk with steps of two."""
    mid2 = 20_000 + 2 * np.random.default_rng(seed).integers(-1, 2, count).cumsum()
    rows = np.arange(10, count - 10)
    threshold = np.full(len(horizons), 5e-5)
    return types.SimpleNamespace(
        tape=types.SimpleNamespace(mid2=mid2),
        rows=rows,
        layout=types.SimpleNamespace(horizons=horizons),
        direction=classes(smoothed_change(mid2, rows, horizons), threshold),
        __len__=lambda: len(rows),
    )


class Sized:
    def __init__(self, examples):
        self.__dict__.update(vars(examples))

    def __len__(self):
        return len(self.rows)


def test_the_majority_is_of_training_and_alike_for_all():
    train, test = Sized(walk(50, 0)), Sized(walk(40, 1))
    train.direction = np.array([[0], [0], [2], [1], [0]])
    got = majority(train, test)
    assert got.shape == (20, 1, 3)
    np.testing.assert_allclose(got, np.broadcast_to(np.array([4, 2, 2]) / 8, (20, 1, 3)))


def test_a_random_walk_has_a_direction_that_its_lean_tells():
    """The steps ahead are unpredictable, yet the smoothed label is predicted well above chance (a third)."""
    train, test = Sized(walk(20_000, 0, horizons=(4, 8))), Sized(walk(5_000, 1, horizons=(4, 8)))
    got = lean_table(train, test)
    np.testing.assert_allclose(got.sum(-1), 1)
    right = (got.argmax(-1) == test.direction).mean(0)
    guessed = (majority(train, test).argmax(-1) == test.direction).mean(0)
    assert (right > guessed + 0.15).all()


def test_the_table_is_fitted_on_training_alone():
    train, test = Sized(walk(500, 0)), Sized(walk(400, 1))
    before = lean_table(train, test)
    few = Sized(walk(400, 1))
    few.rows = few.rows[:7]
    np.testing.assert_array_equal(lean_table(train, few), before[:7])  # whatever else is asked
    test.direction = 2 - test.direction
    np.testing.assert_array_equal(lean_table(train, test), before)
    train.direction = 2 - train.direction
    assert not np.allclose(lean_table(train, test), before)

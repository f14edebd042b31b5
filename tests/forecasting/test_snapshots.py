"""Examples of FI-2010: windows within one stock, no label in sight, fitting on the training part only."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.forecasting import snapshots as s
from lob_jax.forecasting.examples import ForecastLayout
from lob_jax.forecasting.fi2010 import Snapshots

LAYOUT = ForecastLayout(history=5, horizons=(10, 30), levels=2, context=1, time_buckets=1)


def made(lengths=(40, 30), seed=0):
    count = sum(lengths)
    random = np.random.default_rng(seed)
    return Snapshots(
        book=random.normal(size=(count, 40)).astype(np.float32),
        label=random.integers(0, 3, (count, 5)).astype(np.int32),
        segment=np.repeat(np.arange(len(lengths)), lengths),
    )


def splits(training=None, test=None, **how):
    return s.split_snapshots(
        training or made(), test or made(seed=1), LAYOUT, **{"stride": 1, "validation": 10**6, **how}
    )


def test_an_anchor_has_its_history_and_its_horizon_in_one_segment():
    """History of 5 snapshots with the anchor's, horizon of 3 behind it."""
    assert s.anchors(np.repeat([0, 1], [10, 9]), LAYOUT).tolist() == [4, 5, 6, 14, 15]


def test_validation_is_the_end_of_every_segment_and_no_example_reaches_across():
    found = splits()
    late = np.concatenate([np.arange(32, 40), np.arange(40 + 24, 70)])
    assert found.train.rows.tolist() == [*range(4, 29), *range(44, 61)]
    assert found.validation.rows.tolist() == [36]  # the 6 snapshots of the second segment are too few
    assert set(found.validation.rows) <= set(late)
    assert found.test.rows.tolist() == [*range(4, 37), *range(44, 67)]


def test_a_batch_is_the_snapshots_up_to_the_anchor():
    found = splits()
    numbers = np.array([0, 20])
    batch = found.test.batch(numbers)
    mean, std = found.train.scaling
    rows = found.test.rows[numbers]
    for n, row in enumerate(rows):
        expected = (found.test.snapshots.book[row - 4 : row + 1, :8] - mean) / std
        np.testing.assert_allclose(batch["book"][n], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(batch["direction"], found.test.snapshots.label[rows][:, [0, 2]])
    assert batch["flow"].shape == (2, 5, 0) and not batch["kind"].any()


def test_inputs_do_not_depend_on_what_comes_behind_the_anchor():
    one = made(seed=1)
    book = one.book.copy()
    book[21:] += 1
    changed = splits(test=dataclasses.replace(one, book=book)).test.batch(np.arange(17))["book"]
    base = splits(test=one).test.batch(np.arange(18))["book"]
    np.testing.assert_array_equal(changed, base[:17])
    assert not np.allclose(
        splits(test=dataclasses.replace(one, book=book)).test.batch(np.array([17]))["book"], base[17]
    )


def test_the_normaliser_is_fitted_on_the_training_part_alone():
    training = made()
    found = splits(training)
    early = np.concatenate([np.arange(32), np.arange(40, 64)])
    np.testing.assert_allclose(found.train.scaling.book_mean, training.book[early, :8].mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.train.scaling.book_std, training.book[early, :8].std(0), rtol=1e-4)
    assert set(found.train.scaling.plain()) == {"book_mean", "book_std"}


def test_the_known_label_is_one_whose_future_is_over():
    examples = splits().test
    known = examples.known_label()
    label, rows = examples.snapshots.label, examples.rows
    np.testing.assert_array_equal(known[:, 0], label[rows - 1, 0])
    np.testing.assert_array_equal(known[:, 1], label[rows - 3, 2])
    short = s.SnapshotExamples(examples.snapshots, np.array([0, 2, 41]), LAYOUT, examples.scaling).known_label()
    assert short[0].tolist() == [s.UNKNOWN] * 2 and short[1, 1] == short[2, 1] == s.UNKNOWN
    assert short[2, 0] == label[40, 0]


def test_the_last_label_predicts_trends_that_last():
    runs = np.repeat(np.random.default_rng(0).integers(0, 3, 50), 20)[:, None] * np.ones((1, 5), int)
    one = dataclasses.replace(made((1000,)), label=runs.astype(np.int32))
    found = splits(one, one)
    p = s.last_label_table(found.train, found.test)
    np.testing.assert_allclose(p.sum(-1), 1)
    assert ((p.argmax(-1) == found.test.direction).mean(0) > (0.9, 0.8)).all()


def test_strides_thin_and_blocks_are_of_events():
    found = splits(stride=3, validation=1)
    assert found.train.rows.tolist() == [*range(4, 29), *range(44, 61)][::3]
    assert found.test.blocks(100).max() + 1 == 4 + 3  # 100 events are 10 snapshots; rows 4..36 and 44..66


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("transformer", {}, r"(?s)config\.forecast\.model.*without messages"),
        ("tft", {}, r"config\.forecast\.model"),
        ("linear", {"horizons": (10, 40)}, r"config\.forecast\.horizons"),
        ("linear", {"levels": 11}, r"config\.forecast\.levels"),
        ("linear", {"threshold": 0.002}, r"config\.forecast\.threshold"),
    ],
)
def test_what_snapshots_cannot_train_is_refused(model, changes, told):
    s.check_for_snapshots(LAYOUT, model="deeplob")
    with pytest.raises(InputError, match=told):
        s.check_for_snapshots(dataclasses.replace(LAYOUT, **changes), model=model)


def test_segments_that_are_too_short_are_refused():
    with pytest.raises(InputError, match="test part of FI-2010 has no example"):
        splits(test=made((7, 7)))

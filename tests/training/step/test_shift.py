import jax
import numpy as np

from lob_jax.models.inputs import fields_read
from lob_jax.training.step.shift import join, pad, shift, split


def test_shift_pairs_each_input_with_what_is_known_there_and_with_the_token_after():
    batch = {
        "tokens": np.array([[11, 12, 13, 0]], np.int32),
        "time_of_day": np.array([[1, 2, 3, 4]], np.int32),
        "day_of_week": np.array([[5, 5, 6, 6]], np.int32),
        "book": np.array([[[0.1], [0.2], [0.3], [0.4]]], np.float32),
        "scored": np.array([[True, False, True, False]]),
    }
    tokens_BT, conditioning, targets_BT, weights_BT = shift(batch)
    np.testing.assert_array_equal(tokens_BT, [[11, 12, 13]])
    np.testing.assert_array_equal(targets_BT, [[12, 13, 0]])
    np.testing.assert_array_equal(weights_BT, [[0.0, 1.0, 0.0]])  # the target 13 is scored, 12 and the padding not
    np.testing.assert_array_equal(conditioning["time_of_day"], [[1, 2, 3]])
    np.testing.assert_array_equal(conditioning["day_of_week"], [[5, 5, 6]])
    np.testing.assert_allclose(conditioning["book"], [[[0.1], [0.2], [0.3]]], rtol=1e-6)
    assert weights_BT.dtype == np.float32


def test_what_the_model_does_not_read_stays_out_of_the_batch(model_config, windows):
    plain = model_config(time_of_day=False, day_of_week=False, book_state=False)
    assert fields_read(plain) == ("tokens", "scored", "example")
    _, conditioning, _, _ = shift(join([windows(2)], fields_read(plain)))
    assert jax.tree.leaves(conditioning) == []
    full = model_config(time_of_day=True, day_of_week=True, book_state=True)
    assert set(fields_read(full)) == {"tokens", "scored", "example", "time_of_day", "day_of_week", "book"}


def test_join_numbers_the_windows_of_a_step_anew():
    batches = [{"tokens": np.full((2, 3), k, np.int32), "example": np.array([40, 50])} for k in range(2)]
    joined = join(batches, ("tokens", "example"))
    np.testing.assert_array_equal(joined["tokens"][:, 0], [0, 0, 1, 1])
    np.testing.assert_array_equal(joined["example"], [0, 1, 2, 3])


def test_pad_adds_windows_that_do_not_count():
    batch = {"tokens": np.ones((3, 2), np.int32), "scored": np.ones((3, 2), bool)}
    padded = pad(batch, 4)
    np.testing.assert_array_equal(padded["scored"].sum(axis=1), [2, 2, 2, 0])
    assert padded["scored"].dtype == bool
    assert pad(batch, 3)["tokens"].shape == (3, 2)


def test_split_keeps_the_order():
    cut = split({"tokens": np.arange(8).reshape(4, 2)}, 2)
    np.testing.assert_array_equal(cut["tokens"], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])


def test_what_is_shown_is_read_in_place_of_the_tokens_which_stay_targets(windows):
    batch = windows(3)
    hidden = {**batch, "shown": np.where(np.arange(batch["tokens"].shape[1]) % 3 == 0, 3, batch["tokens"])}
    (tokens, *rest), (expected, *others) = shift(hidden), shift(batch)
    np.testing.assert_array_equal(tokens, hidden["shown"][:, :-1])
    assert (tokens != expected).any() and set(rest[0]) == set(others[0])
    for one, other in zip(rest[1:], others[1:], strict=True):
        np.testing.assert_array_equal(one, other)

import math

import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.features import book_features, feature_moments, feature_names

PRICE = np.array([[[1000, 990, 960], [1030, 1040, 0]]])
SIZE = np.array([[[3, 7, 1], [5, 15, 0]]])


def test_features_of_a_book_worked_out_by_hand():
    got = dict(zip(feature_names(3), book_features(PRICE, SIZE, tick=10)[0].tolist(), strict=True))
    want = {
        "bid_size_1": math.log(4), "bid_size_2": math.log(8), "bid_size_3": math.log(2),
        "ask_size_1": math.log(6), "ask_size_2": math.log(16), "ask_size_3": 0,
        "bid_distance_2": math.log(2), "bid_distance_3": math.log(5),
        "ask_distance_2": math.log(2), "ask_distance_3": 0,
        "spread": math.log(4), "imbalance": -2 / 8,
    }  # fmt: skip
    assert got == pytest.approx(want, abs=1e-6)
    assert list(got) == list(want)


def test_an_empty_book_has_no_features():
    assert not book_features(np.zeros((2, 2, 5), int), np.zeros((2, 2, 5), int), tick=100).any()


def test_a_one_sided_book_has_no_spread_and_leans_all_one_way():
    price, size = np.array([[100, 90], [0, 0]]), np.array([[4, 4], [0, 0]])
    got = dict(zip(feature_names(2), book_features(price, size, tick=10).tolist(), strict=True))
    assert (got["spread"], got["imbalance"], got["ask_distance_2"]) == (0, 1, 0)
    assert book_features(price[::-1], size[::-1], tick=10)[-1] == -1


def test_a_crossed_book_has_no_spread():
    price, size = np.array([[100], [80]]), np.array([[4], [4]])
    assert book_features(price, size, tick=10)[-2] == 0


def test_high_prices_keep_their_ticks():
    price = np.array([[2_000_000_100, 2_000_000_000], [2_000_000_200, 2_000_000_400]])
    got = book_features(price, np.ones((2, 2), int), tick=100)
    assert got[4:7].tolist() == pytest.approx([math.log(2), math.log(3), math.log(2)])


@pytest.mark.parametrize("levels", [1, 2, 10])
def test_there_are_four_features_a_level(levels):
    shape = (7, 3, 2, levels)
    got = book_features(np.ones(shape, int), np.ones(shape, int), tick=1)
    assert got.shape == (7, 3, 4 * levels) and got.dtype == np.float32
    assert len(set(feature_names(levels))) == 4 * levels


def test_moments_of_features_and_a_constant_is_left_as_it_is():
    found = feature_moments(np.array([[1.0, 7.0], [3.0, 7.0], [8.0, 7.0]], np.float32))
    np.testing.assert_allclose(found, [[4, 7], [np.sqrt(26 / 3), 1]], rtol=1e-6)


def test_jax_arrays_give_the_same_features():
    on_device = book_features(jnp.asarray(PRICE, jnp.int32), jnp.asarray(SIZE, jnp.int32), tick=10, xp=jnp)
    assert on_device.dtype == jnp.float32
    np.testing.assert_allclose(on_device, book_features(PRICE, SIZE, tick=10), rtol=1e-6)

"""The order of windows is Grain's own, place by place, and so is what is random in them."""

import grain
import numpy as np
import pytest

from lob_jax.data.windows.order import Order, permuted


def of_grain(seed: int, windows: int, windows_a_pass: int, *, shuffled: bool) -> grain.MapDataset:
    """Return pairs of a window's index and three random numbers, in the order that Grain gives them."""
    data = grain.MapDataset.range(windows).seed(seed)
    data = data.shuffle() if shuffled else data
    return data[:windows_a_pass].repeat(None).random_map(lambda index, random: (index, random.random(3).tolist()))


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize(
    ("windows", "windows_a_pass"),
    [(1, 1), (2, 2), (29, 28), (300, 300), (2**16, 2**16 - 3), (2**16 + 2, 2**16), (10**6, 10**6 - 1), (2**31, 2**31)],
)
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_each_place_has_the_window_and_the_randomness_of_grain(
    seed: int, windows: int, windows_a_pass: int, shuffled: bool
):
    order = Order(seed, windows, windows_a_pass, shuffled)
    ends = [number * windows_a_pass for number in (0, 1, 2, 9)]
    places = sorted({max(end + step, 0) for end in ends for step in (-2, -1, 0, 1, windows_a_pass // 3)})
    reference = of_grain(seed, windows, windows_a_pass, shuffled=shuffled)
    expected = [reference[place] for place in places]
    found = order.at(np.array(places))
    assert found.dtype == np.int64
    assert found.tolist() == [index for index, _ in expected]
    assert [order.random_at(place).random(3).tolist() for place in places] == [numbers for _, numbers in expected]


def test_a_pass_has_each_window_once():
    for windows in (1, 2, 3, 5, 257, 2**16, 2**16 + 2):
        found = Order(1, windows, windows, shuffled=True).at(np.arange(windows, 2 * windows))
        np.testing.assert_array_equal(np.sort(found), np.arange(windows))


def test_of_one_window_more_than_a_power_of_four_grain_takes_both_ends_to_one_place():
    """Grain's own flaw, kept so that a seed has the order that it has had."""
    found = permuted(np.array([0, 2**16]), 2**16 + 1, 5)
    assert found[0] == found[1] == permuted(np.array([0]), 2**16 + 1, 5)[0]


def test_randomness_at_a_place_does_not_depend_on_what_was_drawn_before():
    order = Order(3, 29, 28, shuffled=True)
    one, other = order.random_at(5), order.random_at(6)
    mixed = [one.random(), other.random(), one.random(), other.random()]
    again = [Order(3, 29, 28, shuffled=True).random_at(place).random(2).tolist() for place in (5, 6)]
    assert mixed == [again[0][0], again[1][0], again[0][1], again[1][1]]

"""Histograms that engines fill."""

from lob_jax.serving.tally import Tallied, Tally


def test_a_value_is_in_the_first_class_whose_bound_is_not_below_it():
    tally = Tally((1.0, 2.0, 4.0))
    for value in (0.0, 1.0, 1.5, 2.0, 4.0, 4.5, 100.0):
        tally.add(value)
    assert tally.read() == Tallied((1.0, 2.0, 4.0), (2, 2, 1, 2), 113.0)


def test_what_was_read_stays():
    tally = Tally((1.0,))
    before = tally.read()
    tally.add(1.0)
    assert before == Tallied((1.0,), (0, 0)) and tally.read().counts == (1, 0)

"""The one error of bad input says five things."""

import pickle

from lob_jax.errors import InputError


def test_the_message_has_all_five_parts():
    error = InputError("a number with letters", where="day.csv, line 7", expected="digits", was="12a", remedy="mend it")
    assert str(error).splitlines() == [
        "a number with letters",
        "  where:    day.csv, line 7",
        "  expected: digits",
        "  was:      12a",
        "  remedy:   mend it",
    ]
    assert isinstance(error, ValueError)


def test_the_error_comes_whole_out_of_another_process():
    error = InputError("a number with letters", where="day.csv, line 7", expected="digits", was="12a", remedy="mend it")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and vars(copy) == vars(error)

"""The error for invalid input has five parts."""

import pickle

from lob_jax.errors import InputError, differing


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


def test_a_part_of_several_lines_stands_under_its_first():
    error = InputError("two keys", where="a", expected="x = 1\ny = 2", was="x = 2\ny = 3", remedy="mend it")
    assert str(error).splitlines()[2:6] == [
        "  expected: x = 1",
        "            y = 2",
        "  was:      x = 2",
        "            y = 3",
    ]


def test_what_differs_is_a_line_a_key_and_nothing_else():
    days = [f"2024-01-{day:02}" for day in range(1, 32)]
    one = {"seed": 0, "model": {"d_model": 64, "n_heads": 4}, "old": 1, "days": days}
    other = {"seed": 0, "model": {"d_model": 32, "n_heads": 4}, "days": days[1:]}
    assert differing(one, other) == (
        "model.d_model = 64\nold = 1\ndays = 31 values, with ['2024-01-01']",
        "model.d_model = 32\nold: absent\ndays = 30 values, with []",
    )
    assert differing(one, one) == ("", "")

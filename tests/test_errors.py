"""The one error of bad input says five things."""

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

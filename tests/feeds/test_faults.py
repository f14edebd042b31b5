import json

import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.faults import Faults
from lob_jax.feeds.feed import Reading


def fault(line):
    return InputError("a wrong row", where=f"day.csv, line {line}", expected="2 columns", was=3, remedy="mend it")


def test_strict_raises_the_error_itself():
    faults = Faults(Reading(), "day.csv")
    error = fault(7)
    with pytest.raises(InputError) as raised:
        faults.refuse(error, raw="1,2,3")
    assert raised.value is error and not faults.dropped


def test_skip_counts_rows_by_reason_and_writes_nothing(tmp_path):
    faults = Faults(Reading(on_error="skip"), "day.csv")
    faults.refuse(fault(7), raw=b"1,2,3")
    faults.refuse(fault(9), raw=b"4,5,6", rows=2)
    assert faults.dropped == {"a wrong row": 3} and faults.path is None


def test_quarantine_keeps_every_row_with_its_reason_and_forgets_an_earlier_reading(tmp_path):
    reading = Reading(on_error="quarantine", quarantine=tmp_path / "bad")
    for line in (3, 8):
        faults = Faults(reading, "day.csv")
        faults.refuse(fault(line), raw=b"1,2,\xff3")
    (entry,) = [json.loads(text) for text in faults.path.read_text().splitlines()]
    assert faults.path == tmp_path / "bad" / "day.csv.jsonl"
    assert entry == {
        "what": "a wrong row", "where": "day.csv, line 8", "expected": "2 columns", "was": "3", "rows": 1,
        "raw": "1,2,\\xff3",
    }  # fmt: skip


@pytest.mark.parametrize("settings", [{"on_error": "ignore"}, {"on_error": "quarantine"}])
def test_a_way_that_does_not_exist_is_refused(settings):
    with pytest.raises(InputError, match="no such way to treat bad rows"):
        Reading(**settings)

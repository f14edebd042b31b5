import gc
import json
import pathlib

import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.faults import Faults


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
    with pytest.raises(InputError, match="unknown treatment of bad rows"):
        Reading(**settings)


def quarantined(folder):
    return Reading(on_error="quarantine", quarantine=folder)


def test_a_quarantine_is_opened_for_many_rows_at_once(tmp_path, monkeypatch):
    opened, real = [], pathlib.Path.open
    monkeypatch.setattr(
        pathlib.Path, "open", lambda self, *rest, **more: opened.append(self) or real(self, *rest, **more)
    )
    faults = Faults(quarantined(tmp_path), "day.csv")
    for line in range(5000):
        faults.refuse(fault(line), raw=b"1,2,3")
    assert len(opened) < 50
    entries = [json.loads(text) for text in faults.path.read_text().splitlines()]
    assert [entry["where"] for entry in entries] == [f"day.csv, line {line}" for line in range(5000)]


def test_a_quarantine_is_whole_however_its_reading_ends(tmp_path):
    faults = Faults(quarantined(tmp_path), "day.csv")
    faults.refuse(fault(1), raw=b"1,2,3")
    del faults
    gc.collect()
    assert len((tmp_path / "day.csv.jsonl").read_text().splitlines()) == 1


def test_a_reading_that_was_given_up_adds_nothing_to_a_newer_ones_quarantine(tmp_path):
    old = Faults(quarantined(tmp_path), "day.csv")
    old.refuse(fault(1), raw=b"1,2,3")
    new = Faults(quarantined(tmp_path), "day.csv")
    new.refuse(fault(2), raw=b"1,2,3")
    assert "line 2" in new.path.read_text()
    del new
    gc.collect()
    del old
    gc.collect()
    assert len((tmp_path / "day.csv.jsonl").read_text().splitlines()) == 1


def test_a_quarantine_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"a quarantine that cannot be written[\s\S]*file"):
        Faults(quarantined(tmp_path / "file" / "bad"), "day.csv")
    faults = Faults(quarantined(tmp_path / "bad"), "day.csv")
    (tmp_path / "bad" / "day.csv.jsonl").mkdir()
    faults.refuse(fault(1), raw=b"1,2,3")
    with pytest.raises(InputError, match="a quarantine that cannot be written"):
        _ = faults.path
    (tmp_path / "bad" / "day.csv.jsonl").rmdir()

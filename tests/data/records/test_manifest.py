"""Records outlive keys that came after them."""

import json

import pytest

from lob_jax import later_keys
from lob_jax.data.records.folder import FINGERPRINT, find_or_build
from lob_jax.data.records.manifest import (
    FORMAT,
    FORMAT_WITH_FLOW,
    FORMAT_WITH_SETS,
    MANIFEST,
    check_manifest,
    load_manifest,
    make_manifest,
    record_format,
)
from lob_jax.errors import InputError
from lob_jax.later_keys import LaterKey
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer

BEFORE = {"format": FORMAT, "context": 64, "inputs": {"feed": "lobster", "a_day.csv": "1234"}}
TABLE = (LaterKey("data.fold", "none", "0.2.0", also=("data.inputs.fold",)),)


def now(fold):
    return {**BEFORE, "inputs": {**BEFORE["inputs"], "fold": fold}}


def test_records_from_before_a_key_are_those_of_its_neutral_value(monkeypatch):
    with pytest.raises(InputError, match="other data") as caught:
        check_manifest({"fingerprint": BEFORE}, now("none"))
    assert caught.value.expected == "inputs.fold: absent"
    monkeypatch.setattr(later_keys, "LATER", TABLE)
    check_manifest({"fingerprint": BEFORE}, now("none"))
    with pytest.raises(InputError, match="other data") as caught:
        check_manifest({"fingerprint": BEFORE}, now("all"))
    assert (caught.value.expected, caught.value.was) == ("inputs.fold = 'none'", "inputs.fold = 'all'")


def test_records_of_a_newer_version_are_refused_for_what_they_have_more():
    check_manifest({"version": "9.1", "fingerprint": BEFORE}, BEFORE)
    with pytest.raises(InputError, match="newer version of lob_jax, 9.1") as caught:
        check_manifest({"version": "9.1", "fingerprint": now("all")}, BEFORE)
    assert caught.value.was == "inputs.fold"
    with pytest.raises(InputError, match="other data"):  # nothing that this version does not know
        check_manifest({"version": "9.1", "fingerprint": BEFORE}, BEFORE | {"context": 32})
    with pytest.raises(InputError, match="other data"):  # nothing of a newer version
        check_manifest({"fingerprint": now("all")}, BEFORE)


def test_a_manifest_names_the_version_that_wrote_it():
    assert make_manifest(BEFORE, [], {})["version"] == later_keys.version()


@pytest.mark.parametrize("table", [TABLE, ()])
def test_days_that_an_earlier_version_left_undone_are_taken_up_where_they_are_the_same(tmp_path, monkeypatch, table):
    monkeypatch.setattr(later_keys, "LATER", table)
    days = tmp_path / "records.partial" / "days"
    days.mkdir(parents=True)
    (days / "0.json").write_text("{}")
    (days.parent / FINGERPRINT).write_text(json.dumps(BEFORE))
    seen = []

    def build(folder):
        seen.extend(path.name for path in (folder / "days").iterdir())
        return {"fingerprint": now("none")}

    assert find_or_build(tmp_path / "records", now("none"), build)["fingerprint"] == now("none")
    assert seen == (["0.json"] if table else [])
    assert (tmp_path / "records" / MANIFEST).exists()


def _earlier(folder):
    """Make a folder of records of the previous format."""
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"fingerprint": {**BEFORE, "format": FORMAT - 1}}))


def _build(folder):
    (folder / "new").touch()
    return {"fingerprint": BEFORE}


def test_records_of_an_earlier_format_are_kept_and_made_anew(tmp_path):
    folder = tmp_path / "records"
    _earlier(folder)
    with pytest.raises(InputError, match="of an earlier format") as caught:
        load_manifest(folder)
    assert "mode=prepare" in caught.value.remedy
    with pytest.warns(UserWarning, match=rf"of format {FORMAT - 1}, .* kept as records.format{FORMAT - 1}$"):
        assert find_or_build(folder, BEFORE, _build) == {"fingerprint": BEFORE}
    assert (folder / "new").exists() and load_manifest(folder) == {"fingerprint": BEFORE}
    assert (tmp_path / f"records.format{FORMAT - 1}" / MANIFEST).exists()


def test_records_of_an_earlier_format_stay_until_the_new_ones_are_complete(tmp_path):
    folder = tmp_path / "records"
    _earlier(folder)

    def fails(folder):
        raise RuntimeError("the disk is full")

    with pytest.warns(UserWarning, match="prepared again"), pytest.raises(RuntimeError, match="full"):
        find_or_build(folder, BEFORE, fails)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["records"]
    assert json.loads((folder / MANIFEST).read_text())["fingerprint"]["format"] == FORMAT - 1


def test_a_day_that_an_earlier_version_has_finished_may_lack_what_this_one_notes():
    account = {"symbol": "A", "parts": [], "outlines": {}, "token_counts": {"train": [1, 2]}}
    (day,) = make_manifest(BEFORE, [account], {})["days"]
    assert day == {"symbol": "A", "parts": []}


def test_records_of_an_earlier_format_are_left_alone_if_they_are_of_other_data_or_kept_already(tmp_path):
    folder = tmp_path / "records"
    _earlier(folder)
    with pytest.raises(InputError, match="other data") as caught:
        find_or_build(folder, BEFORE | {"context": 32}, _build)
    assert (caught.value.expected, caught.value.was) == ("context = 64", "context = 32")
    (tmp_path / f"records.format{FORMAT - 1}").mkdir()
    with pytest.raises(InputError, match="kept already"):
        find_or_build(folder, BEFORE, _build)
    assert json.loads((folder / MANIFEST).read_text())["fingerprint"]["format"] == FORMAT - 1


def test_compact_records_without_sets_are_of_an_earlier_format_and_exact_ones_are_not(tmp_path):
    kinds = (ExactTokenizer, CompactTokenizer)
    assert [record_format(kind, flow_state=False) for kind in kinds] == [FORMAT, FORMAT_WITH_SETS]
    assert {record_format(kind, flow_state=True) for kind in kinds} == {FORMAT_WITH_FLOW}
    folder, wanted = tmp_path / "records", {**BEFORE, "format": FORMAT_WITH_SETS}
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"fingerprint": BEFORE}))
    assert find_or_build(folder, BEFORE, _build)["fingerprint"] == BEFORE and not (folder / "new").exists()
    with pytest.raises(InputError, match="of an earlier format") as caught:
        check_manifest(load_manifest(folder), wanted)
    assert (caught.value.expected, caught.value.was) == (f"format {FORMAT_WITH_SETS}", f"format {FORMAT}")
    with pytest.warns(UserWarning, match=rf"this version needs format {FORMAT_WITH_SETS}: the days are prepared again"):
        find_or_build(folder, wanted, _build)
    assert (folder / "new").exists() and (tmp_path / f"records.format{FORMAT}" / MANIFEST).exists()

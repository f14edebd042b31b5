"""Records on disk: what is read is what was made; built whole or not at all; never mistaken for other records."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lob_jax.data.builder import load_manifest, open_records, prepare_records
from lob_jax.data.dataset import TokenBookDataset
from lob_jax.data.manifest import check_manifest, fingerprint
from lob_jax.data.records import (
    RecordPlan,
    make_records,
    outline,
    record_corrections,
    record_instrument,
    record_start,
)
from lob_jax.data.split import SPLITS, split_day
from lob_jax.errors import InputError
from lob_jax.feeds.lobster import LobsterFeed
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import Vocabulary

PLAN = RecordPlan(
    record_events=40, context=24, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=20
)
INPUTS = {"feed": "test", "sha256": {"a.csv": "00ff"}}
DAYS_OF_JUNE = ("2012-06-18", "2012-06-19", "2012-06-20", "2012-06-21")


def prepare(folder, days, *, plan: RecordPlan = PLAN, inputs: dict = INPUTS, on_day=None) -> dict:
    return prepare_records(
        [lambda day=day: day for day in days],
        folder=folder,
        tokenizer=ExactTokenizer(),
        plan=plan,
        inputs=inputs,
        on_day=on_day,
    )


def equal(one, other) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
        assert np.asarray(value).dtype == np.asarray(other[name]).dtype, name


@pytest.fixture(name="day", scope="module")
def day_fixture(make_day):
    return make_day(400)


@pytest.fixture(name="prepared", scope="module")
def prepared_fixture(day, tmp_path_factory):
    """The folder and the manifest of one day's records, and the calls that told of their progress."""
    folder, told = tmp_path_factory.mktemp("work") / "records", []
    return folder, prepare(folder, [day], on_day=lambda name, counts: told.append((name, counts))), told


def test_what_is_read_is_what_was_made(day, prepared):
    folder, manifest, _ = prepared
    parts = split_day(400, train_fraction=0.6, validation_fraction=0.2, embargo_events=20)
    for part in parts:
        made = list(make_records(day, part, ExactTokenizer(), record_events=40, context=24, book_levels=2))
        read = open_records(folder, part.name)
        assert len(read) == len(made) == manifest["splits"][part.name]["records"] > 0
        assert read.outlines == [outline(record) for record in made]
        for index in reversed(range(len(made))):
            equal(made[index], read[index])
        with pytest.raises(IndexError):
            read[len(made)]


def test_the_manifest_counts_each_event_once(prepared):
    folder, manifest, told = prepared
    assert manifest == load_manifest(folder)
    assert {name: counts["events"] for name, counts in manifest["splits"].items()} == {
        "train": 240,
        "validation": 60,
        "test": 60,
    }
    assert told == [("TEST 2012-06-21", part) for part in manifest["days"][0]["parts"]]
    assert [part["split"] for part in manifest["days"][0]["parts"]] == list(SPLITS)
    assert manifest["days"][0]["report"] == {"rows": 400}
    for split in SPLITS:
        records = open_records(folder, split)
        windows = TokenBookDataset(records, context=24, time_buckets=288, evaluation=True)
        scored = sum(int(window["scored"].sum()) for window in windows)
        assert scored == manifest["splits"][split]["tokens"]


def test_the_folder_holds_shards_manifest_and_vocabulary_alone(prepared):
    folder, _, _ = prepared
    assert sorted(path.name for path in folder.parent.iterdir()) == ["records"]
    assert sorted(path.name for path in folder.iterdir()) == ["lob_events", "records.json", "vocabulary.json"]
    assert Vocabulary.load(folder / "vocabulary.json") == ExactTokenizer().vocabulary
    shards = sorted(path.name for path in (folder / "lob_events" / "1.0.0").glob("*array_record*"))
    assert shards == [f"lob_events-{split}.array_record-00000" for split in ("test", "train", "validation")]


def test_records_that_are_there_are_found_again(prepared, day):
    folder, manifest, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def unread():
        raise AssertionError("the day must not be read again")

    again = prepare_records([unread], folder=folder, tokenizer=ExactTokenizer(), plan=PLAN, inputs=INPUTS)
    assert again == manifest
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    "other, shown",
    [
        ({"inputs": {**INPUTS, "sha256": {"a.csv": "11ee"}}}, "11ee"),
        ({"plan": dataclasses.replace(PLAN, record_events=41)}, "'record_events': 41"),
    ],
)
def test_records_of_other_data_or_config_are_refused_and_left_alone(prepared, day, other: dict, shown: str):
    folder, _, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(InputError, match="other data or another config") as caught:
        prepare(folder, [day], **other)
    assert shown in str(caught.value) and len(caught.value.was) == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_fingerprint_names_the_vocabulary():
    one, other = (
        fingerprint(PLAN, vocabulary_hash=ExactTokenizer(digits).vocabulary.hash, inputs=INPUTS) for digits in (None, 2)
    )
    check_manifest({"fingerprint": one}, json.loads(json.dumps(one)))
    with pytest.raises(InputError) as caught:
        check_manifest({"fingerprint": one}, other)
    assert caught.value.was == {"vocabulary": ExactTokenizer().vocabulary.hash}


def test_what_a_killed_run_left_is_cleaned_up(tmp_path, day):
    left = tmp_path / "records.partial" / "lob_events"
    left.mkdir(parents=True)
    (left / "half.array_record").write_bytes(b"half")
    prepare(tmp_path / "records", [day])
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_build_that_fails_leaves_nothing(tmp_path, make_day, day):
    short = make_day(30)
    with pytest.raises(InputError, match="too short"):
        prepare(tmp_path / "records", [short])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no day"):
        prepare(tmp_path / "records", [])
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="holds something else"):
        prepare(tmp_path / "records", [day])
    assert (tmp_path / "records" / "mine.txt").read_text() == "keep"


class Killed(BaseException):
    """Stands for a signal: no handler of errors sees it."""


def killed(*_):
    raise Killed


def test_a_run_killed_in_mid_build_leaves_no_records(tmp_path, day, monkeypatch):
    folder = tmp_path / "records"
    arguments = {"folder": folder, "tokenizer": ExactTokenizer(), "plan": PLAN, "inputs": INPUTS}
    with pytest.raises(Killed):
        prepare_records([lambda: day, killed, lambda: day], **arguments)
    assert list(tmp_path.iterdir()) == []
    # Until the last moment, nothing lies in the folder itself.
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("lob_jax.data.builder.os.replace", killed)
        prepare_records([lambda: day], **arguments)
    with pytest.raises(InputError, match="no prepared records"):
        open_records(folder, "train")
    prepare_records([lambda: day], **arguments)
    assert len(open_records(folder, "train")) == 6


def test_four_days_are_split_by_day(tmp_path, make_day):
    days = [make_day(90, seed=seed, trading_day=name) for seed, name in enumerate(DAYS_OF_JUNE)]
    manifest = prepare(tmp_path / "records", days)
    assert [[part["split"] for part in day["parts"]] for day in manifest["days"]] == [
        ["train"],
        ["train"],
        ["validation"],
        ["test"],
    ]
    train = open_records(tmp_path / "records", "train")
    assert [json.loads(record["instrument"])["trading_day"] for record in train] == 3 * [DAYS_OF_JUNE[0]] + 3 * [
        DAYS_OF_JUNE[1]
    ]
    assert [int(record["first_event"]) for record in train] == 2 * [0, 23, 53]


def test_days_must_come_oldest_first(tmp_path, make_day):
    days = [make_day(90, trading_day=name) for name in reversed(DAYS_OF_JUNE)]
    with pytest.raises(InputError, match="oldest first"):
        prepare(tmp_path / "records", days)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_or_split_is_named(prepared, tmp_path):
    with pytest.raises(InputError, match="mode=prepare"):
        load_manifest(tmp_path)
    with pytest.raises(InputError, match="no such split"):
        open_records(prepared[0], "dev")


def test_tensorflow_is_never_imported(tmp_path):
    """In a process of its own, where it seems to be installed and ends whoever imports it: make and read records."""
    program = f"""
import importlib.machinery, pathlib, sys
class Trap:
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name.partition(".")[0] == "tensorflow" else None
    def create_module(self, spec):
        sys.exit(spec.name + " is imported")
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Trap())
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from conftest import make_day
from lob_jax.data.builder import open_records, prepare_records
from lob_jax.data.dataset import TokenBookDataset
from lob_jax.data.pipeline import batches
from lob_jax.data.records import RecordPlan
from lob_jax.tokens.exact import ExactTokenizer
folder = pathlib.Path({str(tmp_path / "records")!r})
day, plan = make_day(400), RecordPlan(**{dataclasses.asdict(PLAN)!r})
prepare_records([lambda: day], folder=folder, tokenizer=ExactTokenizer(), plan=plan, inputs={{}})
windows = TokenBookDataset(open_records(folder, "train"), context=24, time_buckets=288, evaluation=False)
print(len(list(batches(windows, batch_size=2, seed=0, epochs=1, shuffle=True))), "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "27 False\n"), done.stderr


def test_a_real_day_survives_the_disk(market_data, tmp_path):
    market_data("lobster/GOOG_2012-06-21_34200000_57600000_orderbook_1.csv.gz")
    day = LobsterFeed().read(market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz"))
    plan = RecordPlan(
        record_events=1024, context=256, book_levels=1, train_fraction=0.7, validation_fraction=0.1, embargo_events=200
    )
    manifest = prepare(tmp_path / "records", [day], plan=plan)
    cuts = {"train": (0, 34_637), "validation": (34_837, 39_586), "test": (39_786, 49_482)}
    assert {name: counts["events"] for name, counts in manifest["splits"].items()} == {
        name: last - first for name, (first, last) in cuts.items()
    }
    for split, (first, last) in cuts.items():
        own: list[np.ndarray] = []
        for record in open_records(tmp_path / "records", split):
            events = ExactTokenizer().decode(
                record["tokens"],
                instrument=record_instrument(record),
                start=record_start(record),
                corrections=record_corrections(record),
            )
            rows = [getattr(events, name).astype(np.int64) for name in ("time_ns", "kind", "side", "price", "size")]
            own.append(np.stack(rows)[:, int(record["lead_events"]) :])
        expected = [getattr(day.events, name)[first:last] for name in ("time_ns", "kind", "side", "price", "size")]
        np.testing.assert_array_equal(np.concatenate(own, axis=1), np.stack([e.astype(np.int64) for e in expected]))

"""Records on disk: what is read is what was made; built whole or not at all; never mistaken for other records."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from lob_jax.book.replay import replay
from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.manifest import check_manifest, fingerprint, load_manifest
from lob_jax.data.records.records import (
    RecordPlan,
    make_records,
    outline,
    record_opening,
)
from lob_jax.data.records.split import SPLITS, split_day
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.feeds.feed import DaySource
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import VOCAB_SIZE, Vocabulary

PLAN = RecordPlan(
    record_events=40, context=24, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=20
)
INPUTS = {"feed": "test", "sha256": {"a.csv": "00ff"}}
DAYS_OF_JUNE = ("2012-06-18", "2012-06-19", "2012-06-20", "2012-06-21")


@pytest.fixture(name="prepare", scope="session")
def prepare_fixture(held_feed):
    def prepare(folder, days, *, plan: RecordPlan = PLAN, inputs: dict = INPUTS, feed=None, **more) -> dict:
        feed = feed or held_feed(*days)
        shape = {"tokenizer": ExactTokenizer(), "plan": plan, "inputs": inputs}
        return prepare_records(feed, held_feed(*days).days(), folder=folder, processes=1, **shape, **more)

    return prepare


def equal(one, other) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
        assert np.asarray(value).dtype == np.asarray(other[name]).dtype, name


@pytest.fixture(name="day", scope="module")
def day_fixture(make_day):
    return make_day(400)


@pytest.fixture(name="prepared", scope="module")
def prepared_fixture(day, prepare, tmp_path_factory):
    """The folder and the manifest of one day's records, and the calls that told of their progress."""
    folder, told = tmp_path_factory.mktemp("work") / "records", []
    return folder, prepare(folder, [day], on_day=lambda name, counts: told.append((name, counts))), told


class Unread:
    """A feed that must not be read."""

    def read(self, source, reading):
        raise AssertionError("the day must not be read again")


def test_what_is_read_is_what_was_made(day, prepared):
    folder, manifest, _ = prepared
    parts = split_day(400, train_fraction=0.6, validation_fraction=0.2, embargo_events=20)
    for part in parts:
        shape = {"record_events": 40, "context": 24, "book_levels": 2}
        made = [record for _, record in make_records(day, [part], ExactTokenizer(), **shape)]
        read = open_records(folder, part.name)
        assert len(read) == len(made) == manifest["splits"][part.name]["records"] > 0
        assert read.outlines == [outline(record) for record in made]
        for index in reversed(range(len(made))):
            equal(made[index], read[index])
        with pytest.raises(IndexError):
            read[len(made)]


def test_the_manifest_counts_each_event_once(day, prepared):
    folder, manifest, told = prepared
    assert manifest == load_manifest(folder)
    assert {name: counts["events"] for name, counts in manifest["splits"].items()} == {
        "train": 240,
        "validation": 60,
        "test": 60,
    }
    assert told == [("TEST 2012-06-21", part) for part in manifest["days"][0]["parts"]]
    assert [part["split"] for part in manifest["days"][0]["parts"]] == list(SPLITS)
    assert Instrument(**manifest["days"][0]["instrument"]) == day.instrument
    for split in SPLITS:
        records = open_records(folder, split)
        windows = TokenBookDataset(records, context=24, time_buckets=288, evaluation=True)
        scored = sum(int(window["scored"].sum()) for window in windows)
        assert scored == manifest["splits"][split]["tokens"]
        # What is counted is what is scored: neither leads nor EOS.
        seen = np.concatenate([window["tokens"][window["scored"]] for window in windows])
        np.testing.assert_array_equal(np.bincount(seen, minlength=VOCAB_SIZE), manifest["token_counts"][split])


def test_the_report_counts_the_contradictions_of_every_event(day, prepare, tmp_path):
    """The events between two parts count as well: a bid that crosses and a removal of nothing lie there, too."""
    wrong = np.isin(np.arange(len(day.events)), (5, 283))
    price = np.where(wrong, day.events.price + 10_000 * day.events.side.astype(np.int64), day.events.price)
    crossed = dataclasses.replace(day, events=day.events.replace(price=price))
    counts = replay(crossed, levels=1).counts
    assert counts["crossed"] + counts["locked"] > 0 and counts["unknown_level"] > 0
    manifest = prepare(tmp_path / "records", [crossed])
    assert manifest["days"][0]["report"] == {
        "rows": 400,
        "crossed_states": counts["crossed"],
        "locked_states": counts["locked"],
        "unknown_level": counts["unknown_level"],
        "over_removal": counts["over_removal"],
    }


def test_the_manifest_names_every_shard_with_its_hash(prepared):
    folder, manifest, _ = prepared
    shards = {path.name: path for path in (folder / "lob_events" / "1.0.0").glob("*.array_record-*")}
    assert list(manifest["shards"]) == [f"lob_events-{split}.array_record-00000-of-00001" for split in SPLITS]
    assert shards.keys() == manifest["shards"].keys()
    for name, about in manifest["shards"].items():
        assert about["sha256"] == hashlib.sha256(shards[name].read_bytes()).hexdigest()
    assert [about["records"] for about in manifest["shards"].values()] == [6, 2, 2]


def test_the_folder_holds_shards_manifest_and_vocabulary_alone(prepared):
    folder, _, _ = prepared
    assert sorted(path.name for path in folder.parent.iterdir()) == ["records"]
    assert sorted(path.name for path in folder.iterdir()) == ["lob_events", "records.json", "vocabulary.json"]
    assert Vocabulary.load(folder / "vocabulary.json") == ExactTokenizer().vocabulary
    names = sorted(path.name for path in (folder / "lob_events" / "1.0.0").iterdir())
    assert names == ["dataset_info.json", "features.json", *sorted(load_manifest(folder)["shards"])]


def test_records_that_are_there_are_found_again(prepared, prepare, day):
    folder, manifest, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert prepare(folder, [day], feed=Unread()) == manifest
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    "other, shown",
    [
        ({"inputs": {**INPUTS, "sha256": {"a.csv": "11ee"}}}, "11ee"),
        ({"plan": dataclasses.replace(PLAN, record_events=41)}, "record_events = 41"),
    ],
)
def test_records_of_other_data_or_config_are_refused_and_left_alone(prepared, prepare, day, other: dict, shown: str):
    folder, _, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(InputError, match="other data or another config") as caught:
        prepare(folder, [day], **other)
    assert shown in caught.value.was and shown not in caught.value.expected
    assert len(caught.value.was.splitlines()) == len(caught.value.expected.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_fingerprint_names_the_vocabulary_and_the_days():
    days = [DaySource(None, "TEST", day) for day in DAYS_OF_JUNE]
    one, other = (fingerprint(days, PLAN, tokenizer=ExactTokenizer(digits), inputs=INPUTS) for digits in (None, 2))
    fewer = fingerprint(days[:2], PLAN, tokenizer=ExactTokenizer(), inputs=INPUTS)
    assert one["days"] == [f"TEST {day}" for day in DAYS_OF_JUNE] and fewer == {**one, "days": one["days"][:2]}
    check_manifest({"fingerprint": one}, json.loads(json.dumps(one)))
    with pytest.raises(InputError) as caught:
        check_manifest({"fingerprint": one}, other)
    assert caught.value.expected == f"vocabulary = {ExactTokenizer().vocabulary.hash!r}"  # what the records have
    assert caught.value.was == f"vocabulary = {ExactTokenizer(2).vocabulary.hash!r}"


def test_what_a_run_for_other_records_left_is_removed(tmp_path, prepare, make_day, day):
    left = tmp_path / "records.partial" / "lob_events"
    left.mkdir(parents=True)
    (left / "half.array_record").write_bytes(b"half")
    prepare(tmp_path / "records", [day])
    assert [path.name for path in tmp_path.iterdir()] == ["records"]
    assert not (tmp_path / "records" / "lob_events" / "half.array_record").exists()


def test_a_build_that_fails_leaves_nothing_but_days_that_are_done(tmp_path, prepare, make_day, day):
    with pytest.raises(InputError, match="too short"):
        prepare(tmp_path / "records", [make_day(30)])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no day"):
        prepare(tmp_path / "records", [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="contains other files"):
        prepare(tmp_path / "records", [day])
    assert (tmp_path / "records" / "mine.txt").read_text() == "keep"


class Killed(BaseException):
    """Stands for a signal: no handler of errors sees it."""


def killed(*_, **__):
    raise Killed


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class OneDayOnly:
    """A feed whose machine stops after one day."""

    def __init__(self, feed):
        self.feed, self.days_read = feed, 0

    def read(self, source, reading):
        self.days_read += 1
        return self.feed.read(source, reading) if self.days_read == 1 else killed()


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, held_feed, prepare, make_day):
    days = [make_day(90, seed=seed, trading_day=name) for seed, name in enumerate(DAYS_OF_JUNE)]
    undisturbed, folder, read = tmp_path / "one" / "records", tmp_path / "two" / "records", []
    prepare(undisturbed, days)
    for done in range(1, 4):
        feed = OneDayOnly(held_feed(*days))
        with pytest.raises(Killed):
            prepare(folder, days, feed=feed)
        assert feed.days_read == 2, "what is done is not read again"
        kept = folder.with_name("records.partial") / "days"
        assert sorted(path.name for path in kept.glob("*.json")) == [f"0000{k}.json" for k in range(done)]
        assert not folder.exists() and not list(kept.glob("*.partial"))
        (kept / "00003-test-00000.77.partial").write_bytes(b"what a dead process left")
    prepare(folder, days, feed=OneDayOnly(held_feed(*days)), on_day=lambda name, _: read.append(name))
    assert read == [f"TEST {DAYS_OF_JUNE[3]}"]
    assert contents(folder) == contents(undisturbed)
    assert [path.name for path in folder.parent.iterdir()] == ["records"]


def die_at(monkeypatch, step: int) -> list[str]:
    """Let a process change no file from its step number `step` on; return the list that its steps are noted in."""
    steps: list[str] = []

    def watched(module, name: str):
        change = getattr(module, name)

        def call(*arguments, **more):
            steps.append(name)
            return killed() if len(steps) > step else change(*arguments, **more)

        monkeypatch.setattr(module, name, call)

    for module, name in ((os, "replace"), (os, "link"), (os, "fsync"), (shutil, "rmtree")):
        watched(module, name)
    return steps


def test_a_run_that_dies_at_any_step_can_be_gone_on_with(tmp_path, prepare, day, prepared, monkeypatch):
    with monkeypatch.context() as patch:
        steps = die_at(patch, 1_000)
        prepare(tmp_path / "whole", [day])
    assert steps[-1] == "replace" and {"link", "fsync", "rmtree"} <= set(steps)
    for step in range(len(steps)):
        folder = tmp_path / str(step) / "records"
        with monkeypatch.context() as patch, pytest.raises(Killed):
            die_at(patch, step)
            prepare(folder, [day])
        with pytest.raises(InputError, match="no prepared records"):
            open_records(folder, "train")
        prepare(folder, [day])
        assert contents(folder) == contents(prepared[0])
        assert [path.name for path in folder.parent.iterdir()] == ["records"]


def test_four_days_are_split_by_day(tmp_path, prepare, make_day):
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


def test_days_must_come_oldest_first(tmp_path, prepare, make_day):
    days = [make_day(90, trading_day=name) for name in reversed(DAYS_OF_JUNE)]
    with pytest.raises(InputError, match="sorted from the oldest"):
        prepare(tmp_path / "records", days)
    assert list(tmp_path.iterdir()) == []


def test_the_instruments_of_a_day_share_its_split(tmp_path, prepare, make_day, of_symbol):
    days = [
        of_symbol(make_day(90, seed=seed, trading_day=name), symbol)
        for seed, name in enumerate(DAYS_OF_JUNE[:3])
        for symbol in ("A", "B")
    ]
    manifest = prepare(tmp_path / "records", days)
    splits = [(day["symbol"], [part["split"] for part in day["parts"]]) for day in manifest["days"]]
    assert splits == [(symbol, [split]) for split in SPLITS for symbol in ("A", "B")]
    symbols = [json.loads(record["instrument"])["symbol"] for record in open_records(tmp_path / "records", "test")]
    assert symbols == 3 * ["A"] + 3 * ["B"]


def test_the_instruments_of_a_single_day_are_each_cut_in_three(tmp_path, prepare, make_day, of_symbol):
    manifest = prepare(tmp_path / "records", [of_symbol(make_day(400), "A"), of_symbol(make_day(300, seed=1), "B")])
    events = [[part["events"] for part in day["parts"]] for day in manifest["days"]]
    assert events == [[240, 60, 60], [180, 40, 40]]


def test_the_days_of_an_instrument_must_agree_in_their_scales(tmp_path, prepare, make_day, of_symbol):
    days = [make_day(90, seed=seed, trading_day=name) for seed, name in enumerate(DAYS_OF_JUNE)]
    prepare(tmp_path / "fine", [*days[:3], of_symbol(days[3], "OTHER", tick=50)])
    days[2] = of_symbol(days[2], "TEST", tick=50)
    for _ in range(2):  # what the first run has left is checked, too
        with pytest.raises(InputError, match="tick or scales") as caught:
            prepare(tmp_path / "records", days)
        assert "--config.data.tick=0.005 --config.data.lot=1;" in caught.value.remedy  # in the market's units
        assert DAYS_OF_JUNE[2] in caught.value.where
        assert "tick 0.005," in caught.value.was and "tick 0.01," in caught.value.expected


def test_a_file_must_hold_the_day_that_it_was_listed_for(tmp_path, prepare, held_feed, make_day):
    feed = held_feed(make_day(400))
    wrong = types.SimpleNamespace(read=lambda source, reading: make_day(400, trading_day="2012-06-22"))
    with pytest.raises(InputError, match="does not contain a listed day") as caught:
        prepare(tmp_path / "records", feed.held, feed=wrong)
    assert caught.value.expected == "TEST 2012-06-21" and caught.value.was == ["TEST 2012-06-22"]


def test_a_missing_folder_or_split_is_named(prepared, tmp_path):
    with pytest.raises(InputError, match="mode=prepare"):
        load_manifest(tmp_path)
    with pytest.raises(InputError, match="no such split"):
        open_records(prepared[0], "dev")


@pytest.mark.slow
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
sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})
from conftest import HeldFeed, make_day
from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.data.records.records import RecordPlan
from lob_jax.tokens.exact import ExactTokenizer
folder = pathlib.Path({str(tmp_path / "records")!r})
day, plan = make_day(400), RecordPlan(**{dataclasses.asdict(PLAN)!r})
feed = HeldFeed(day)
prepare_records(feed, feed.days(), folder=folder, tokenizer=ExactTokenizer(), plan=plan, inputs={{}})
windows = TokenBookDataset(open_records(folder, "train"), context=24, time_buckets=288, evaluation=False)
print(len(list(batches(windows, batch_size=2, seed=0, epochs=1, shuffle=True))), "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "27 False\n"), done.stderr


@pytest.mark.slow
def test_a_real_day_survives_the_disk(market_data, prepare, tmp_path):
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
            events = ExactTokenizer().decode(record["tokens"], record_opening(record))
            rows = [getattr(events, name).astype(np.int64) for name in ("time_ns", "kind", "side", "price", "size")]
            own.append(np.stack(rows)[:, int(record["lead_events"]) :])
        expected = [getattr(day.events, name)[first:last] for name in ("time_ns", "kind", "side", "price", "size")]
        np.testing.assert_array_equal(np.concatenate(own, axis=1), np.stack([e.astype(np.int64) for e in expected]))

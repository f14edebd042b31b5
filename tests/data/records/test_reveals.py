"""What came into view in training, beside the records: that of the days, whatever the tokens, and of training alone."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.book.view import follow_view
from lob_jax.data.records import reveals
from lob_jax.data.records.beam import keyed_records, read_accounts, split_order
from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.jobs import lay_out, make_jobs
from lob_jax.data.records.manifest import MANIFEST, load_manifest
from lob_jax.data.records.records import RecordPlan, record_spans
from lob_jax.data.records.reveals import REVEALS, load_reveals, training_reveals, write_reveals
from lob_jax.data.records.split import Part, day_parts
from lob_jax.data.records.tokenizer_fit import fit_tokenizer
from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from tests.generation.test_reveals import windowed

PLAN = RecordPlan(
    record_events=300, context=64, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=70
)
SPLIT = {"train_fraction": 0.6, "validation_fraction": 0.2, "embargo_events": 70}


@pytest.fixture(scope="module")
def day():
    feed = SyntheticFeed(1, 3_000, 5)
    return windowed(feed.read(feed.days()[0], STRICT), 3)


@pytest.fixture(scope="module")
def parts(day):
    return day_parts(len(day.events), day=0, days=1, **SPLIT)


def measured(day, spans):
    """Return the pairs of each side that came into view in some spans of a day, each followed by itself."""
    sides = ([], [])
    for (first, last), start in zip(spans, snapshots_at(day, np.array([first for first, _ in spans])), strict=True):
        states = replay(day.part(first, last, start=start), day.start.window)
        for pairs, side in zip(sides, follow_view(states).revealed, strict=True):
            pairs += [[quanta // day.instrument.tick, lots] for quanta, lots in side.pairs]
    return sides


def spans_of(folder):
    """Return the events of each training record, with its lead."""
    records = open_records(folder, "train")
    begins = [int(record["first_event"]) for record in records]
    return [(begin, begin + len(record["clock_ns"]) - 1) for begin, record in zip(begins, records, strict=True)]


def cut(part):
    """Return the events of each record of a part, with its lead."""
    spans = record_spans(part, record_events=PLAN.record_events, context=PLAN.context)
    return [(begin, last) for begin, _, last in spans]


@pytest.mark.parametrize("kind", [ExactTokenizer, CompactTokenizer])
def test_what_is_stored_is_what_came_into_view_on_the_day(day, kind, held_feed, tmp_path):
    feed, folder = held_feed(day), tmp_path / "records"
    fitted = {"plan": PLAN, "reading": STRICT, "store": tmp_path}
    tokenizer = fit_tokenizer(kind, feed, feed.days(), **fitted) if kind.fitted else kind()
    prepare_records(feed, feed.days(), folder=folder, tokenizer=tokenizer, plan=PLAN, inputs={}, processes=1)
    expected, found = measured(day, spans_of(folder)), load_reveals(folder, "SYN")
    assert [side.tolist() for side in found] == list(expected) and min(map(len, found)) > 10
    whole = measured(day, [(0, spans_of(folder)[-1][1])])
    assert sum(map(len, found)) > 2 * sum(map(len, whole))  # a path does not know what left the view hours ago
    assert [len(side) for side in load_reveals(folder, "another")] == [0, 0]


def altered(day, first):
    """Return a day whose events from one on have twice the size."""
    late = np.arange(len(day.events)) >= first
    return day.with_events(day.events.replace(size=np.where(late & (day.events.kind < 7), 2, 1) * day.events.size))


def test_it_is_measured_in_training_alone(day, parts):
    found = training_reveals(day, parts, PLAN)
    assert list(found) == ["train"]
    assert training_reveals(altered(day, parts[0].last), parts, PLAN) == found
    assert training_reveals(altered(day, parts[0].last // 2), parts, PLAN) != found
    assert training_reveals(day, parts[1:], PLAN) == {}


def test_of_a_long_part_evenly_spaced_records_are_followed(day, parts, monkeypatch):
    monkeypatch.setattr(reveals, "FIT_EVENTS", 2 * PLAN.record_events)
    first, *_, last = cut(parts[0])
    expected = measured(day, [first, last])
    assert [list(map(list, side)) for side in training_reveals(day, parts, PLAN)["train"]] == list(expected)
    monkeypatch.setattr(reveals, "MOST_PAIRS", 5)
    bids, asks = training_reveals(day, parts, PLAN)["train"]
    assert 3 <= len(bids) <= 5 and 3 <= len(asks) <= 5
    assert list(bids[0]) == expected[0][0] and all(list(pair) in expected[0] for pair in bids)


def test_a_feed_that_shows_all_levels_has_none_that_come_into_view(day, parts):
    whole = dataclasses.replace(day, start=dataclasses.replace(day.start, window=0))
    assert training_reveals(whole, parts, PLAN) == {"train": [[], []]}


@pytest.fixture(scope="module")
def days():
    """Two instruments on four days, the first two of which are for training."""
    feed = SyntheticFeed(4, 300, 0, symbols=("A", "BB"))
    return [windowed(feed.read(source, STRICT), 2) for source in feed.days()]


def prepare(folder, feed, days, held_feed):
    shape = {"tokenizer": ExactTokenizer(), "plan": PLAN, "inputs": {}, "processes": 1}
    return prepare_records(feed, held_feed(*days).days(), folder=folder, **shape)


class Ending:
    """A feed of which some days can be read."""

    def __init__(self, feed, left):
        self._feed, self._left = feed, left

    def read(self, source, reading):
        self._left -= 1
        if self._left < 0:
            raise InterruptedError
        return self._feed.read(source, reading)


def test_instruments_have_their_own_of_all_their_training_days(days, held_feed, tmp_path):
    folder, again = tmp_path / "one" / "records", tmp_path / "two" / "records"
    manifest = prepare(folder, held_feed(*days), days, held_feed)
    for symbol in ("A", "BB"):
        training = [day for day in days[:4] if day.instrument.symbol == symbol]
        expected = [measured(day, cut(Part("train", 0, len(day.events), 0))) for day in training]
        found = load_reveals(folder, symbol)
        assert [side.tolist() for side in found] == [one + other for one, other in zip(*expected, strict=True)]
        assert min(map(len, found)) > 0
    rows = sum(len(side) for symbol in ("A", "BB") for side in load_reveals(folder, symbol))
    assert manifest["reveals"][REVEALS]["rows"] == rows
    with pytest.raises(InterruptedError):  # preparation goes on with the days that are done
        prepare(again, Ending(held_feed(*days), 3), days, held_feed)
    assert prepare(again, Ending(held_feed(*days), 5), days, held_feed) == manifest
    assert (again / REVEALS).read_bytes() == (folder / REVEALS).read_bytes()


def test_workers_of_beam_measure_it(days, held_feed, tmp_path):
    places = lay_out(held_feed(*days).days())
    jobs = make_jobs(held_feed(*days), places, STRICT)
    how = {"order": split_order(jobs), "folder": tmp_path, "tokenizer": ExactTokenizer(), "plan": PLAN}
    for job in jobs:
        assert list(keyed_records(job, **how))
    accounts = read_accounts(tmp_path, places)
    for place, day, account in zip(places, days, accounts, strict=True):
        expected = training_reveals(day, place.parts(len(day.events), PLAN), PLAN)
        assert account["reveals"] == json.loads(json.dumps(expected))


def test_records_of_an_earlier_version_do_not_say_what_came_into_view(days, held_feed, tmp_path):
    folder = tmp_path / "records"
    manifest = prepare(folder, held_feed(*days), days, held_feed)
    earlier = [{"reveals": {}}, {}]
    assert write_reveals(tmp_path, earlier) == {} and not (tmp_path / REVEALS).exists()
    (folder / MANIFEST).write_text(json.dumps({key: manifest[key] for key in manifest if key != "reveals"}))
    assert load_reveals(folder, "A") is None
    assert prepare(folder, Ending(held_feed(*days), 0), days, held_feed) == load_manifest(folder)  # they are not stale


def test_a_file_that_is_missing_or_another_is_refused(days, held_feed, tmp_path):
    folder = tmp_path / "records"
    prepare(folder, held_feed(*days), days, held_feed)
    content = (folder / REVEALS).read_bytes()
    (folder / REVEALS).write_bytes(content[:-1] + b"\1")
    with pytest.raises(InputError, match="not those of the records") as caught:
        load_reveals(folder, "A")
    assert "sha256" in caught.value.was
    (folder / REVEALS).unlink()
    with pytest.raises(InputError, match="not those of the records") as caught:
        load_reveals(folder, "A")
    assert caught.value.was == "no such file"

"""Fitted tokenizers: bins from training events alone, and what is known at a compact token, a whole event."""

import dataclasses

import numpy as np
import pytest

from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.escapes import record_sets, training_escapes
from lob_jax.data.records.manifest import FORMAT_WITH_SETS, load_manifest
from lob_jax.data.records.records import RecordPlan, make_records
from lob_jax.data.records.split import Part
from lob_jax.data.records.tokenizer_fit import fit_tokenizer, measure_loss
from lob_jax.data.windows.dataset import TokenBookDataset, prepare_record
from lob_jax.data.windows.known import Beside
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.prompt import make_prompt
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compact import CompactTokenizer

PLAN = RecordPlan(
    record_events=300, context=64, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=70
)


class Altered:
    """A feed whose events from one on are others: twice the size, at other times."""

    def __init__(self, feed, first: int):
        self._feed, self._first = feed, first

    def read(self, source, reading):
        day = self._feed.read(source, reading)
        late = np.arange(len(day.events)) >= self._first
        columns = {field.name: getattr(day.events, field.name) for field in dataclasses.fields(day.events)}
        columns["size"] = np.where(late & (day.events.kind < 7), 977 * day.events.size, day.events.size)
        columns["time_ns"] = day.events.time_ns + np.cumsum(late) * 10**9
        return dataclasses.replace(day, events=Events.from_columns(**columns))


@pytest.fixture(scope="module")
def feed():
    return SyntheticFeed(1, 3_000, 5)


@pytest.fixture(scope="module")
def tokenizer(feed, tmp_path_factory):
    return fit_tokenizer(CompactTokenizer, feed, feed.days(), **how(tmp_path_factory.mktemp("store")))


def how(store):
    return {"plan": PLAN, "reading": STRICT, "store": store}


@pytest.mark.slow
def test_only_training_events_shape_the_bins(feed, tokenizer, tmp_path):
    events = len(feed.read(feed.days()[0], STRICT).events)
    later = fit_tokenizer(CompactTokenizer, Altered(feed, round(events * 0.6)), feed.days(), **how(tmp_path))
    earlier = fit_tokenizer(CompactTokenizer, Altered(feed, round(events * 0.6) - 200), feed.days(), **how(tmp_path))
    assert later.bins == tokenizer.bins
    assert earlier.bins != tokenizer.bins


def test_what_is_lost_is_measured_on_validation_events(feed, tokenizer, tmp_path):
    lost = measure_loss(tokenizer, feed, feed.days(), **how(tmp_path))
    events = len(feed.read(feed.days()[0], STRICT).events)
    assert lost.events == round(events * 0.8) - round(events * 0.6) - PLAN.embargo_events
    assert 0.3 < lost.exact_price < 1 and lost.lost < 0.1


@pytest.fixture(scope="module")
def folder(feed, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compact") / "records"
    prepare_records(feed, feed.days(), folder=folder, tokenizer=tokenizer, plan=PLAN, inputs={}, processes=1)
    return folder


@pytest.fixture(scope="module")
def records(folder):
    return open_records(folder, "train")


def test_a_record_names_its_tokenizer_before_it_is_on_disk(feed, tokenizer):
    part = Part("train", 0, 200, 0)
    shape = {"record_events": 100, "context": 64, "book_levels": 2}
    made = make_records(feed.read(feed.days()[0], STRICT), [part], tokenizer, **shape)
    assert {record["tokenizer"] for _, record in made} == {"compact"}


def test_at_a_token_the_whole_event_is_known(records):
    record = records[1]
    assert record["tokenizer"] == "compact"
    prepared = prepare_record(record, time_buckets=86_400, beside=Beside(names=("clock",)))
    events = len(record["clock_ns"]) - 1
    assert prepared.tokens.shape == (events,)
    np.testing.assert_array_equal(prepared.event, np.arange(events))
    np.testing.assert_array_equal(prepared.book_row, np.arange(1, events + 1))
    np.testing.assert_array_equal(prepared.clock_row, np.arange(1, events + 1))
    clock = prepared.known["clock"].at(slice(None)).astype(np.int64)
    seconds = clock[:, 0] * 10**9 + clock[:, 1]
    np.testing.assert_array_equal(np.diff(seconds), np.diff(record["clock_ns"][1:]))


def test_records_hold_the_sets_of_their_day_and_windows_show_them(feed, tokenizer, records):
    day = feed.read(feed.days()[0], STRICT)
    expected = tokenizer.sets(tokenizer.encode(day), day)
    beside = Beside(("state", "kind", "allowed"), tokenizer=tokenizer)
    windows = TokenBookDataset(records, context=64, time_buckets=288, evaluation=False, beside=beside)
    assert {span.record for span in windows.spans} == set(range(len(records)))
    for span, window in zip(windows.spans, windows, strict=True):
        begin, sets = int(records[span.record]["first_event"]), windows.sets(span.record)
        rows = np.arange(max(span.start + 1, 0), min(span.start + 66, sets.rows))
        np.testing.assert_array_equal(window["allowed"][rows - span.start - 1], expected.packed(begin + rows))
        assert not window["allowed"][len(rows) :].any()
        np.testing.assert_array_equal(sets.outside, expected.outside[begin : begin + sets.rows])
    assert not np.array_equal(record_sets(records[1], tokenizer).first, record_sets(records[2], tokenizer).first)


def test_the_manifest_counts_escapes_of_compact_tokens(folder, records):
    manifest = load_manifest(folder)
    assert manifest["fingerprint"]["format"] == FORMAT_WITH_SETS
    escapes = manifest["days"][0]["escapes"]
    assert np.sum(escapes["train"]["places"]) == manifest["splits"]["train"]["tokens"]
    leads = [int(record["lead_events"]) for record in records]
    outside = sum(np.count_nonzero(record["sets_outside"][lead:]) for record, lead in zip(records, leads, strict=True))
    assert np.sum(list(escapes["train"]["outside"].values())) == outside
    shares = training_escapes(manifest)
    assert (shares[v.FIELD_HEAD] < 0.1).sum() >= 4  # the kinds that training has seen often


def test_a_prompt_ends_where_a_book_is_known(records, tokenizer):
    prompt = make_prompt(records, events=20, tokenizer=tokenizer, time_buckets=288)
    last = int(records[1]["first_event"]) - int(records[0]["first_event"])
    np.testing.assert_array_equal(prompt.tokens_T, records[0]["tokens"][last - 20 : last])
    np.testing.assert_array_equal(prompt.book.price, records[1]["start_price"])
    np.testing.assert_array_equal(prompt.known_T["book"][-1], records[0]["features"][last])
    assert prompt.clock_ns == int(records[1]["start_time_ns"]) and prompt.book.window == int(records[1]["start_window"])


def test_without_a_record_that_begins_later_there_is_no_book_to_generate_from(records, tokenizer):
    with pytest.raises(InputError, match="no book to generate from"):
        make_prompt([records[0]], events=20, tokenizer=tokenizer, time_buckets=288)
    with pytest.raises(InputError, match="no event before the first book") as caught:
        make_prompt([records[0], records[0]], events=20, tokenizer=tokenizer, time_buckets=288)
    assert "longer records" in caught.value.remedy

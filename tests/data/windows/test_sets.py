"""The sets of windows: those of a window alone are those of the whole record, which is what is kept in the end."""

import dataclasses
import itertools

import numpy as np
import pytest

from lob_jax.book.replay import reference_runs
from lob_jax.data.records.escapes import record_sets
from lob_jax.data.records.records import day_record
from lob_jax.data.windows.dataset import CACHE_BYTES, TokenBookDataset
from lob_jax.data.windows.known import ALWAYS, SETS, Beside
from lob_jax.data.windows.pipeline import aligned_arrays
from lob_jax.data.windows.sets import RecordSets
from lob_jax.events.halts import QUOTING
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.vocabulary import REFERENCES


@pytest.fixture(name="day", scope="module")
def day_fixture(make_day):
    """Events with halts and corrections, of which the 300th is an ADD of the largest size: it escapes."""
    day = make_day(600)
    size = day.events.size.copy()
    size[300] = 10**9
    return dataclasses.replace(day, events=day.events.replace(size=size))


def tokenizer_of(name, day):
    if name == "compact":
        (before,) = (one for _, one in reference_runs(day, len(day.events)))
        return CompactTokenizer.fit([seen_in(day.events, before, day.instrument, day.start.time_ns)])
    return ExactTokenizer(references=REFERENCES[name == "ranks"])


@pytest.mark.parametrize("name", ["exact", "ranks", "compact"])
def test_a_windows_sets_are_those_of_its_record(day, name):
    """At all windows, those that begin before the record and end behind it among them."""
    tokenizer = tokenizer_of(name, day)
    record = day_record(day, 100, 600, tokenizer, book_levels=2, closed=QUOTING)
    whole = record_sets(record, tokenizer)
    expected = whole.packed(np.arange(whole.rows))
    assert whole.outside.any(), "a token escapes"
    for first, count in itertools.product(range(-5, whole.rows + 5, 37), (5, 130)):
        sets = RecordSets(record, tokenizer)
        for _ in ("the window alone", "the whole record", "what is kept of it"):
            at = np.arange(first, first + count)
            inside = (at >= 0) & (at < whole.rows)
            bits = sets.places(first, count).packed()
            np.testing.assert_array_equal(bits[inside], expected[at[inside]])
            assert not bits[~inside].any() and len(bits) == count
        for given, own in zip(sets.whole(), whole, strict=True):
            np.testing.assert_array_equal(given, own)


def test_the_sets_of_a_record_are_kept_once_it_is_read_again_and_count_in_the_cache(day):
    record = day_record(day, 0, 600, ExactTokenizer(), book_levels=2)
    beside = Beside((*ALWAYS, SETS), tokenizer=ExactTokenizer())
    windows = TokenBookDataset([record], context=64, time_buckets=288, evaluation=False, beside=beside)
    alone = [windows.prepared(0).nbytes()]
    for read in (windows.__getitem__, lambda index: windows.together([index], aligned_arrays)):
        windows._cache.__init__(CACHE_BYTES)
        for index, grown in ((3, False), (3, True), (5, True)):
            read(index)
            held = windows.prepared(0)
            assert held.sets is not None and (held.sets.nbytes > 0) == grown
            assert windows._cache.used == held.nbytes() == alone[0] + held.sets.nbytes


def test_a_record_that_grows_lets_others_go(day):
    beside = Beside((*ALWAYS, SETS), tokenizer=ExactTokenizer())
    records = [day_record(day, 0, 600, ExactTokenizer(), book_levels=2) for _ in range(2)]
    how = {"context": 64, "time_buckets": 288, "evaluation": False, "beside": beside}
    windows = TokenBookDataset(records, **how)
    windows._cache.__init__(2 * windows.prepared(0).nbytes())
    last = len(windows) - 1
    windows[0], windows[last]
    assert len(windows._cache) == 2
    windows[last]
    assert len(windows._cache) == 1 and windows._cache.get(1) is not None
    assert windows._cache.used == windows.prepared(1).nbytes()

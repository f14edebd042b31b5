"""A prompt of exact tokens: its events, and the market that they end in."""

import dataclasses

import jax
import numpy as np
import pytest

from lob_jax.book.anchors import AnchorColumn
from lob_jax.book.day import MarketDay
from lob_jax.book.flow import blank_flow
from lob_jax.book.price_memory import PastColumn, past_events
from lob_jax.book.queue import QueueColumn
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records, read_record
from lob_jax.data.records.split import Part
from lob_jax.data.windows import known
from lob_jax.data.windows.known import ALWAYS, Beside
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.load import load_incremental_data
from lob_jax.generation.device import anchors
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.start import start_paths
from lob_jax.runs.prompt import make_prompt, prompt_from_day
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.numbers import number_code

INSTRUMENT = Instrument("TEST", "XNAS", "2012-06-21", time_zone="America/New_York")
OPEN_NS = INSTRUMENT.midnight_ns() + 34_200 * 10**9
START = BookSnapshot(
    time_ns=OPEN_NS,
    side=np.array([1, -1], np.int8),
    price=np.array([9_900, 10_100]),
    size=np.array([5, 4]),
    order_id=np.zeros(2, np.uint64),
    anonymous=np.zeros(2, bool),
    last_best=np.array([9_900, 10_100]),
    window=1,
)
ROWS = [
    (1, Kind.ADD, Code.NONE, 1, 10_000, 3),
    (2, Kind.CONTROL, Code.HALT, 0, 0, 0),
    (3, Kind.CONTROL, Code.RESUME_QUOTE, 0, 0, 0),
    (4, Kind.ADD, Code.NONE, -1, 10_200, 7),
    (5, Kind.CONTROL, Code.RESUME_TRADE, 0, 0, 0),
    (6, Kind.DELETE, Code.NONE, 1, 10_000, 3),
]


@pytest.fixture(scope="module")
def records():
    columns = dict(zip(("time_ns", "kind", "code", "side", "price", "size"), np.array(ROWS).T, strict=True))
    columns["time_ns"] = OPEN_NS + columns["time_ns"]
    day = MarketDay(INSTRUMENT, START, Events.from_columns(**columns), Corrections.none(), {})
    shape = {"record_events": len(ROWS), "context": 8, "book_levels": 2}
    return [record for _, record in make_records(day, [Part("train", 0, len(ROWS), 0)], ExactTokenizer(), **shape)]


@pytest.mark.parametrize(("events", "closed"), [(1, 0), (2, 2), (3, 1), (4, 1), (5, 0)])
def test_a_prompt_ends_in_the_market_that_its_events_left(records, events, closed):
    prompt = make_prompt(records, events=events, tokenizer=ExactTokenizer(), time_buckets=288)
    again = ExactTokenizer().decode(prompt.tokens_T, MarketDay.opening(INSTRUMENT, START))
    assert again.kind.tolist() == [row[1] for row in ROWS[:events]]
    assert prompt.clock_ns == OPEN_NS + ROWS[events - 1][0] and prompt.closed == closed
    # The feed shows one level a side: the bid at 9,900 left its view when a better one came, and is remembered.
    assert sorted(prompt.book.price.tolist()) == [10_000, 10_100]
    assert prompt.book.window == 1
    assert [vars(prompt.behind)[name].tolist() for name in ("side", "price", "size")] == [[1], [9_900], [5]]


def test_a_prompt_of_a_model_with_a_mask_finds_no_sets(records, monkeypatch):
    """They are about the tokens of the prompt, and generation has those of the live book."""
    monkeypatch.setattr(known, "RecordSets", lambda *_: pytest.fail("sets that nothing reads"))
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288}
    how |= {"beside": Beside((*ALWAYS, "state", "kind", known.SETS), tokenizer=ExactTokenizer())}
    prompt = make_prompt(records, events=3, **how)
    day = read_record(records[0], ExactTokenizer())
    again = prompt_from_day(day.part(0, 3, start=day.start), events=3, book_levels=2, **how)
    assert set(prompt.known_T) == set(again.known_T) == {"event", *ALWAYS}


@pytest.mark.parametrize("events", [1, 2, 3, 5])
def test_the_last_events_of_a_day_are_the_prompt_that_a_record_of_them_gives(records, events):
    """But for its first events, a day's end is no other place than the middle of a record."""
    day = read_record(records[0], ExactTokenizer())
    day = day.part(0, events, start=day.start)
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288}
    expected = make_prompt(records, events=events, **how)
    prompt = prompt_from_day(day, events=events, book_levels=2, **how)
    for field in dataclasses.fields(prompt):
        if field.name not in ("known_T", "book", "behind", "reveals"):
            np.testing.assert_array_equal(getattr(prompt, field.name), getattr(expected, field.name), field.name)
    for name, values in vars(prompt.behind).items():
        np.testing.assert_array_equal(values, getattr(expected.behind, name), name)
    assert prompt.known_T.keys() == expected.known_T.keys()
    for name, values in prompt.known_T.items():
        np.testing.assert_array_equal(values, expected.known_T[name], name)
    for field in dataclasses.fields(prompt.book):
        np.testing.assert_array_equal(getattr(prompt.book, field.name), getattr(expected.book, field.name), field.name)
    last = prompt_from_day(day, events=1, book_levels=2, **how)
    assert last.tokens_T.tolist() == expected.tokens_T[expected.known_T["event"] == events - 1].tolist()
    assert (last.closed, last.clock_ns) == (expected.closed, expected.clock_ns)


def test_a_prompt_has_the_flow_of_its_record_or_of_its_day():
    day = load_incremental_data(events=120, seed=2)
    part, shape = Part("train", 0, 120, 0), {"record_events": 120, "context": 8, "book_levels": 2}
    records = [record for _, record in make_records(day, [part], ExactTokenizer(), **shape, flow_state=True)]
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288, "beside": Beside(("flow",), tokenizer=ExactTokenizer())}
    one = make_prompt(records, events=50, **how)
    (end,) = snapshots_at(day, np.array([50]))
    other = prompt_from_day(day.part(0, 50, start=day.start), events=20, book_levels=2, **how)
    assert end.time_ns == one.clock_ns == other.clock_ns
    for column, mine, blank in zip(one.flow, other.flow, blank_flow(), strict=True):
        np.testing.assert_array_equal(column, mine)
        assert (column != blank).any()
    np.testing.assert_array_equal(one.known_T["flow"][-len(other.tokens_T) :], other.known_T["flow"])


@pytest.mark.parametrize("events", [50, 51, 64])
def test_a_prompt_has_the_sizes_before_the_event_that_follows(events):
    """They are those that a window shows with the next event's head; also of events before the prompt's own."""
    day = load_incremental_data(events=120, seed=2)
    part, shape = Part("train", 0, 120, 0), {"record_events": 120, "context": 8, "book_levels": 2}
    records = [record for _, record in make_records(day, [part], ExactTokenizer(), **shape)]
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288, "beside": Beside(("queue",), tokenizer=ExactTokenizer())}
    one = make_prompt(records, events=events, **how)
    other = prompt_from_day(day.part(0, events, start=day.start), events=1, book_levels=2, **how)
    np.testing.assert_array_equal(one.recent, other.recent)
    whole = make_prompt(records, events=events + 1, **how)
    (head,) = np.flatnonzero(np.diff(whole.known_T["event"]) > 0)[-1:] + 1
    side = 0 if day.events.side[events] > 0 else 1
    shown = whole.known_T["queue"][head, QueueColumn.ADDED :]
    assert shown.tolist() == [number_code(size) for size in one.recent[side].tolist()]
    assert np.count_nonzero(shown) >= 3
    plain = make_prompt(records, events=events, tokenizer=ExactTokenizer(), time_buckets=288)
    assert not plain.recent.any()


@pytest.mark.parametrize("events", [50, 300])
def test_a_prompt_has_the_past_before_the_event_that_follows(events):
    """It is that of all events of its record, also of those before the prompt's own."""
    day = load_incremental_data(events=400, seed=2)
    part, shape = Part("train", 0, 400, 0), {"record_events": 400, "context": 8, "book_levels": 2}
    records = [record for _, record in make_records(day, [part], ExactTokenizer(), **shape)]
    beside = Beside(("price_memory",), tokenizer=ExactTokenizer())
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288, "beside": beside}
    before = day.events[:events]
    expected = past_events(before.kind, before.side, before.price, before.size)
    assert np.count_nonzero(expected[PastColumn.ACTION]) > 40
    np.testing.assert_array_equal(make_prompt(records, events=events, **how).past, expected)
    last = prompt_from_day(day.part(0, events, start=day.start), events=1, book_levels=2, **how)
    np.testing.assert_array_equal(last.past, expected)
    assert not make_prompt(records, events=events, tokenizer=ExactTokenizer(), time_buckets=288).past.any()


@pytest.mark.parametrize("events", [3, 50, 64])
def test_a_path_begins_with_the_anchors_that_a_window_shows(events):
    """Those of the prompt's last token: its book, and the last prices, also of events before the prompt's own."""
    day = load_incremental_data(events=120, seed=2)
    part, shape = Part("train", 0, 120, 0), {"record_events": 120, "context": 8, "book_levels": 2}
    records = [record for _, record in make_records(day, [part], ExactTokenizer(), **shape)]
    beside = Beside(("anchors",), tokenizer=ExactTokenizer())
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288, "beside": beside}
    for one in (make_prompt(records, events=events, **how), _last_event(day, events, how)):
        sampling = SamplingConfig(paths=1, events=1, seed=0)
        paths, _ = start_paths([one], ExactTokenizer(), day.instrument, sampling)
        book, remembered = jax.tree.map(lambda leaf: leaf[0], (paths.book, paths.remembered))
        shown = np.asarray(anchors.codes(book, remembered, tick=day.instrument.tick))
        np.testing.assert_array_equal(shown, one.known_T["anchors"][-1])
    last = shown.reshape(2, -1)[:, AnchorColumn.ADDED : AnchorColumn.MIDDLE]
    assert (last > 0).sum() >= (2 if events == 3 else 5)


def _last_event(day, events, how):
    return prompt_from_day(day.part(0, events, start=day.start), events=1, book_levels=2, **how)


def test_the_regime_of_a_prompt_depends_on_the_events_before_it():
    """It is that of a longer prompt at the same events, though the volatility is that of more moves than it has."""
    day = load_incremental_data(events=300, seed=2)
    how = {"tokenizer": ExactTokenizer(), "time_buckets": 288, "book_levels": 2}
    how |= {"beside": Beside((*ALWAYS, "regime"), regimes=Regimes(tuple(np.arange(0.02, 2, 0.02)), ()))}
    short, long = (prompt_from_day(day, events=events, **how) for events in (10, 200))
    regimes = long.known_T["regime"][-len(short.tokens_T) :]
    assert len(np.unique(regimes)) > 1
    np.testing.assert_array_equal(short.known_T["regime"], regimes)

"""Prompts spread over a split: on the right books, and with what really followed, no event of it twice."""

import dataclasses
from types import MappingProxyType

import numpy as np
import pytest

from lob_jax.book.flow import blank_flow
from lob_jax.book.flow_loop import FlowEvents, flow_after, flow_along, flow_events
from lob_jax.book.replay import replay, snapshots_at
from lob_jax.book.snapshot import Corrections
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.known import ALWAYS, Beside
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.continuations.prompts import spread_prompts
from lob_jax.runs.prompt import make_prompt
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.tokenizer import Ability

LEVELS, FIRST, LAST, LEAD = 3, 700, 1_500, 40
EXACT = ExactTokenizer()
BESIDE = Beside(names=(*ALWAYS, "regime"), regimes=Regimes((0.5, 1.0), (1.5,)))
HOW = {"tokenizer": EXACT, "book_levels": LEVELS, "time_buckets": 288, "beside": BESIDE}


@pytest.fixture(scope="module")
def day():
    """Return a day with a halt at event 800, another at 981 of the feed's own, and corrections of the best bid."""
    feed = SyntheticFeed(1, 2_000, 3)
    day = feed.read(feed.days()[0], STRICT)
    events = day.events[np.insert(np.arange(len(day.events)), 800, 799)]
    columns = {name: getattr(events, name).copy() for name in ("time_ns", "kind", "code", "side", "price", "size")}
    for name, value in {"kind": Kind.CONTROL, "code": Code.HALT, "side": 0, "price": 0, "size": 0}.items():
        columns[name][800] = value
    day = day.with_events(Events.from_columns(**columns))
    book = replay(day, 1)
    at = np.array([710, 960, 1_210])
    fewer = Corrections(at, np.ones(3, np.int8), book.price[at + 1, 0, 0], book.size[at + 1, 0, 0] + 1)
    return dataclasses.replace(day, corrections=fewer)


@pytest.fixture(scope="module")
def records(day):
    """Return records of 250 events with leads, of the day's last part."""
    plan = {"record_events": 250, "context": 30, "book_levels": LEVELS}
    return [record for _, record in make_records(day, [Part("test", FIRST, LAST, LEAD)], EXACT, **plan)]


@pytest.fixture(scope="module")
def spread(records):
    return spread_prompts(records, prompts=9, events=30, following=55, **HOW)


BEGIN = FIRST - 8  # the lead of the first record, as a context of 30 tokens needs it


def starts(number):
    """Return where a prompt of 30 events begins, the first at the lead, and the last before the last 55 events."""
    return BEGIN + np.linspace(0, LAST - BEGIN - 30 - 55, 9).astype(int)[number]


def test_prompts_and_continuations_are_the_days_own_events(day, records, spread):
    assert len(records) == 4 and int(records[1]["lead_events"]) > 0
    for number, one in enumerate(spread):
        first = starts(number)
        assert (one.events, len(one.day.events)) == (30, 85)
        for name in ("time_ns", "kind", "code", "side", "price", "size"):
            expected = getattr(day.events, name)[first : first + 85]
            np.testing.assert_array_equal(getattr(one.day.events, name), expected, name)
        whole, alone = replay(day, LEVELS), replay(one.day, LEVELS)
        np.testing.assert_array_equal(alone.size, whole.size[first : first + 86])
        np.testing.assert_array_equal(alone.price, whole.price[first : first + 86])


def test_a_prompt_is_the_market_where_it_ends(day, spread):
    tokens = [EXACT.encode(day.part(i, i + 1, start=book)) for i, book in enumerate(snapshots_at(day, np.arange(LAST)))]
    features = replay(day, LEVELS).features()
    for number, one in enumerate(spread):
        first, prompt = starts(number), one.prompt
        np.testing.assert_array_equal(prompt.tokens_T, np.concatenate(tokens[first : first + 30]))
        assert prompt.number == number and prompt.clock_ns == day.events.time_ns[first + 29]
        assert (
            prompt.closed
            == {Code.NONE: 0, Code.HALT: 2, Code.RESUME_QUOTE: 1, Code.RESUME_TRADE: 0}[
                max((row, code) for row, code in enumerate(day.events.code[: first + 30].tolist()) if code or not row)[
                    1
                ]
            ]
        )
        assert prompt.book.window == day.start.window
        events = prompt.known_T["event"]
        assert events[-1] - events[0] == 29
        np.testing.assert_array_equal(prompt.known_T["book"][-1], features[first + 30])
    assert {one.prompt.closed for one in spread} == {0, 2}


def test_the_regime_of_a_prompt_is_that_of_its_record(records):
    (one, *_) = spread_prompts(records, prompts=1, events=150, following=20, **HOW)
    record = records[0]
    whole = make_prompt(
        records,
        events=150 + int(records[0]["lead_events"]),
        **{name: HOW[name] for name in ("tokenizer", "time_buckets", "beside")},
    )
    assert int(record["lead_events"]) == FIRST - BEGIN  # the prompt begins with the lead
    assert len(np.unique(whole.known_T["regime"])) > 2
    for name in ("regime", "book", "time_of_day", "day_of_week"):
        np.testing.assert_array_equal(one.prompt.known_T[name], whole.known_T[name][: len(one.prompt.tokens_T)], name)


def test_prompts_remember_the_flow_of_the_whole_day(day):
    """Also the first ones, whose record began long after the day did; and the state is that of the features."""
    plan = {"record_events": 250, "context": 30, "book_levels": LEVELS, "flow_state": True}
    records = [record for _, record in make_records(day, [Part("test", FIRST, LAST, LEAD)], EXACT, **plan)]
    how = {**HOW, "beside": Beside(("flow",), tokenizer=EXACT)}
    books, spelled = replay(day, LEVELS), EXACT.spelled(EXACT.encode(day))
    around = {"mid2": books.mid2(), "two_sided": books.two_sided(), "features_EF": books.features()}
    events = flow_events(spelled, **around, tick=day.instrument.tick)
    units = {"start_ns": day.start.time_ns, "tick": day.instrument.tick}
    whole = flow_along(blank_flow(), events, **units)
    for number, one in enumerate(spread_prompts(records, prompts=9, events=30, following=55, **how)):
        last = starts(number) + 30
        np.testing.assert_array_equal(one.prompt.known_T["flow"][-1], whole[last - 1])
        expected = flow_after(blank_flow(), FlowEvents(*(column[:last] for column in events)), **units)
        for column, other in zip(one.prompt.flow, expected, strict=True):
            np.testing.assert_array_equal(column, other)


def test_continuations_are_as_many_as_fit_and_share_no_event(day, records):
    found = spread_prompts(records, prompts=8, events=8, following=100, **HOW)
    continued = [one.day.events.time_ns[one.events :] for one in found]
    assert [len(times) for times in continued] == [100] * 8
    np.testing.assert_array_equal(np.concatenate(continued), day.events.time_ns[FIRST:LAST])
    with pytest.raises(InputError, match="too short for so many prompts") as caught:
        spread_prompts(records, prompts=9, events=8, following=100, **HOW)
    assert caught.value.expected == "at most 8: 800 events, 100 for each"
    with pytest.raises(InputError, match="too short") as caught:
        spread_prompts(records, prompts=8, events=9, following=100, **HOW)
    assert caught.value.expected == "at most 7: 799 events, 100 for each"
    with pytest.raises(InputError, match="too short"):
        spread_prompts(records, prompts=1, events=900, following=100, **HOW)


def test_prompts_are_of_one_instrument(records):
    other = [
        MappingProxyType({**record, "instrument": record["instrument"].replace("SYN", "OTHER")}) for record in records
    ]
    mixed = [records[0], records[1], *other, records[3], records[2]]
    found = spread_prompts(mixed, prompts=4, events=100, following=100, **HOW)
    assert {one.day.instrument.symbol for one in found} == {"SYN"}
    times = [int(one.day.events.time_ns[0]) for one in found]
    assert times == sorted(times)
    (another,) = spread_prompts(mixed, prompts=1, events=5, following=5, record=3, **HOW)
    assert another.day.instrument.symbol == "OTHER"


def test_tokens_that_do_not_give_events_back_have_no_real_continuation(records):
    class Lossy(ExactTokenizer):
        lacks = MappingProxyType({Ability.EVENTS: CompactTokenizer.lacks[Ability.EVENTS]})

    with pytest.raises(InputError, match="a real continuation of each prompt needs exact tokens"):
        spread_prompts(records, prompts=2, events=5, following=5, **{**HOW, "tokenizer": Lossy()})

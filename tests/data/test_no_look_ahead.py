"""What is known at a position does not depend on its event or a later one; planted leaks are caught.

Two days share their events up to some index and differ from there on. Whatever a model is told at a position
where only shared events have been read must be equal, bit for bit; the same check must fail where the book or the
clock of the records or windows runs ahead.
"""

from collections.abc import Callable

import numpy as np
import pytest

from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import Beside
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import BOS, FIELD_GAP, field_of

FORK = 230
PART = Part("train", 0, 300, 0)
KNOWN = ("time_of_day", "day_of_week", "book", "clock", "regime", "instrument", "flow")
WITH_THE_BOOK = ("book", "regime")  # what advances at an event's first time token; all else does at the next head
# Of what is spelled so far: they advance with every token.
PLACES = ("state", "kind", "allowed", "queue", "price_memory")
BESIDE = Beside((*KNOWN, *PLACES), regimes=Regimes((0.2, 0.6), (2.5,)), symbols=("TEST",), tokenizer=ExactTokenizer())
Change = Callable[[dict], dict]


def unchanged(item: dict) -> dict:
    return item


def windows_of(day, change_record: Change, change_window: Change) -> list[dict]:
    """One window for each record of the day, from the last token of its lead on, with the clock in seconds."""
    shape = {"record_events": 50, "context": 32, "book_levels": 3, "flow_state": True}
    records = [change_record(record) for _, record in make_records(day, [PART], ExactTokenizer(), **shape)]
    windows = TokenBookDataset(records, context=2_000, time_buckets=86_400, evaluation=False, beside=BESIDE)
    return [change_window(whole_events(window, records[i])) for i, window in enumerate(windows)]


def whole_events(window: dict, record: dict) -> dict:
    """The window, its events numbered within the day; the first one, of which it may show a piece, is left out."""
    event = window["event"]
    cut = (event < 0) | (event == event[0])
    return {**window, "event": np.where(cut, -1, event + record["first_event"])}


def look_ahead(
    days: tuple, fork: int, *, change_record: Change = unchanged, change_window: Change = unchanged
) -> set[str]:
    """Name what runs ahead: entries that differ although the two days agree on all that has been read there.

    At the head and the size of the event that differs, the book and the clock are still those before it; at its
    gap, the clock is.
    """
    leaks: set[str] = set()
    for pair in zip(*(windows_of(day, change_record, change_window) for day in days), strict=True):
        one = pair[0]
        before = ((one["event"] >= 0) & (one["event"] < fork)) | (one["tokens"] == BOS)
        np.testing.assert_array_equal(one["tokens"][before], pair[1]["tokens"][before])
        inside = [window["event"] == fork for window in pair]
        untimed = [rows & (field_of(window["tokens"]) < FIELD_GAP) for rows, window in zip(inside, pair, strict=True)]
        for name in KNOWN:
            # The days have other tokens within the event, perhaps another number of them: compare what they see there.
            rows = untimed if name in WITH_THE_BOOK else inside
            seen = [np.unique(window[name][r], axis=0) for window, r in zip(pair, rows, strict=True)]
            if not (np.array_equal(one[name][before], pair[1][name][before]) and np.array_equal(*seen)):
                leaks.add(name)
        leaks |= {name for name in PLACES if not np.array_equal(one[name][before], pair[1][name][before])}
    return leaks


@pytest.fixture(name="days", scope="module")
def days_fixture(make_day):
    """Two days that differ from event FORK on, in everything."""
    days = make_day(400), make_day(400, fork=FORK)
    for name in ("kind", "price", "size"):
        one, other = (getattr(day.events, name) for day in days)
        np.testing.assert_array_equal(one[:FORK], other[:FORK])
    assert np.all(days[0].events.time_ns[FORK:] != days[1].events.time_ns[FORK:])
    return days


@pytest.fixture(name="later", scope="module")
def later_fixture(make_day):
    """Two days whose event FORK differs in its time alone: it is complete, but for its time, at its gap."""
    day = make_day(400)
    times = day.events.time_ns.copy()
    times[FORK:] += 7 * 10**9
    return day, type(day)(day.instrument, day.start, day.events.replace(time_ns=times), day.corrections, day.report)


def test_nothing_runs_ahead_of_an_event(days):
    assert look_ahead(days, FORK) == set()


def test_nothing_but_the_gap_depends_on_the_time_of_an_event(later):
    assert look_ahead(later, FORK) == set()
    one, other = (windows_of(day, unchanged, unchanged) for day in later)
    for a, b in zip(one, other, strict=True):
        gaps = [(w["event"] == FORK) & (field_of(w["tokens"]) >= FIELD_GAP) for w in (a, b)]
        np.testing.assert_array_equal(*(np.unique(w["book"][gap], axis=0) for w, gap in zip((a, b), gaps, strict=True)))


def book_one_event_early(record: dict) -> dict:
    return {**record, "features": np.concatenate([record["features"][1:], record["features"][-1:]])}


def clock_one_event_early(record: dict) -> dict:
    return {**record, "clock_ns": np.concatenate([record["clock_ns"][1:], record["clock_ns"][-1:]])}


def queue_one_token_early(window: dict) -> dict:
    """The queue at the price of the event to come."""
    return {**window, "queue": np.concatenate([window["queue"][1:], window["queue"][-1:]])}


def clock_within_the_gap(window: dict) -> dict:
    """The clock of the next event, shown at the gap tokens that announce it."""
    clock, event = window["time_of_day"].copy(), window["event"]
    for t in np.flatnonzero((field_of(window["tokens"]) >= FIELD_GAP) & (event >= 0)):
        following = np.flatnonzero(event == event[t] + 1)
        clock[t] = window["time_of_day"][following[0]] if len(following) else clock[t]
    return {**window, "time_of_day": clock}


def flow_at_the_gap(window: dict) -> dict:
    """The flow with an event, shown already at its gap."""
    flow, event = window["flow"].copy(), window["event"]
    for t in np.flatnonzero((field_of(window["tokens"]) >= FIELD_GAP) & (event >= 0)):
        following = np.flatnonzero(event == event[t] + 1)
        flow[t] = window["flow"][following[0]] if len(following) else flow[t]
    return {**window, "flow": flow}


def places_of_the_next_event(window: dict) -> dict:
    """The sets of tokens of the next event, which depend on the event before it."""
    return {**window, "allowed": np.concatenate([window["allowed"][6:], window["allowed"][-6:]])}


def book_at_the_size(window: dict) -> dict:
    """The book after an event, shown already at its size."""
    book, event, field = window["book"].copy(), window["event"], field_of(window["tokens"])
    for t in np.flatnonzero((field < FIELD_GAP) & (event >= 0)):
        complete = np.flatnonzero((event == event[t]) & (field >= FIELD_GAP))
        book[t] = window["book"][complete[0]]
    return {**window, "book": book}


def price_memory_one_token_early(window: dict) -> dict:
    """What happened at the price of the event to come."""
    return {**window, "price_memory": np.concatenate([window["price_memory"][1:], window["price_memory"][-1:]])}


@pytest.mark.parametrize(
    "plant, leak",
    [
        ({"change_record": book_one_event_early}, {"book"}),
        ({"change_record": clock_one_event_early}, {"time_of_day", "clock"}),
        ({"change_window": clock_within_the_gap}, {"time_of_day"}),
        ({"change_window": book_at_the_size}, {"book"}),
        ({"change_window": flow_at_the_gap}, {"flow"}),
        ({"change_window": places_of_the_next_event}, {"allowed"}),
        ({"change_window": queue_one_token_early}, {"queue"}),
        ({"change_window": price_memory_one_token_early}, {"price_memory"}),
    ],
)
def test_a_planted_leak_is_caught(days, plant: dict, leak: set[str]):
    assert look_ahead(days, FORK, **plant) == leak


@pytest.mark.parametrize("fork", [0, 1, 149, 150, 299])
def test_nothing_runs_ahead_wherever_the_days_part(make_day, fork: int):
    assert look_ahead((make_day(310), make_day(310, fork=fork)), fork) == set()

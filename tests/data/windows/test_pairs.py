"""Windows with a peer's: which it is, what of it is known, and that nothing of the same nanosecond is."""

import json

import numpy as np
import pytest

from lob_jax.data.records.records import record_spans
from lob_jax.data.records.split import Part
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import NOTHING
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.tokens.vocabulary import EOS, PAD

CONTEXT = 12
HOW = {"context": CONTEXT, "time_buckets": 288}


@pytest.fixture
def record_of(hand_record, plain_events):
    """Return a function: a record of a symbol whose events happen at these times, in ns of the day.

    An event has three exact tokens, or one compact one.
    """

    def of(symbol, times_ns, *, day="2012-06-21", lead_events=0, first_event=0, compact=False):
        events = [[1000 + i % 280] for i in range(len(times_ns))] if compact else plain_events(len(times_ns))
        record = hand_record(events, lead_events=lead_events, first_event=first_event)
        instrument = {**json.loads(record["instrument"]), "symbol": symbol, "trading_day": day}
        midnight = int(record["clock_ns"][0]) - 34_200 * 10**9
        clock = midnight + np.concatenate([[min(times_ns) - 1], times_ns]).astype(np.int64)
        return {
            **record,
            "instrument": json.dumps(instrument),
            "clock_ns": clock,
            "tokenizer": "compact" if compact else "exact",
        }

    return of


def paired(records, *, evaluation=False):
    return PairedDataset(records, **HOW, evaluation=evaluation, beside=NOTHING)


def times_of(record, records):
    """Return the times of all events of a record's instrument on its day, by their index in the day."""
    mine = [other for other in records if other["instrument"] == record["instrument"]]
    times = np.zeros(max(int(other["first_event"]) + len(other["clock_ns"]) - 1 for other in mine), np.int64)
    for other in mine:
        times[int(other["first_event"]) :][: len(other["clock_ns"]) - 1] = other["clock_ns"][1:]
    return times


def by_hand(pair, records):
    """Return peer_seen from the records' own times, token by token; a compact token tells its own event's time."""
    seen = np.zeros((2, CONTEXT + 1), int)
    for row in (0, 1):
        mine, theirs = records[int(pair["record"][row])], records[int(pair["record"][1 - row])]
        times, others = times_of(mine, records), times_of(theirs, records)
        first, their_first = int(mine["first_event"]), int(theirs["first_event"])
        for t, event in enumerate(pair["event"][row]):
            if event < 0 and t > 0:
                continue  # padding knows nothing
            before = event + (mine["tokenizer"] == "compact")
            known = mine["clock_ns"][0] if before <= 0 else times[first + before - 1]
            for place, other in enumerate(pair["event"][1 - row]):
                end = theirs["clock_ns"][0] if other < 0 else others[their_first : their_first + other + 1].max()
                if (other < 0 and place > 0) or end >= known:
                    break
                seen[row, t] = place + 1
    return seen


def test_the_peers_newest_tokens_before_the_last_time_known(record_of):
    # Known at the end of A's window of four events is the time of its third: 300. B's event at 300 is not before it.
    records = [record_of("A", [100, 200, 300, 400]), record_of("B", [50, 150, 250, 290, 300, 310])]
    pair = paired(records)[0]
    assert pair["record"].tolist() == [0, 1]
    assert pair["event"][0].tolist() == [-1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert not pair["scored"][1].any()
    newest = pair["event"][1][pair["event"][1] >= 0]
    assert newest.max() == 3
    np.testing.assert_array_equal(pair["peer_seen"], by_hand(pair, records))
    place = np.flatnonzero(pair["event"][1] == 3)[-1] + 1
    assert pair["peer_seen"][0, -1] == place  # all that is before 300
    assert pair["peer_seen"][0, 4] < place


def test_the_newest_compact_token_knows_its_own_time(record_of):
    times = 10 * np.arange(1, 15)
    records = [record_of("A", times, compact=True), record_of("B", times - 5, compact=True)]
    pair = paired(records)[0]
    assert pair["event"][0].tolist() == [-1, *range(12)]
    assert pair["event"][1].max() == 11  # B's twelfth event, at 115, is before A's twelfth, at 120
    assert pair["peer_seen"][0, -1] == 1 + pair["event"][1].tolist().index(11)
    np.testing.assert_array_equal(pair["peer_seen"], by_hand(pair, records))


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_seen_is_strictly_before_on_random_streams_with_equal_nanoseconds(record_of, seed, compact):
    random = np.random.default_rng(seed)
    records = []
    for symbol in ("A", "B", "C"):
        times = random.integers(0, 6, 60).cumsum() + int(random.integers(0, 20))
        times[random.integers(0, 60, 4)] -= 3  # feeds run backwards
        records += [
            record_of(symbol, times[:30], compact=compact),
            record_of(symbol, times[18:], lead_events=12, first_event=18, compact=compact),
        ]
    data = paired(records, evaluation=True)
    for index in range(len(data)):
        pair = data[index]
        if pair["record"][1] >= 0:
            np.testing.assert_array_equal(pair["peer_seen"], by_hand(pair, records))
            symbols = [json.loads(records[k]["instrument"])["symbol"] for k in pair["record"]]
            assert symbols in (["A", "B"], ["B", "C"], ["C", "A"])


@pytest.mark.parametrize("evaluation", [False, True])
def test_every_instrument_is_scored_as_it_is_without_peers(record_of, evaluation):
    records = [record_of("A", np.arange(40) * 10), record_of("B", 3 + np.arange(50) * 7)]
    data, plain = paired(records, evaluation=evaluation), TokenBookDataset(records, **HOW, evaluation=evaluation)
    assert len(data) == len(plain)
    for index in range(len(plain)):
        pair, window = data[index], plain[index]
        for name, array in window.items():
            np.testing.assert_array_equal(pair[name][0], array)
        assert not pair["scored"][1].any()


def stream_of(times_ns, record_of, symbol, *, compact=False):
    """Return the records of a stream of events, cut as a day's are; an event's tokens tell its index in the day."""
    times, cut = np.asarray(times_ns), []
    tokens = [
        [1000 + i % 280] if compact else [1000 + i % 280, 8000 + i % 10, 9010 + i % 90] for i in range(len(times))
    ]
    for begin, first, last in record_spans(Part("train", 0, len(times), 0), record_events=9, context=CONTEXT):
        record = record_of(symbol, times[begin:last], lead_events=first - begin, first_event=begin, compact=compact)
        spelt = np.array([token for event in tokens[begin:last] for token in event] + [EOS], np.uint16)
        index = np.arange(begin, last + 1)
        clock = record["clock_ns"].copy()
        clock[0] += times[begin - 1] - (times[begin:last].min() - 1) if begin else 0
        cut.append({**record, "tokens": spelt, "features": np.repeat(index[:, None], 4, 1), "clock_ns": clock})
    return cut


def visible(pair, t):
    """Return what token t of row 0 is shown of its peer, whose events count from the first that is shown."""
    seen = int(pair["peer_seen"][0, t])
    shown = {name: pair[name][1, :seen] for name in ("tokens", "event", "clock", "time_of_day", "book")}
    return seen, {**shown, "event": shown["event"] - shown["event"][:1]}


def futures(past, rng):
    """Return a stream's past with other things that may follow it: nothing, little, a burst, much."""
    later = past[-1] + rng.integers(0, 4, 80).cumsum()
    burst = past[-1] + np.zeros(90, np.int64)
    return [past, *(np.concatenate([past, then]) for then in (later[:3], later, burst))]


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_token_sees_does_not_hang_on_what_the_peer_does_later(record_of, seed, compact):
    """The peer's day is exchanged behind some event: where no later time is known, the same is seen."""
    rng = np.random.default_rng(seed)
    ours = stream_of(rng.integers(0, 5, 90).cumsum(), record_of, "A", compact=compact)
    past = rng.integers(0, 5, 45).cumsum()
    days = [ours + stream_of(times, record_of, "B", compact=compact) for times in futures(past, rng)]
    worlds, most = [paired(records) for records in days], 0
    for index in range(len(paired(ours))):
        pairs = [world[index] for world in worlds]
        known = pairs[0]["clock"][0].astype(np.int64) @ [10**9, 1]
        for t in np.flatnonzero((known <= past[-1]) & (pairs[0]["event"][0] >= 0)):
            (seen, shown), *others = (visible(pair, t) for pair in pairs)
            most = max(most, seen)
            for other_seen, other in others:
                assert other_seen == seen
                for name, array in shown.items():
                    np.testing.assert_array_equal(other[name], array, err_msg=name)
    assert most > CONTEXT // 2


def test_a_window_of_the_peer_runs_on_into_its_next_record(record_of):
    """It begins a quarter of its length before what was known, and shows every event from there on once."""
    records = stream_of(np.arange(40) * 10, record_of, "A", compact=True)
    records += stream_of(5 + np.arange(40) * 10, record_of, "B", compact=True)
    data, crossed = paired(records), 0
    for index in range(len(paired(records[: len(records) // 2]))):
        pair = data[index]
        shown = pair["tokens"][1][pair["event"][1] >= 0] - 1000
        np.testing.assert_array_equal(shown, np.arange(shown[0], shown[0] + len(shown)))
        np.testing.assert_array_equal(np.diff(pair["event"][1][: len(shown)]), 1)
        np.testing.assert_array_equal(pair["peer_seen"], by_hand(pair, records))
        assert pair["peer_seen"][0, 0] == (0 if index == 0 else (CONTEXT + 1) // 4)
        own_end = len(records[pair["record"][1]]["tokens"]) - 1
        crossed += pair["position"][1] + len(shown) > own_end
    assert crossed > 1


def test_without_a_peer_the_other_row_is_blank(record_of):
    records = [
        record_of("A", [100, 200, 300, 400]),
        record_of("B", [100, 200, 300, 400], day="2012-06-22"),
        record_of("C", [900, 910, 920, 930], day="2012-06-22"),
    ]
    data = paired(records)
    for index in (0, 1):  # no other symbol that day; the other one has not begun yet
        pair = data[index]
        assert (pair["tokens"][1] == PAD).all()
        assert not pair["peer_seen"].any()
        assert pair["record"].tolist() == [index, -1]
    assert data[2]["record"].tolist() == [2, 1]
    blank = data.blank()
    assert {name: array.shape for name, array in blank.items()} == {
        name: array.shape for name, array in data[0].items()
    }
    assert not blank["scored"].any()


def test_the_record_of_the_right_time_is_found(record_of):
    records = [
        record_of("A", 1000 + np.arange(8) * 100),
        record_of("B", np.arange(20) * 20),
        record_of("B", 200 + np.arange(60) * 20, lead_events=10, first_event=10),
    ]
    pair = paired(records)[0]
    assert pair["record"].tolist() == [0, 2]
    np.testing.assert_array_equal(pair["peer_seen"], by_hand(pair, records))

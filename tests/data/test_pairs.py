"""Windows with a peer's: which it is, what of it is known, and that nothing of the same nanosecond is."""

import json

import numpy as np
import pytest

from lob_jax.data.dataset import NOTHING, TokenBookDataset
from lob_jax.data.pairs import PairedDataset
from lob_jax.tokens.vocabulary import PAD

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
        return {**record, "instrument": json.dumps(instrument), "clock_ns": clock, "compact": compact}

    return of


def paired(records, *, evaluation=False):
    return PairedDataset(records, **HOW, evaluation=evaluation, beside=NOTHING)


def by_hand(pair, records):
    """Return peer_seen from the records' own times, token by token; a compact token tells its own event's time."""
    seen = np.zeros((2, CONTEXT + 1), int)
    for row in (0, 1):
        mine, theirs = records[int(pair["record"][row])], records[int(pair["record"][1 - row])]
        for t, event in enumerate(pair["event"][row]):
            if event < 0 and t > 0:
                continue  # padding knows nothing
            known = mine["clock_ns"][max(event + mine["compact"], 0)]
            for place, other in enumerate(pair["event"][1 - row]):
                end = theirs["clock_ns"][0] if other < 0 else theirs["clock_ns"][1 : other + 2].max()
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

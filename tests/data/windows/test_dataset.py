"""Windows from hand-made records: what is known at each token, and which token is a target where."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.data.labels.moves import Outlooks
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import Outline, outline
from lob_jax.data.windows.dataset import (
    RecordCache,
    Span,
    TokenBookDataset,
    cut_window,
    evaluation_spans,
    prepare_record,
    training_spans,
)
from lob_jax.data.windows.known import MAKERS, Beside, Known, time_bucket
from lob_jax.errors import InputError
from lob_jax.models.masking import unpacked
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.distinct import distinct
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.vocabulary import BOS, EOS, PAD, REGIME_BASE, TIME_BACK, TIME_SKIP

# Tokens of four events: a price and a size with digits, a halt, a gap over 1000 s, time running back.
EVENTS = [
    [1469, 7123, 7450, 8110, 7050, 9012, 7321],
    [11, 9000],
    [3005, 8002, TIME_SKIP, TIME_SKIP, 9345],
    [4500, 8007, TIME_BACK, 9100, 7001],
]
EVENT_OF = [0] * 7 + [1] * 2 + [2] * 5 + [3] * 5
BOOK_ROW = [0, 0, 0, 0, 0, 1, 1] + [1, 2] + [2, 2, 3, 3, 3] + [3, 3, 4, 4, 4]


def dataset(records: list[dict], *, context: int, evaluation: bool = False, **options) -> TokenBookDataset:
    return TokenBookDataset(records, context=context, time_buckets=1440, evaluation=evaluation, **options)


def test_the_book_advances_at_the_first_time_token_and_the_clock_at_the_next_head(hand_record):
    window = dataset([hand_record(EVENTS)], context=20)[0]
    tokens = [token for event in EVENTS for token in event]
    assert window["tokens"].tolist() == [BOS, *tokens, PAD]
    assert window["event"].tolist() == [-1, *EVENT_OF, -1]
    assert window["book"][:, 0].tolist() == [0, *BOOK_ROW, 0]
    # Buckets are minutes: the open is 9:30, and event i happens at minute 571 + i.
    assert window["time_of_day"].tolist() == [570, *(570 + event for event in EVENT_OF), 0]
    assert window["day_of_week"].tolist() == [3] * 20 + [0]
    assert window["scored"].tolist() == [False] + [True] * 19 + [False]
    assert (window["record"], window["position"]) == (0, -1)
    assert EOS not in window["tokens"]
    assert {name: array.dtype.name for name, array in window.items()} == {
        "tokens": "int32",
        "time_of_day": "int32",
        "day_of_week": "int32",
        "book": "float32",
        "scored": "bool",
        "event": "int32",
        "record": "int32",
        "position": "int32",
    }


def test_a_window_in_mid_record_equals_the_same_stretch_of_a_long_one(hand_record):
    record = hand_record(EVENTS)
    whole = dataset([record], context=20)[0]
    for window in dataset([record], context=4):
        first = int(window["position"]) + 1
        real = window["event"] >= 0 if first else window["tokens"] != PAD
        for name in ("tokens", "time_of_day", "day_of_week", "book", "event"):
            np.testing.assert_array_equal(window[name][real], whole[name][first : first + 5][real])


def test_the_sets_of_a_window_are_those_in_the_places_of_the_next_tokens(hand_record):
    prepared = prepare_record(hand_record(EVENTS), time_buckets=1440)
    count = len(prepared.tokens)
    # The set in the place of token t is token t alone, and the one before the last place is empty.
    first = np.arange(100, 100 + count - 1).astype(np.uint16)
    offset = np.append(np.arange(count), count - 1)
    prepared = dataclasses.replace(prepared, sets=distinct(TokenSets(offset, first, first, np.zeros(count, np.uint8))))
    for span in (Span(0, -1, 0, 8), Span(0, 5, 6, 12), Span(0, count - 4, count - 3, count)):
        allowed = cut_window(prepared, span, context=8)["allowed"]
        bits = np.asarray(unpacked(allowed))
        assert [np.flatnonzero(row).tolist() for row in bits] == [
            [100 + place] if place < count - 1 else [] for place in range(span.start + 1, span.start + 10)
        ]
    known = {"regime": Known(np.zeros(1, np.int32), np.zeros(count, np.int32))}
    prepared, span = dataclasses.replace(prepared, known=known), Span(0, 5, 6, 12)
    allowed = cut_window(prepared, span, context=8, prefix=True)["allowed"]
    bits = np.asarray(unpacked(allowed))
    assert [np.flatnonzero(row).tolist() for row in bits] == [[100 + place] for place in range(5, 14)]


def test_the_state_after_a_token_is_that_before_the_next_one(hand_record):
    tokenizer = ExactTokenizer()
    beside = Beside(("state", "kind"), tokenizer=tokenizer)
    events = [[1000, 8100, 7500, 9192, 7340], [11, 9000], [3500, 8007, 9000]]
    window = dataset([hand_record(events)], context=12, beside=beside)[0]
    tokens = [token for event in events for token in event]
    assert window["tokens"].tolist() == [BOS, *tokens, PAD, PAD]
    assert window["state"][:11].tolist() == [tokenizer.grammar.walk(tokens[:count]) for count in range(11)]
    assert window["kind"].tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 3, 3, 3, 0, 0]
    assert (window["state"].dtype, window["kind"].dtype) == (np.int16, np.int8)


def test_training_windows_start_at_the_last_token_of_the_one_before():
    assert list(training_spans(Outline(21, 0, 0), context=8)) == [(-1, 0, 8), (7, 8, 16), (15, 16, 21)]
    # The last window, of one target, is dropped: less than a quarter of 8.
    assert list(training_spans(Outline(17, 0, 0), context=8)) == [(-1, 0, 8), (7, 8, 16)]
    # A lead of 6 tokens is context only; in mid-day there is no BOS.
    assert list(training_spans(Outline(21, 6, 40), context=8)) == [(5, 6, 14), (13, 14, 21)]
    # The only window of a record stays, however short.
    assert list(training_spans(Outline(7, 6, 40), context=8)) == [(5, 6, 7)]


def test_evaluation_windows_overlap_by_half_a_context():
    spans = list(evaluation_spans(Outline(21, 0, 0), context=8))
    # 8 targets at the start of the day, then 4 in a window of 9 tokens; the last one ends with the record.
    assert spans == [(-1, 0, 8), (3, 8, 12), (7, 12, 16), (11, 16, 20), (12, 20, 21)]
    assert list(evaluation_spans(Outline(14, 6, 40), context=8)) == [(1, 6, 10), (5, 10, 14)]


@given(tokens=st.integers(2, 120), lead=st.integers(0, 60), context=st.integers(2, 40), day_start=st.booleans())
def test_every_token_behind_the_lead_is_evaluated_once(tokens: int, lead: int, context: int, day_start: bool):
    about = Outline(tokens, min(lead, tokens - 1), 0 if day_start else 9)
    begin = -1 if day_start else 0
    first = max(about.lead_tokens, begin + 1)
    if not day_start and first < context // 2:
        with pytest.raises(InputError, match="shorter than half a context"):
            list(evaluation_spans(about, context=context))
        return
    scored: list[int] = []
    for start, score_from, score_to in evaluation_spans(about, context=context):
        assert begin <= start < score_from < score_to <= min(start + context + 1, tokens)
        assert score_from - start >= context // 2 or start == -1
        scored.extend(range(score_from, score_to))
    assert scored == list(range(first, tokens))


@given(tokens=st.integers(2, 120), lead=st.integers(0, 60), context=st.integers(2, 40), day_start=st.booleans())
def test_training_scores_tokens_once_and_never_a_lead(tokens: int, lead: int, context: int, day_start: bool):
    about = Outline(tokens, min(lead, tokens - 1), 0 if day_start else 9)
    first = max(about.lead_tokens, 0 if day_start else 1)
    scored: list[int] = []
    for start, score_from, score_to in training_spans(about, context=context):
        assert score_from == start + 1 and score_to - start <= context + 1
        scored.extend(range(score_from, score_to))
    assert scored == list(range(first, first + len(scored)))
    assert tokens - first - len(scored) < context / 4


def test_windows_of_a_record_are_padded_and_scored_as_their_span_says(hand_record, plain_events):
    records = [hand_record(plain_events(9)), hand_record(plain_events(9), lead_events=4, first_event=5)]
    windows = dataset(records, context=8, evaluation=True)
    scored = {(int(w["record"]), int(w["position"]) + j) for w in windows for j in np.flatnonzero(w["scored"])}
    assert scored == {(0, p) for p in range(27)} | {(1, p) for p in range(12, 27)}
    assert sum(int(window["scored"].sum()) for window in windows) == len(scored)


def test_an_evaluation_refuses_a_lead_shorter_than_half_a_context(hand_record, plain_events):
    record = hand_record(plain_events(9), lead_events=1, first_event=5)
    with pytest.raises(InputError, match="prepare the records for this context"):
        dataset([record], context=8, evaluation=True)
    assert len(dataset([record], context=8)) == 3


def test_time_buckets_are_clipped_to_the_day():
    seconds = np.array([-5, 0, 299, 300, 86_399, 86_400, 10**6])
    assert time_bucket(seconds * 10**9, time_buckets=288).tolist() == [0, 0, 0, 1, 287, 287, 287]
    assert time_bucket(np.array([86_399]) * 10**9, time_buckets=86_400).tolist() == [86_399]


@pytest.mark.parametrize("wrong", [{"context": 1}, {"time_buckets": 0}, {"time_buckets": 86_401}])
def test_impossible_sizes_are_refused(hand_record, wrong: dict):
    sizes = {"context": 8, "time_buckets": 288, **wrong}
    with pytest.raises(InputError, match="at least 2|within 1..86400"):
        TokenBookDataset([hand_record(EVENTS)], evaluation=False, **sizes)


class CountedSource:
    """Records that count how often each is read, with their outlines beside them."""

    def __init__(self, records: list[dict], outlines: list[Outline]):
        self.records, self.outlines, self.reads = records, outlines, []

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        self.reads.append(index)
        return self.records[index]


@pytest.mark.parametrize("cache_bytes, reads", [(2**20, [0, 1, 2]), (0, [0, 1, 2, 0, 1, 2])])
def test_records_are_read_once_while_the_cache_has_room(hand_record, plain_events, cache_bytes, reads):
    source = CountedSource([hand_record(plain_events(9))] * 3, [Outline(27, 0, 0)] * 3)
    windows = dataset(source, context=8, cache_bytes=cache_bytes)
    assert source.reads == []
    first = [windows[index] for index in range(len(windows))]
    again = [windows[index] for index in range(len(windows))]
    assert source.reads == reads
    for one, other in zip(first, again, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_cache_keeps_to_its_budget_and_lets_go_of_what_was_used_longest_ago(hand_record, plain_events):
    prepared = prepare_record(hand_record(plain_events(9)), time_buckets=288)
    cache = RecordCache(2 * prepared.nbytes())
    for index in range(2):
        cache.put(index, prepared)
    assert cache.get(0) is prepared
    cache.put(2, prepared)
    assert (cache.get(1), len(cache), cache.used) == (None, 2, 2 * prepared.nbytes())
    assert cache.get(0) is prepared


def test_a_blank_window_scores_nothing(hand_record):
    windows = dataset([hand_record(EVENTS)], context=8)
    blank, real = windows.blank(), windows[0]
    assert {name: (array.shape, array.dtype) for name, array in blank.items()} == {
        name: (array.shape, array.dtype) for name, array in real.items()
    }
    assert not blank["scored"].any() and (blank["tokens"] == PAD).all() and (blank["event"] == -1).all()
    with pytest.raises(InputError, match="no window"):
        dataset([], context=8).blank()


REGIMES = Regimes(volatility_edges=(0.2,), spread_edges=(2.0,))
# EVENTS is no stream of the grammar.
OF_TOKENS = {"state", "kind", "flow", "queue", "price_memory", "anchors", "latest"}
NAMES = tuple(name for name in MAKERS if name not in OF_TOKENS)
BESIDE = Beside(NAMES, regimes=REGIMES, symbols=("OTHER", "TEST"), outlooks=Outlooks((1,), (0.0,)))


def test_what_stands_beside_advances_with_the_book_or_at_the_next_head(hand_record):
    record = hand_record(EVENTS)
    window = dataset([record], context=20, beside=BESIDE)[0]
    plain = dataset([record], context=20)[0]
    for name, array in plain.items():
        np.testing.assert_array_equal(window[name], array)
    clock_s = [34_200, *(34_200 + 60 * event for event in EVENT_OF), 0]
    assert window["clock"][:, 0].tolist() == clock_s
    assert not window["clock"][:, 1].any()
    regime = REGIMES.of(record)
    assert len(set(regime.tolist())) > 1
    assert window["regime"].tolist() == [regime[0], *regime[BOOK_ROW], 0]
    assert window["instrument"].tolist() == [1] * 20 + [0]
    # A label stands where the book has just advanced: at the first time token of an event.
    direction = BESIDE.outlooks.of(record)[0][:, 0]
    advances = np.flatnonzero(np.diff(BOOK_ROW, prepend=0)) + 1
    expected = np.full(21, -1)
    expected[advances] = direction[np.array(BOOK_ROW)[advances - 1]]
    assert window["direction"][:, 0].tolist() == expected.tolist()
    assert {name: window[name].dtype.name for name in ("clock", "regime", "instrument", "log_volatility")} == {
        "clock": "int32",
        "regime": "int32",
        "instrument": "int32",
        "log_volatility": "float32",
    }


def test_an_instrument_without_a_number_is_refused(hand_record):
    with pytest.raises(InputError, match="not in the list of symbols"):
        dataset([hand_record(EVENTS)], context=20, beside=Beside(("instrument",), symbols=("OTHER",)))[0]


@pytest.mark.parametrize("evaluation", [False, True])
def test_a_prefix_names_the_regime_before_the_window(hand_record, plain_events, evaluation):
    records = [hand_record(plain_events(40), lead_events=8 * first, first_event=first) for first in (0, 1)]
    named = dataset(records, context=12, evaluation=evaluation, beside=dataclasses.replace(BESIDE, prefix=True))
    scored = set()
    for k in range(len(named)):
        window, span = named[k], named.spans[k]
        assert all(len(array) == 13 for array in window.values() if array.ndim)
        plain = cut_window(named.prepared(span.record), span, context=11)
        np.testing.assert_array_equal(window["tokens"][1:], plain["tokens"])
        before = max(span.start - 1, 0)
        regime = REGIMES.of(records[span.record])[named.prepared(span.record).book_row[before] if span.start > 0 else 0]
        assert window["tokens"][0] == REGIME_BASE + regime
        assert not window["scored"][0]
        assert window["direction"][0] == -1 and window["log_volatility"][0] == 0
        assert (np.diff(window["event"][window["event"] >= 0]) >= 0).all()
        for column in np.flatnonzero(window["scored"]):
            place = int(window["record"]), int(window["position"]) + int(column)
            assert place not in scored
            scored.add(place)
            assert records[place[0]]["tokens"][place[1]] == window["tokens"][column]
    if evaluation:
        leads = [outline(record).lead_tokens for record in records]
        assert scored == {(r, place) for r in (0, 1) for place in range(leads[r], 120)}

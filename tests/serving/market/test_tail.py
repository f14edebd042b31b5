"""The recent past of a market: what a model reads of its last events is that of the entire history."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.snapshot import CORRECTION_COLUMNS, Corrections
from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSED, OPEN, QUOTING
from lob_jax.events.schema import COLUMNS, Code, Kind
from lob_jax.serving.engine.open import scored_history
from lob_jax.serving.market.market import LiveMarket
from lob_jax.serving.market.tail import LEAST, LONGEST, Tail, kept_events
from lob_jax.serving.requests import History, Score
from lob_jax.serving.stub import stub_facts
from tests.serving.market.markets import EVERYTHING, TOKENIZERS, contents_of, control, days, followed, one_event, opened

KEEP, STEP, LAST = 300, 37, 100  # more events than the memory of prices has, behind the last tokens
OF_THE_PAST = ("event", "flow", "anchors")  # what a model reads of events that the tail no longer has


def tail_of(day, *, keep=KEEP, step=STEP, events=None):
    tail = Tail(History(day.start), keep=keep, instrument=day.instrument)
    count = events or len(day.events)
    for first in range(0, count, step):
        last = min(first + step, count)
        tail.extend(day.events[first:last], day.corrections.between(first, last))
    return tail


@pytest.mark.parametrize("tokens", ["exact", "compact"])
@pytest.mark.parametrize("name", list(days()))
def test_a_model_reads_the_same_of_the_last_events(name, tokens):
    day, tokenizer = days()[name], TOKENIZERS[tokens]
    whole = followed(opened(day, tokenizer), day)
    history, events = tail_of(day).history()
    assert KEEP <= events <= 2 * KEEP < len(day.events) and len(history.events) == events
    market = LiveMarket(history.book, contents=contents_of(day, tokenizer), tokenizer=tokenizer, closed=history.closed)
    found = market.take(history.events, history.corrections)
    length = len(found["tokens"])
    for key in ("tokens", "book", "time_of_day", "clock"):
        assert np.array_equal(found[key], whole[key][-length:]), key
    for key in whole.keys() - set(OF_THE_PAST):
        assert np.array_equal(found[key][-LAST:], whole[key][-LAST:]), key
    assert np.array_equal(np.diff(found["event"]), np.diff(whole["event"][-length:]))


def test_what_the_flow_forgets_fades():
    day, tokenizer = days()["orders"], TOKENIZERS["exact"]
    whole = followed(opened(day, tokenizer), day)["flow"][-LAST:]
    errors = []
    for keep in (100, 550):
        history, _ = tail_of(day, keep=keep).history()
        market = LiveMarket(history.book, contents=contents_of(day, tokenizer), tokenizer=tokenizer)
        errors.append(np.abs(market.take(history.events, history.corrections)["flow"][-LAST:] - whole).mean())
    assert errors[1] < errors[0] / 2


def test_memory_is_bounded_and_nothing_of_the_past_is_held():
    day = days()["orders"]
    tail = tail_of(day, keep=50, step=1)
    history, events = tail.history()
    assert 50 <= events <= 100
    for name in COLUMNS:
        column = getattr(history.events, name)
        assert column.base is None and len(column) == events
    assert history.events.sequence.tolist() == list(range(events))


def test_corrections_that_come_without_events_are_bounded():
    day, keep = days()["orders"], 10
    tail = tail_of(day, keep=keep, events=15)
    levels = np.array([day.start.price[0], day.start.price[0] + day.instrument.tick])
    for number in range(100):
        columns = {"side": np.full(2, day.start.side[0]), "price": levels, "size": np.array([number, 100 + number])}
        tail.extend(day.events[:0], Corrections(np.full(2, -1), **columns))
    corrections = tail.history()[0].corrections
    assert len(corrections) <= LONGEST * keep + 2 and corrections.size[-2:].tolist() == [99, 199]
    assert set(corrections.event[-2:]) == {14}


def test_a_long_history_is_cut_at_once():
    day = days()["orders"]
    tail = Tail(History(day.start, day.events, day.corrections), keep=50, instrument=day.instrument)
    assert len(tail) == 50 and tail.history()[0].events.time_ns[-1] == day.events.time_ns[-1]


def test_scores_are_asked_of_what_comes_next_which_is_not_followed():
    day = days()["narrow window"]
    tail = tail_of(day, events=100)
    late = Corrections(**{name: np.array([value], CORRECTION_COLUMNS[name]) for name, value in LEVEL.items()})
    asked = tail.score(day.events[100:110], late)
    assert (asked.first, len(asked.history.events), len(tail)) == (100, 110, 100)
    assert asked.history.corrections.event[-1] == 99  # before the first of the next is after the last that was
    assert np.array_equal(asked.history.events.time_ns, day.events.time_ns[:110])


LEVEL = {"event": -1, "side": 1, "price": 100, "size": 5}


@pytest.mark.parametrize(
    ("codes", "closed"),
    [
        ((), OPEN),
        ((Code.HALT,), CLOSED),
        ((Code.HALT, Code.RESUME_QUOTE), QUOTING),
        ((Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE), OPEN),
    ],
)
def test_what_is_closed_is_carried_on(codes, closed):
    day = days()["orders"]
    tail = Tail(History(day.start), keep=10, instrument=day.instrument)
    for code in codes:
        tail.extend(control(day, code), Corrections.none())
    tail.extend(day.events[:30], Corrections.none())
    assert tail.history()[0].closed == closed and len(tail) == 10


def crossed_by(day, order_id):
    """Return an order to buy above the best ask."""
    ask = int(day.start.price[day.start.side < 0].min())
    return one_event(day, Kind.ADD, 1, ask, 5, order_id=order_id), ask


def test_a_book_that_is_crossed_is_no_opening():
    day = days()["orders"]
    tail = Tail(History(day.start), keep=1, instrument=day.instrument)
    for number in range(4):
        crossing, price = crossed_by(day, 10**9 + number)
        tail.extend(crossing, Corrections.none())
    assert len(tail) == 4  # longer than it should be, until the book is in order again
    values = {"event": 0, "side": 1, "price": price, "size": 0}
    level = Corrections(**{name: np.array([value], CORRECTION_COLUMNS[name]) for name, value in values.items()})
    tail.extend(day.events[:1], level)
    tail.extend(day.events[1:3], Corrections.none())
    assert len(tail) < 3 and not tail.lost


def test_a_book_that_stays_crossed_is_given_up():
    day = days()["orders"]
    tail = Tail(History(day.start), keep=1, instrument=day.instrument)
    for number in range(LONGEST):
        assert not tail.lost and len(tail) == number
        tail.extend(crossed_by(day, 10**9 + number)[0], Corrections.none())
    tail.extend(crossed_by(day, 10**8)[0], Corrections.none())
    assert tail.lost and len(tail) == 0
    tail.extend(day.events[:5], Corrections.none())
    assert len(tail) == 0  # nothing is kept in vain


def test_as_many_events_are_kept_as_fill_a_context():
    assert kept_events(stub_facts(slots=5_000)) == 5_000
    assert kept_events(stub_facts(slots=64)) == LEAST


class Network:
    """A network that sees the tokens and times of its window, the more recent the better."""

    def __init__(self, vocabulary):
        random = np.random.default_rng(0)
        self._of_token = random.normal(0, 1, (vocabulary, vocabulary)).astype(np.float32)
        self._of_time = random.normal(0, 1, (2, vocabulary)).astype(np.float32)

    def __call__(self, inputs):
        seen = self._of_token[inputs["tokens"]] + np.sin(inputs["clock"]).astype(np.float32) @ self._of_time
        for at in range(1, seen.shape[1]):
            seen[:, at] += 0.5 * seen[:, at - 1]
        return seen


@pytest.fixture(scope="module")
def scored():
    """Return a function that answers requests for scores, and a day."""
    day = days()["narrow window"]
    plain = {"flow_state": False, "queue_state": False, "pointer": False, "regime": "none", "n_regimes": 1}
    model = dataclasses.replace(EVERYTHING, **plain, latest_tokens=False, max_seq_length=96)
    contents = contents_of(day, TOKENIZERS["exact"], model)
    network = Network(model.vocab_size)
    return (lambda asked: scored_history(asked, contents, forward=network)), day


@pytest.mark.slow
def test_scores_are_those_of_the_entire_history(scored):
    score, day = scored
    tail = Tail(History(day.start), keep=96, instrument=day.instrument)
    for first in range(0, 1_000, 50):
        events, corrections = day.events[first : first + 50], day.corrections.between(first, first + 50)
        asked = tail.score(events, corrections)
        if first > 800:
            whole = History(day.start, day.events[: first + 50], day.corrections.between(0, first + 50))
            found, wanted = score(asked), score(Score(whole, first=first))
            assert asked.first < first and len(found.nats) == 50
            for name in ("nats", "brier", "chance", "entropy_bits"):
                np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-5)
        tail.extend(events, corrections)


def test_an_event_that_contradicts_the_book_has_its_number(scored):
    score, day = scored
    tail = Tail(History(day.start), keep=96, instrument=day.instrument)
    tail.extend(day.events[:300], day.corrections.between(0, 300))
    wrong = day.events[300:303].replace(time_ns=day.events.time_ns[300:303] - np.array([0, 10**15, 0]))
    with pytest.raises(InputError) as raised:
        score(tail.score(wrong, Corrections.none()))
    assert raised.value.event == len(tail) + 1

"""A tape is what a replay of the whole day shows, however its records were cut; flow by hand."""

import numpy as np
import pytest

from lob_jax.book.replay import BookStates, replay
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.tape import FLOW, event_flow, filled, order_flow_imbalance, read_tape
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer

PARTS = [Part("train", 0, 300, 0), Part("test", 340, 500, 40)]


def records_of(day, part, *, record_events=50, levels=3):
    shape = {"record_events": record_events, "context": 32, "book_levels": levels}
    return [record for _, record in make_records(day, [part], ExactTokenizer(), **shape)]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_records_are_joined_to_what_a_replay_of_the_day_shows(make_day, part):
    day = make_day(500)
    tape = read_tape(records_of(day, part), ExactTokenizer(), levels=4)
    states = replay(day, levels=4)
    lead = min(part.first, 9)  # of a context of 32 tokens
    rows = slice(part.first - lead, part.last + 1)
    assert len(tape) == part.events + lead + 1 and tape.symbols == ("TEST",)
    np.testing.assert_array_equal(tape.size, states.size[rows])
    np.testing.assert_array_equal(tape.price, filled(states.price, states.size)[rows])
    np.testing.assert_array_equal(tape.mid2, states.mid2()[rows])
    np.testing.assert_array_equal(tape.kind[:-1], day.events.kind[rows][: len(tape) - 1])
    np.testing.assert_array_equal(tape.clock_ns[1:], day.events.time_ns[rows][: len(tape) - 1])
    assert tape.own.sum() == part.events and not tape.own[-1] and tape.own[lead] and not tape.own[:lead].any()
    assert tape.kind[-1] == 0 and not tape.flow[-1].any()


def test_tokens_are_those_of_the_day_and_know_their_events(make_day):
    day = make_day(300)
    tape = read_tape(records_of(day, PARTS[0]), ExactTokenizer(), levels=2)
    whole = read_tape(records_of(day, PARTS[0], record_events=1000), ExactTokenizer(), levels=2)
    np.testing.assert_array_equal(tape.tokens, whole.tokens)
    np.testing.assert_array_equal(tape.token_event, whole.token_event)
    np.testing.assert_array_equal(tape.token_row, whole.token_row)
    np.testing.assert_array_equal(tape.features, whole.features)
    heads = np.flatnonzero(np.diff(tape.token_event, prepend=-1))
    np.testing.assert_array_equal(
        tape.tokens[heads] // 1000, np.where(tape.kind[:-1] == Kind.CONTROL, 0, tape.kind[:-1])
    )
    assert set(np.unique(tape.token_row - tape.token_event)) == {0, 1}


def test_other_days_and_instruments_are_runs_of_their_own(make_day, of_symbol):
    one, other = make_day(120), of_symbol(make_day(90, seed=3, trading_day="2012-06-22"), "OTHER", tick=50)
    part = Part("train", 0, 90, 0)
    tape = read_tape([*records_of(one, part), *records_of(other, part)], ExactTokenizer(), levels=2)
    np.testing.assert_array_equal(np.bincount(tape.run), [91, 91])
    assert tape.symbols == ("TEST", "OTHER") and tape.tick.tolist() == [100, 50]
    assert tape.day_of_week.tolist() == [3, 4]
    assert tape.midnight_ns[1] - tape.midnight_ns[0] == 86_400 * 10**9
    assert tape.token_event[-1] == 180  # the last event of the second run; row 90 has none


def test_no_records_are_refused():
    with pytest.raises(InputError, match="no records to forecast from"):
        read_tape([], ExactTokenizer(), levels=2)


def states_of(*books: tuple[int, int, int, int]) -> BookStates:
    """Books of one level: bid price and size, ask price and size."""
    table = np.array(books, np.int64).reshape(-1, 2, 2)
    return BookStates(
        table[..., :1], table[..., 1:], np.zeros((len(books), 2), np.int64), start_ns=0, tick=1, counts={}
    )


def test_order_flow_imbalance_by_hand():
    states = states_of(
        (100, 5, 102, 4),
        (100, 8, 102, 4),  # three more bid for
        (101, 2, 102, 4),  # a better bid of two
        (101, 2, 102, 1),  # three fewer offered
        (101, 2, 103, 7),  # the ask went: one fewer, and what lies behind it does not count
        (101, 2, 0, 0),  # no ask: seven fewer
        (101, 2, 102, 6),  # an ask of six
        (100, 8, 102, 6),  # the bid of two went
    )
    np.testing.assert_array_equal(order_flow_imbalance(states), [3, 2, 3, 1, 7, -6, -2])


def test_flow_of_events_by_hand():
    kind = [Kind.ADD, Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CONTROL]
    events = Events.from_columns(
        time_ns=np.array([0, 1_000, 500, 500]),
        kind=np.array(kind),
        code=np.array([0, 0, 0, Code.HALT]),
        side=np.array([1, -1, 1, 0]),
        price=np.array([100, 102, 101, 0]),
        size=np.array([3, 3, 2, 0]),
    )
    states = states_of(*[(100, 5, 102, 4)], (100, 8, 102, 4), *[(100, 8, 102, 1)] * 3)
    flow = event_flow(events, states, np.array([7_000, 1_000, -500, 0]))
    expected = {
        "side": [1, -1, 1, 0, 0],
        "log size": [np.log(4), np.log(4), np.log(3), 0, 0],
        "log gap": [np.log(8), np.log(2), 0, 0, 0],
        "order-flow imbalance": [np.log(4), np.log(4), 0, 0, 0],
        "trade sign": [0, 1, -1, 0, 0],  # a buyer took from the asks; a seller from a hidden bid
    }
    np.testing.assert_allclose(flow, np.stack([expected[name] for name in FLOW], axis=1), rtol=1e-6)


def test_an_empty_level_has_the_price_in_front_of_it():
    price, size = np.array([[[10, 8, 0], [0, 0, 0]]]), np.array([[[1, 1, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(filled(price, size), [[[10, 8, 8], [0, 0, 0]]])

"""The tally of escapes, against a slow count, and the shares that follow from it."""

import numpy as np
import pytest

from lob_jax.data.records.escapes import EscapeTally, record_sets, training_escapes
from lob_jax.data.records.records import day_record
from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import fit_bins
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.sets.escape import Escape
from tests.counts.conftest import lively_day

TOKENIZER = ExactTokenizer(time_digits=5)


@pytest.fixture(scope="module")
def record():
    return day_record(lively_day(3, 300), 0, 300, TOKENIZER, book_levels=2)


def slow_counts(record, first):
    """Count token by token: places and outside by (field, kind), and reasons."""
    tokens, outside = record["tokens"][:-1].astype(int).tolist(), record_sets(record, TOKENIZER).outside
    grammar, places, escapes = TOKENIZER.grammar, np.zeros((7, 7), int), {}
    kind, state, escaped = 0, TOKENIZER.grammar.start, False
    for t, token in enumerate(tokens):
        is_head = 1000 <= token < 7000 or v.FIRST_CONTROL <= token <= v.LAST_CONTROL
        if is_head:
            kind, escaped = token // 1000, False
        field = v.FIELD_HEAD if is_head else grammar.state_field[state]
        if t >= first and not escaped:
            places[field, kind] += 1
            if outside[t]:
                name = Escape(outside[t]).name.lower()
                escapes.setdefault(name, np.zeros((7, 7), int))[field, kind] += 1
        escaped = escaped or outside[t] > 0
        state = int(grammar.transition[state, token])
    return {"places": places.tolist(), "outside": {name: found.tolist() for name, found in escapes.items()}}


@pytest.mark.parametrize("first", [0, 333])
def test_tokens_are_counted_up_to_the_first_one_of_an_event_outside_its_set(record, first):
    tally = EscapeTally()
    tally.add(record, TOKENIZER, first=first)
    expected = slow_counts(record, first)
    assert tally.content() == expected
    assert len(expected["outside"]) > 1 and np.sum(list(expected["outside"].values())) > 20


def test_counts_of_records_add_up(record):
    one, two = EscapeTally(), EscapeTally()
    one.add(record, TOKENIZER, first=10)
    for _ in range(2):
        two.add(record, TOKENIZER, first=10)
    assert np.array_equal(2 * np.array(one.content()["places"]), two.content()["places"])


def test_shares_are_of_the_training_parts_alone(record):
    tally = EscapeTally()
    tally.add(record, TOKENIZER, first=0)
    counts, nothing = tally.content(), EscapeTally().content()
    days = [{"escapes": {"train": counts}}, {"escapes": {"train": counts}}, {"escapes": {"validation": counts}}]
    shares = training_escapes({"days": days})
    outside = sum(np.array(one) for one in counts["outside"].values())
    np.testing.assert_allclose(shares, (2 * outside + 0.5) / (2 * np.array(counts["places"]) + 1))
    assert (training_escapes({"days": [{"escapes": {"train": nothing}}]}) == 0.5).all()


def test_records_without_counts_are_told():
    with pytest.raises(InputError, match="which tokens are outside their sets"):
        training_escapes({"days": [{"symbol": "SYN", "parts": []}]})


def test_tokens_that_do_not_give_their_events_back_have_no_sets():
    day = lively_day(1, 50)
    tokenizer = CompactTokenizer(fit_bins(seen_in(day.events, np.zeros((50, 2), np.int64), day.instrument, 0)))
    tally = EscapeTally()
    tally.add(day_record(day, 0, 50, tokenizer, book_levels=2), tokenizer, first=0)
    assert tally.content() == EscapeTally().content()

"""The tally of escapes, against a slow count, and the shares that follow from it."""

import numpy as np
import pytest

from lob_jax.book.replay import reference_runs
from lob_jax.data.records.escapes import EscapeTally, record_sets, training_escapes
from lob_jax.data.records.records import day_record
from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSED
from lob_jax.events.schema import Code
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.shares import SHAPE
from tests.counts.conftest import lively_day

TOKENIZER = ExactTokenizer(time_digits=5)


@pytest.fixture(scope="module")
def record():
    return day_record(lively_day(3, 300), 0, 300, TOKENIZER, book_levels=2)


@pytest.fixture(scope="module")
def compact():
    """A day, the compact tokenizer that is fitted to it, and its record."""
    day = lively_day(3, 300)
    day = day.with_events(day.events.replace(code=np.minimum(day.events.code, 1) * int(Code.FEED_GAP)))  # no halts
    (before,) = (one for _, one in reference_runs(day, 300))
    tokenizer = CompactTokenizer.fit([seen_in(day.events, before, day.instrument, day.start.time_ns)])
    return day, tokenizer, day_record(day, 0, 300, tokenizer, book_levels=2)


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
    fields = len(counts["places"])  # without those of ranks, which these tokens do not have
    np.testing.assert_allclose(shares[:fields], (2 * outside + 0.5) / (2 * np.array(counts["places"]) + 1))
    assert shares.shape == SHAPE and (shares[fields:] == 0.5).all()
    assert (training_escapes({"days": [{"escapes": {"train": nothing}}]}) == 0.5).all()


def test_records_without_counts_are_told():
    with pytest.raises(InputError, match="which tokens are outside their sets"):
        training_escapes({"days": [{"symbol": "SYN", "parts": []}]})


@pytest.mark.slow
def test_compact_records_hold_the_sets_of_the_true_book(compact):
    day, tokenizer, record = compact
    tokens = tokenizer.encode(day)
    expected, found = tokenizer.sets(tokens, day), record_sets(record, tokenizer)
    for name, one, other in zip(expected._fields, expected, found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, name)
    assert 0 < np.count_nonzero(found.outside) < 60
    halted = record_sets(day_record(day, 0, 300, tokenizer, book_levels=2, closed=CLOSED), tokenizer)
    np.testing.assert_array_equal(halted.outside, tokenizer.sets(tokens, day, closed=CLOSED).outside)


def test_escapes_of_compact_tokens_are_counted_by_kind(compact):
    _, tokenizer, record = compact
    tally, kind, outside = EscapeTally(), record["tokens"][:-1] // v.CLASS_SIZE, record["sets_outside"]
    tally.add(record, tokenizer, first=40)
    counts = tally.content()
    assert np.array(counts["places"])[v.FIELD_HEAD].tolist() == np.bincount(kind[40:], minlength=7).tolist()
    assert np.sum(counts["places"]) == 260
    for reason, cells in counts["outside"].items():
        mine = outside[40:] == Escape[reason.upper()]
        assert np.array(cells)[v.FIELD_HEAD].tolist() == np.bincount(kind[40:][mine], minlength=7).tolist()
    assert np.sum(list(counts["outside"].values())) == np.count_nonzero(outside[40:])

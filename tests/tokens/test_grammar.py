"""The automaton, against hand-made streams and by counting: as many spellings as there are numbers."""

import functools

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Grammar, grammar_for

EVENT = [1003, 8100, 9007]
HALT = [11, 9000]


def spellings(grammar, state, end_token):
    """Count the ways to finish the number that a state is in the middle of; `end_token` is one that may follow it."""

    @functools.cache
    def count(here):
        after = grammar.transition[here, v.CONTINUATION : v.SIZE]
        done = int(grammar.allowed[here, end_token])
        states, times = np.unique(after[after >= 0], return_counts=True)
        return done + sum(int(n) * count(int(s)) for s, n in zip(states, times, strict=True))

    return count(state)


def spellings_of_class(grammar, state, first, last, end_token):
    after = grammar.transition[state, first:last]
    return sum(spellings(grammar, int(s), end_token) for s in after[after >= 0])


@pytest.mark.parametrize("digits", [None, 2, 5, 8])
def test_there_are_as_many_spellings_as_numbers(digits):
    grammar = Grammar(digits)
    after_head = grammar.walk([1000])
    assert spellings_of_class(grammar, after_head, v.SIZE, v.TIME, v.TIME_SKIP) == 10**12
    after_size = grammar.walk([1000, 8000])
    kept = 12 if digits is None else digits
    gaps = 10 + sum(90 * 10 ** min(more, kept - 2) for more in range(11))
    assert spellings_of_class(grammar, after_size, v.TIME, v.VOCAB_SIZE, v.EOS) == gaps
    for head in range(1000, 7000, 500):
        assert spellings_of_class(grammar, grammar.start, head, head + 500, v.SIZE) == 2 * 10**14 - 1


@pytest.mark.parametrize(
    "stream",
    [
        [],
        [v.BOS],
        [v.EOS],
        [v.BOS, *EVENT, v.EOS, v.PAD, v.PAD],
        EVENT + HALT + EVENT,
        [1102, 7300, 8100, 7500, 9370, 7050],  # 123 ticks, 105 lots, 100,500 ns
        [1471, 7100, 8000, 9000],  # 10^6 ticks
        [1478, 7100, 7000, 7000, 7000, 7010, 8000, 9000],
        [1003, 8100, v.TIME_BACK, 9001],
        [1003, 8100, v.TIME_BACK, v.TIME_SKIP, 9000],
        [17, v.TIME_SKIP, v.TIME_SKIP, 9000],
        [1003, 8100, 9280, 7001],  # 10,001 ns
        [1003, 8550, 7000, 7001, 9000],  # 10,000,001 lots
    ],
)
def test_whole_events_pass(stream):
    Grammar().check(np.array(stream, np.int64))


@pytest.mark.parametrize(
    ("stream", "position", "expected"),
    [
        ([8100], 0, "the head of an event"),
        ([1003], 1, "a size"),
        ([1003, 8100], 2, "TIME_SKIP or TIME_BACK or digits 100..900 in steps of 100 or a gap"),
        ([1003, 9000], 1, "a size"),
        ([1499, 8000, 9000], 0, "the head of an event"),
        ([10, 9000], 0, "a CONTROL code"),
        ([18, 9000], 0, "a CONTROL code"),
        ([11, 8000], 1, "a gap"),
        ([*EVENT, v.PAD], 3, "EOS"),
        ([*EVENT, v.EOS, 1003], 4, "PAD"),
        ([*EVENT, v.EOS, v.EOS], 4, "PAD"),
        ([*EVENT, v.BOS], 3, "EOS"),
        ([1003, 8005, 7100, 9000], 2, "a gap"),  # no digits are open after 5
        ([1003, 8100, 7000, 9000], 2, "digits 100..900"),  # 100 is one token
        ([1003, 8100, 7501, 9000], 2, "digits 100..900"),  # 105 has one open digit
        ([1003, 8190, 7005, 9000], 2, "digits 010..990"),
        ([1003, 8280, 7000, 9000], 2, "digits 001..999"),
        ([1003, 8370, 7000, 9000], 3, "digits 100..900"),  # after 000 the number must go on
        ([1003, 8370, 7000, 7000], 3, "digits 100..900"),
        ([1003, 8370, 7050, 7500, 7100], 4, "a gap"),
        ([1471, 7099], 1, "digits 100..999"),
        ([1471, 8000], 1, "digits 100..999"),
        ([1003, 8100, v.TIME_SKIP, v.TIME_BACK], 3, "TIME_SKIP or a gap"),
        ([1003, 8100, v.TIME_BACK, 9000], 3, "TIME_SKIP or a gap above 0"),
        ([1003, 8100, v.MASK], 2, "a gap"),
        ([1003, 8100, 12_345], 2, "a gap"),
        ([1003, 8100, -1], 2, "a gap"),
    ],
)
def test_the_first_token_that_cannot_stand_is_named(stream, position, expected):
    with pytest.raises(InputError) as caught:
        Grammar().check(np.array(stream))
    assert caught.value.where == f"token {position}"
    assert expected in caught.value.expected
    with pytest.raises(InputError, match=f"token {position + 1}"):
        Grammar().check(np.array([v.BOS, *stream]))


def test_rounded_time_bars_the_digits_that_are_not_kept():
    event = [1003, 8100, 9820]  # a gap of 11 digits, nine of them open
    for digits, most in ((2, 0), (5, 1), (8, 2), (None, 3)):
        Grammar(digits).check(np.array(event + [7001] * most))
        with pytest.raises(InputError):
            Grammar(digits).check(np.array(event + [7001] * (most + 1)))


def test_states_name_the_field_to_come_and_where_a_stream_may_stop():
    grammar = Grammar()
    steps = [
        ([], v.FIELD_HEAD, True),
        ([1100], v.FIELD_HEAD_DIGITS, False),
        ([1003], v.FIELD_SIZE, False),
        ([1003, 8100], v.FIELD_SIZE_DIGITS, False),
        ([1003, 8001], v.FIELD_GAP, False),
        ([1003, 8001, v.TIME_BACK], v.FIELD_GAP, False),
        ([1003, 8001, 9100], v.FIELD_GAP_DIGITS, True),
        ([1003, 8001, 9370, 7000], v.FIELD_GAP_DIGITS, False),
        ([1003, 8001, 9001], v.FIELD_HEAD, True),
        ([v.EOS], v.FIELD_SPECIAL, True),
    ]
    for tokens, field, stops in steps:
        state = grammar.walk(tokens)
        assert (grammar.state_field[state], grammar.at_boundary[state]) == (field, stops), tokens
    assert grammar.walk([8001]) == -1
    assert grammar.walk([8001], state=grammar.walk([1003])) == grammar.walk([1003, 8001])


def test_the_table_is_what_its_users_were_promised():
    grammar = grammar_for(5)
    assert grammar is grammar_for(5)
    assert grammar.transition.dtype == np.int16
    assert grammar.transition.shape[1] == v.VOCAB_SIZE
    assert grammar.state_field.dtype == np.int8
    assert np.array_equal(grammar.allowed, grammar.transition >= 0)
    assert not grammar.transition.flags.writeable


def test_time_digits_that_do_not_end_a_group_are_refused():
    with pytest.raises(InputError, match=r"tokens\.time_digits"):
        Grammar(3)

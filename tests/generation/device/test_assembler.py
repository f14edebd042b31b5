"""Reading tokens on the device gives the numbers that the tokenizer wrote."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lob_jax.generation.device import assembler
from lob_jax.generation.device.assembler import TOO_LARGE, Clock
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as vocab
from lob_jax.tokens.exact import ExactTokenizer

LONGEST = 64


@jax.jit
def scan(tokens_T: jax.Array, count: jax.Array):
    """Read `count` tokens; return the spelling, how often an event was complete, and the clock beside it."""

    def one(carry, indexed):
        spelling, clock, completed = carry
        index, token = indexed
        begins = assembler.is_head(token)
        moved = assembler.advance(clock, spelling)
        new_clock = jax.tree.map(functools.partial(jnp.where, begins), moved, clock)
        new_spelling, complete = assembler.read(spelling, token)
        new = (new_spelling, new_clock, completed + complete)
        return jax.tree.map(functools.partial(jnp.where, index < count), new, carry), None

    start = (assembler.blank(), Clock(jnp.int32(0), jnp.int32(0)), jnp.int32(0))
    return jax.lax.scan(one, start, (jnp.arange(LONGEST), tokens_T))[0]


def written(kind: int, ask: bool, distance: int, size: int, gap: int) -> np.ndarray:
    """Write one event, by the tokenizer's own compiled writers."""
    tokens = np.zeros(64, np.uint16)
    at = numbers.write_price(tokens, 0, kind * 1000 + 500 * ask, distance)
    at = numbers.write_number(tokens, at, vocab.SIZE, size)
    return tokens[: numbers.write_gap(tokens, at, gap)]


def read(tokens: np.ndarray):
    padded = np.zeros(LONGEST, np.int32)
    padded[: len(tokens)] = tokens
    return jax.tree.map(int, scan(padded, np.int32(len(tokens))))


magnitudes = st.integers(0, 13).flatmap(lambda digits: st.integers(0, 10**digits))


@settings(max_examples=300)
@given(
    kind=st.integers(1, 6),
    ask=st.booleans(),
    distance=magnitudes,
    better=st.booleans(),
    size=magnitudes.filter(lambda n: n < 10**12),
    gap=magnitudes.map(lambda n: n % (3 * 10**12)),
    back=st.booleans(),
)
def test_an_event_is_read_as_it_was_written(kind, ask, distance, better, size, gap, back):
    signed = -distance if better else distance
    spelling, _, completed = read(written(kind, ask, signed, size, -gap if back else gap))
    assert completed == 1
    assert (spelling.kind, spelling.side) == (kind, int(ask))
    assert spelling.price == (signed if distance < 2_147_000_000 else TOO_LARGE)
    assert spelling.size == (size if size < 2_147_000_000 else TOO_LARGE)
    step = assembler.gap(spelling)
    assert step.seconds * 10**9 + step.ns == (-gap if back else gap)


@settings(max_examples=50)
@given(gaps=st.lists(st.integers(0, 2 * 10**12), min_size=1, max_size=6))
@example(gaps=[600_000_000, 600_000_000])  # nanoseconds that add up to more than a second: few drawn lists do
def test_the_clock_moves_at_the_head_of_the_next_event(gaps):
    tokens = np.concatenate([written(1, False, 0, 1, gap) for gap in gaps])
    _, clock, completed = read(tokens)
    assert completed == len(gaps)
    assert clock.seconds * 10**9 + clock.ns == sum(gaps[:-1])
    _, clock, _ = read(np.append(tokens, 1000))
    assert clock.seconds * 10**9 + clock.ns == sum(gaps)


def test_a_control_event_has_its_code_and_its_time():
    spelling, _, completed = read(np.array([vocab.CONTROL_BASE + 1, vocab.TIME + 7]))
    assert (spelling.kind, spelling.code, spelling.side, spelling.size, completed) == (7, 1, 0, 0, 1)
    assert assembler.gap(spelling) == Clock(0, 7)


def test_what_is_a_head_and_what_is_time():
    tokens = jnp.arange(vocab.VOCAB_SIZE)
    fields = vocab.field_of(np.arange(vocab.VOCAB_SIZE))
    heads = np.asarray(assembler.is_head(tokens))
    written = ExactTokenizer().grammar.allowed.any(0)  # compact tokens have more CONTROL codes
    np.testing.assert_array_equal(heads[written], (fields == vocab.FIELD_HEAD)[written])
    time = np.flatnonzero(np.asarray(assembler.is_time(tokens)))
    np.testing.assert_array_equal(time, [vocab.TIME_SKIP, vocab.TIME_BACK, *range(9000, 10_000)])

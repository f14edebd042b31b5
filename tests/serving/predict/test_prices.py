"""A head's prices are those that the book allows within what its token may stand for."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Kind
from lob_jax.generation.host.given import given_of
from lob_jax.generation.host.start import start_paths
from lob_jax.generation.prompt import book_room
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.predict.heads import exact_heads, listed
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.numbers import read_price, write_price
from tests.generation.market import INSTRUMENT, MODEL, START, TOKENIZER, prompt

BIDS = [20_000, 9_900, 9_700, 9_500, 100]  # of a tick of 100: distances 0, 101, 103, 105, 199
ASKS = [20_300, 31_000]
BOOK = dataclasses.replace(
    START,
    side=np.array([1] * len(BIDS) + [-1] * len(ASKS), np.int8),
    price=np.array(BIDS + ASKS),
    size=np.array([5, 1, 7, 1, 9, 5, 5]),
    order_id=np.zeros(7, np.uint64),
    anonymous=np.zeros(7, bool),
)


def prices(*tokens, book: BookSnapshot = BOOK):
    """Return the prices that heads with some tokens have on a book."""
    sampling, one = SamplingConfig(paths=1, events=1, seed=0), prompt(MODEL, book)
    room = book_room(book)
    paths = start_paths([one], TOKENIZER, sampling, levels=room["places"] + 2)
    given = given_of(one, TOKENIZER, INSTRUMENT, sampling, MODEL, room=room)
    found = listed(paths, given, exact_heads(), np.array(tokens), np.full(v.CONTINUATION, 0.5))
    return [head.price for head in found]


def head(kind, side, distance):
    """Return the token that a price of an event begins with."""
    tokens = np.zeros(16, np.int64)
    write_price(tokens, 0, kind * v.CLASS_SIZE + (0 if side > 0 else v.ASK_OFFSET), distance)
    return int(tokens[0])


@pytest.mark.parametrize(
    ("kind", "side", "distance", "expected"),
    [
        (Kind.ADD, 1, 0, (20_000, 20_000)),
        (Kind.ADD, 1, 12, (18_800, 18_800)),
        (Kind.ADD, -1, 12, (21_500, 21_500)),
        (Kind.ADD, 1, -2, (20_200, 20_200)),
        (Kind.ADD, 1, 105, (9_100, 10_000)),  # 100 to 109 ticks deeper
        (Kind.ADD, 1, 195, (100, 1_000)),  # 190 to 199, the lowest price
        (Kind.ADD, -1, 12_345, (20_300 + 10_000 * 100, 20_300 + 99_999 * 100)),  # five digits deeper
        (Kind.CANCEL, 1, 104, (9_700, 9_700)),  # the only level with more than a lot
        (Kind.DELETE, 1, 104, (9_500, 9_900)),
        (Kind.DELETE, 1, 199, (100, 100)),
        (Kind.DELETE, -1, 107, (31_000, 31_000)),
        (Kind.EXECUTE, -1, 0, (20_300, 20_300)),
        (Kind.EXECUTE_HIDDEN, 1, -150, (20_150, 20_159)),  # in quanta
        (Kind.EXECUTE_HIDDEN, 1, -300, (20_300, 20_300)),  # the other quote ends it
        (Kind.CROSS, -1, 15_000, (30_300, 20_300 + 99_999)),
        (Kind.CROSS, 1, 15_000, (1, 10_000)),
    ],
)
def test_the_range_of_a_token_is_that_of_valid_prices(kind, side, distance, expected):
    assert prices(head(kind, side, distance)) == [expected]


def test_codes_stand_for_the_distances_that_begin_with_them():
    spans = exact_heads().spans
    for code in range(v.PRICE_CODES):
        low, high = (int(column[v.CLASS_SIZE + code]) for column in (spans.low, spans.high))
        for distance in (low, high):
            assert head(1, 1, distance) == v.CLASS_SIZE + code
        assert head(1, 1, low - 1) != v.CLASS_SIZE + code != head(1, 1, high + 1)
        assert read_price(np.array([0]), 1, code)[0] in (low, high, 0)


def test_controls_have_no_price():
    assert prices(v.FIRST_CONTROL, head(1, 1, 0)) == [(0, 0), (20_000, 20_000)]

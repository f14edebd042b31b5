"""Text by eight bytes at a time: equal texts, and the digits that a word begins with."""

import numpy as np
import pytest

from lob_jax.feeds.reading.words import big_16_at, big_32_at, big_64_at, leading_digits, position_of, same, word_at
from lob_jax.jit import in_place


@in_place
def read_digits(data, place):
    return leading_digits(word_at(data, np.uint64(place)))


@in_place
def read_numbers(data, place):
    return big_16_at(data, place), big_32_at(data, place), big_64_at(data, place)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("text", [bytes(range(1, 12)), b"\xff" * 11, b"\x80" + bytes(10), bytes(10) + b"\x80"])
def test_numbers_begin_with_their_highest_byte(text, place):
    expected = [int.from_bytes(text[place : place + size], "big") for size in (2, 4)]
    signed = int.from_bytes(text[place : place + 8], "big", signed=True)
    assert read_numbers(np.frombuffer(text, np.uint8), place) == (*expected, signed)


@pytest.mark.parametrize("count", range(9))
@pytest.mark.parametrize("after", [b",", b".", b"\n", b"/", b":", b"\0", b"\xff", b"\xb0", b"p"])
def test_digits_are_read_up_to_the_first_other_byte(count, after):
    text = b"98071234"[:count]
    data = np.frombuffer(b"ab" + text + after + b"56789012", np.uint8)
    assert read_digits(data, 2) == (count, int(text or b"0"))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 21])
def test_texts_are_the_same_only_if_every_byte_is(count):
    text = bytes(range(40, 40 + count))
    data = np.frombuffer(b"x" + text + b"yz" + text + b"w", np.uint8).copy()
    assert same(data, 1, 3 + count, count)
    for place in range(count):
        data[1 + place] ^= 128
        assert not same(data, 1, 3 + count, count)
        data[1 + place] ^= 128


@pytest.mark.parametrize("byte", [0, 10, 127, 128, 255])
def test_a_byte_is_found_where_it_is_first(byte):
    rng = np.random.default_rng(byte)
    near = np.array([byte ^ 1, byte ^ 128, (byte + 1) % 256, (byte - 1) % 256, byte, byte], np.uint8)
    for size in [*range(20), 300]:
        data = near[rng.integers(0, 4 if size == 300 else 6, size)]
        for at in range(size + 1):
            found = np.flatnonzero(data[at:] == byte)
            assert position_of(data, at, byte) == (at + found[0] if len(found) else size)

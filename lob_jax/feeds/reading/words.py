"""Read several bytes at a time in compiled loops: binary numbers, and text to compare or convert to numbers."""

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lob_jax.jit import in_place

BYTES = np.uint64(8)  # of a word
_ZEROS = np.uint64(0x3030303030303030)
_OVER_NINE = np.uint64(0x7676767676767676)  # added to a byte of 10 or more, it reaches the highest bit
_LOWEST, _HIGHEST = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_PAIRS, _FOURS, _EIGHTS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)
_BITS_8, _BITS_16, _BITS_32, _BITS_64 = (np.uint64(bits) for bits in (8, 16, 32, 64))
_TEN, _HUNDRED, _TEN_THOUSAND = np.uint64(10), np.uint64(100), np.uint64(10_000)
_THREE, _NONE = np.uint64(3), np.uint64(0)


def _load(bits: int, order: str, result: Any) -> Any:
    """Return a function of a contiguous uint8 array and a position that reads an unsigned number of so many bits there.

    It checks no bounds.

    Args:
      bits: size of the number, at most 64.
      order: "little" if its first byte is the lowest one, "big" if it is the highest.
      result: Numba's type of the result, of 64 bits.
    """

    @intrinsic
    def number_at(typing: Any, data: Any, place: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, args[0])
            pointer = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(bits).as_pointer())
            number = builder.load(pointer, align=1)
            if sys.byteorder != order:
                number = builder.bswap(number)
            return builder.zext(number, ir.IntType(64)) if bits < 64 else number

        return result(data, place), code

    return number_at


word_at = _load(64, "little", types.uint64)  # eight bytes of text, the first one lowest
big_16_at, big_32_at, big_64_at = (_load(bits, "big", types.int64) for bits in (16, 32, 64))


@intrinsic
def _low_zeros(typing: Any, word: Any) -> Any:
    """Return the number of zero bits below the lowest one of a word that is not 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), code


@in_place
def same(data: np.ndarray, one: int, other: int, count: int) -> bool:
    """Return whether two texts of `count` bytes are equal.

    Args:
      data: uint8 [B].
      one: position of the first.
      other: position of the second.
      count: their length.
    """
    first, second, left = np.uint64(one), np.uint64(other), np.uint64(count)
    while left >= BYTES:
        if word_at(data, first) != word_at(data, second):
            return False
        first, second, left = first + BYTES, second + BYTES, left - BYTES
    while left > _NONE:
        if data[first] != data[second]:
            return False
        first, second, left = first + np.uint64(1), second + np.uint64(1), left - np.uint64(1)
    return True


@in_place
def position_of(data: np.ndarray, at: int, byte: int) -> int:
    """Return the first position from `at` on that has a byte, and the size of `data` if none has.

    Args:
      data: uint8 [B].
      at: where to begin.
      byte: what to look for.
    """
    place, size = np.uint64(at), np.uint64(len(data))
    pattern = np.uint64(byte) * _LOWEST
    while place + BYTES <= size:
        other = word_at(data, place) ^ pattern
        equal = (other - _LOWEST) & ~other & _HIGHEST  # the lowest bit of it belongs to the first byte that is equal
        if equal != _NONE:
            return int(place + (_low_zeros(equal) >> _THREE))
        place += BYTES
    while place < size and data[place] != byte:
        place += np.uint64(1)
    return int(place)


@in_place
def leading_digits(word: int) -> tuple[int, int]:
    """Return how many bytes at the beginning of a word are digits, and the number they write; both uint64."""
    digits = word ^ _ZEROS
    others = ((digits + _OVER_NINE) | digits) & _HIGHEST
    count = _low_zeros(others) >> _THREE if others != _NONE else BYTES
    if count == _NONE:
        return count, _NONE
    # Zeros in front of the number, which is at the end of the word then; neighbours are joined in three steps.
    number = digits << (_BITS_64 - (count << _THREE))
    number = (number * _TEN + (number >> _BITS_8)) & _PAIRS
    number = (number * _HUNDRED + (number >> _BITS_16)) & _FOURS
    return count, (number * _TEN_THOUSAND + (number >> _BITS_32)) & _EIGHTS

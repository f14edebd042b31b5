"""The random numbers of paths, bit by bit those of `jax.random` with its default generator, Threefry (Salmon et al.,
2011): keys are two words of 32 bits, here in an int64 each.
"""

from lob_jax.jit import in_place, inner

_WORD = 2**32 - 1
_PARITY = 0x1BD11BDA
_EVEN, _ODD = (13, 15, 26, 6), (17, 29, 16, 24)


@inner
def _mixed(first: int, second: int, turn: int) -> tuple[int, int]:
    """Return two words after one round."""
    first = (first + second) & _WORD
    second = ((second << turn) | (second >> (32 - turn))) & _WORD
    return first, second ^ first


@inner
def threefry(key0: int, key1: int, first: int, second: int) -> tuple[int, int]:
    """Return the hash of two words under a key, in 20 rounds."""
    keys = (key0, key1, key0 ^ key1 ^ _PARITY)
    first, second = (first + key0) & _WORD, (second + key1) & _WORD
    for group in range(5):
        for turn in _EVEN if group % 2 == 0 else _ODD:
            first, second = _mixed(first, second, turn)
        first = (first + keys[(group + 1) % 3]) & _WORD
        second = (second + keys[(group + 2) % 3] + group + 1) & _WORD
    return first, second


@in_place
def fold_in(key0: int, key1: int, number: int) -> tuple[int, int]:
    """Return the key that `jax.random.fold_in` derives from a key and a number of 32 bits."""
    return threefry(key0, key1, 0, number)


@in_place
def uniform(key0: int, key1: int, index: int) -> float:
    """Return the number with an index in the array that `jax.random.uniform` draws, a multiple of 2^-23 in [0, 1)."""
    first, second = threefry(key0, key1, 0, index)
    return ((first ^ second) >> 9) * 2.0**-23

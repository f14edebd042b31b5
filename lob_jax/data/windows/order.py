"""The order of windows: the global shuffle of Grain and its sources of randomness, computed for many places at once.

Grain computes each place by itself, and derives its keys again each time; for fewer than 2^16 windows, which it
permutes among as many numbers, one place takes up to 1 ms. Here the orders are the same.

A pass is a permutation of 0..n-1 that no table holds: a cipher permutes the numbers of 2W bits, and is applied again
until the result is below n (Black and Rogaway, 2002). The cipher is four rounds of Simon (Beaulieu et al., 2013) for
words of W bits, whose round keys are what C++'s `std::seed_seq` makes of the seed of a pass.
"""

import dataclasses
import functools

import numpy as np

from lob_jax.jit import in_place, inner

ROUNDS = 4
LEAST_WORD = 8  # bits of a word, at least
_WORD_32 = 2**32 - 1
_FILLED, _FIRST, _SECOND = 0x8B8B8B8B, 1664525, 1566083941  # the constants of `std::seed_seq`


@dataclasses.dataclass(frozen=True)
class Order:
    """The window in each place of an endless sequence of passes, each of which leaves out the last of its order.

    Attributes:
      seed: seed of the shuffle, 0..2^32-1.
      windows: n, number of windows.
      windows_a_pass: number of places of a pass, at most n.
      shuffled: whether each pass has an order of its own; otherwise it is 0, 1, ...
    """

    seed: int
    windows: int
    windows_a_pass: int
    shuffled: bool

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return the index of the window in each of some places, int64, in their shape."""
        number, inside = np.divmod(np.asarray(places, np.int64), self.windows_a_pass)
        if not self.shuffled:
            return inside
        found = np.zeros_like(inside)
        for one in np.unique(number):
            chosen = number == one
            found[chosen] = permuted(inside[chosen], self.windows, (self._seed_of_shuffle + int(one)) & _WORD_32)
        return found

    @functools.cached_property
    def _seed_of_shuffle(self) -> int:
        return _derived(self.seed, 1)

    @functools.cached_property
    def _key(self) -> np.ndarray:
        # Grain derives a seed from that of the data set and from how many transformations are in between: repeat, the
        # cut of a pass and, if there is one, the shuffle.
        return np.random.Philox(_derived(self.seed, 4 if self.shuffled else 3)).state["state"]["key"]

    def random_at(self, place: int) -> np.random.Generator:
        """Return the source of what is random in the window at a place, which depends on seed and place alone."""
        return np.random.Generator(np.random.Philox(key=self._key, counter=np.array([0, 0, 0, place], np.uint64)))


def _derived(seed: int, depth: int) -> int:
    return int(np.random.SeedSequence([seed, depth]).generate_state(1, np.uint32)[0])


def permuted(index: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return where Grain's shuffle takes each of some indices below `count`, int64 [n].

    It is a permutation of 0..count-1, except that for a count of 4^W + 1, with W of 8 or more, 0 and 4^W are taken to
    the same place, as Grain does.

    Args:
      index: int64 [n], indices in 0..count-1.
      count: number of indices, at least 1.
      seed: 0..2^32-1.
    """
    found = np.zeros(len(index), np.uint64)
    if count > 1:
        word = max(LEAST_WORD, ((count - 2).bit_length() + 1) // 2)
        _permute(index.astype(np.uint64), np.uint64(count), round_keys(seed), np.uint64(word), found)
    return found.astype(np.int64)


@functools.lru_cache(maxsize=8)
def round_keys(seed: int) -> np.ndarray:
    """Return what `std::seed_seq{seed}` generates as the ROUNDS round keys, uint64 [ROUNDS]."""
    keys = [_FILLED] * ROUNDS
    for k in range(ROUNDS):
        mixed = _FIRST * _folded(keys[k] ^ keys[(k + 1) % ROUNDS] ^ keys[k - 1])
        keys[(k + 1) % ROUNDS] = (keys[(k + 1) % ROUNDS] + mixed) & _WORD_32
        mixed += 1 if k == 0 else k + seed if k == 1 else k  # the length of the sequence, then its only number
        keys[(k + 2) % ROUNDS] = (keys[(k + 2) % ROUNDS] + mixed) & _WORD_32
        keys[k] = mixed & _WORD_32
    for k in range(ROUNDS):
        mixed = _SECOND * _folded((keys[k] + keys[(k + 1) % ROUNDS] + keys[k - 1]) & _WORD_32)
        keys[(k + 1) % ROUNDS] ^= mixed & _WORD_32
        mixed = (mixed - k) & _WORD_32
        keys[(k + 2) % ROUNDS] ^= mixed
        keys[k] = mixed
    return np.array(keys, np.uint64)


def _folded(number: int) -> int:
    return number ^ (number >> 27)


@inner
def _round(word: np.uint64, bits: np.uint64) -> np.uint64:
    """Return Simon's function of a word of so many bits; the bits above it may be anything."""
    one, two, eight = np.uint64(1), np.uint64(2), np.uint64(8)
    once = (word << one) | (word >> (bits - one))
    twice = (word << two) | (word >> (bits - two))
    by_eight = (word << eight) | (word >> (bits - eight))
    return (once & by_eight) ^ twice


@in_place
def _permute(index: np.ndarray, count: np.uint64, keys: np.ndarray, bits: np.uint64, found: np.ndarray) -> None:
    """Write where the cipher for two words of so many bits takes each index; see the module."""
    mask = (np.uint64(1) << bits) - np.uint64(1)
    for k in range(len(index)):
        left, right = (index[k] >> bits) & mask, index[k] & mask
        while True:
            for at in range(0, len(keys), 2):
                left = (left ^ _round(right, bits) ^ keys[at]) & mask
                right = (right ^ _round(left, bits) ^ keys[at + 1]) & mask
            number = (left << bits) | right
            if number < count:
                break
        found[k] = number

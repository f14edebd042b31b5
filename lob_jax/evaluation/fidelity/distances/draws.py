"""What is drawn at random: halves of the real sequences, and bootstrap resamples of sequences and of single values."""

import dataclasses
import zlib
from collections.abc import Iterator

import numpy as np

from lob_jax.evaluation.fidelity.samples import View


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Random halves of the real sequences and as many generated ones; every row is a split.

    Attributes:
      first: int64 [K, H], real sequences.
      second: int64 [K, H], other real sequences.
      generated: int64 [K, H], generated sequences.
    """

    first: np.ndarray
    second: np.ndarray
    generated: np.ndarray


def halves(real: int, generated: int, *, splits: int, seed: int) -> Halves:
    """Return splits of `real` sequences into halves, each of as many sequences as half of either flow has.

    If there are as many generated sequences as real ones, generated sequence i continues the prompt of real sequence i:
    the generated ones are then those of the second half, which share no prompt with the first.
    """
    rng = np.random.default_rng([seed, 0])
    size = min(real // 2, generated)
    orders = [rng.permutation(real) for _ in range(splits)]
    chosen = [order[size : 2 * size] if generated == real else rng.permutation(generated)[:size] for order in orders]
    empty = np.zeros((0, size), np.int64)
    return Halves(
        np.stack([order[:size] for order in orders]) if splits else empty,
        np.stack([order[size : 2 * size] for order in orders]) if splits else empty,
        np.stack(chosen) if splits else empty,
    )


def occurrences(sequences: np.ndarray, count: int) -> np.ndarray:
    """Return how often each of `count` sequences is among those given, int64 [count]."""
    return np.bincount(sequences, minlength=count)


def sequence_resamples(real: int, generated: int, *, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each sequence occurs in bootstrap resamples of whole sequences.

    Returns:
      Weights of the first and second sample over all sequences, int64 [K, real + generated] each. The resamples are the
      same for all scores, so that what the scores have in common stays in the interval of their mean.
    """
    rng, total = np.random.default_rng([seed, 1]), real + generated
    first, second = np.zeros((2, resamples, total), np.int64)
    for k in range(resamples):
        if real and generated:
            first[k, :real] = occurrences(rng.integers(0, real, real), real)
            second[k, real:] = occurrences(rng.integers(0, generated, generated), generated)
    return first, second


def value_resamples(
    seen: View, is_real: np.ndarray, *, resamples: int, name: str, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield bootstrap resamples of single values, drawn inside each group: weights of the samples, int64 [N] each.

    Args:
      seen: the comparison, each value of which occurs once.
      is_real: bool [N], whether a value is real or generated.
      resamples: their number.
      name: of the score, so that each one has its own stream of random numbers.
      seed: the seed.
    """
    rng = np.random.default_rng([seed, 2, zlib.crc32(name.encode())])
    real, generated = _Side.of(seen, is_real), _Side.of(seen, ~is_real)
    for _ in range(resamples):
        yield real.draw(rng, len(is_real)), generated.draw(rng, len(is_real))


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """The values of one sample: their rows, and for each the first one and the number of those in its group."""

    row: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, seen: View, is_side: np.ndarray) -> "_Side":
        row = np.flatnonzero(is_side)
        edges = np.searchsorted(row, seen.frame.edges)
        count = np.diff(edges)
        return cls(row, np.repeat(edges[:-1], count), np.repeat(count, count))

    def draw(self, rng: np.random.Generator, length: int) -> np.ndarray:
        drawn = self.first + (rng.random(len(self.row)) * self.count).astype(np.int64)
        return np.bincount(self.row[drawn], minlength=length)
